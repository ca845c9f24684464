"""Answers that reach the page after it, or whoever looks at it, has moved on."""

import asyncio
import re

import pytest
from playwright.async_api import Page, Route, expect

from tests.e2e.browser import a_page
from tests.e2e.test_dashboard import SERVED, STORY

MODELS = [{"id": "acme/one", "owned_by": "acme"}]


class Held:
    """A route whose answers wait until they are let go; the last is given again and again."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, route: Route) -> None:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.asked.set()
        await self.let_go.wait()
        await route.fulfill(json=answer)


async def come_late(page: Page, held: Held, url: str) -> None:
    """Let the answers go, and return when the page has dealt with them."""
    async with page.expect_response(url):
        held.let_go.set()
    await page.evaluate("fetch('/health').then(answer => answer.text())")


def a_plan(requests: int) -> dict[str, object]:
    found = {"minimum_detectable_effect": 0.1, "requests": requests, "users": 100}
    return found | {"sample_size": requests, "days": None, "measured": True}


async def test_an_older_plan_does_not_overwrite_what_is_typed(stack, browser):
    held = Held(a_plan(111), a_plan(400))
    async with a_page(browser, stack) as page:
        await page.route("**/experiments/plan", held)
        await page.goto(f"{stack.base_url}/#/experiments")
        await held.asked.wait()
        await page.clock.install()
        await page.get_by_label("Results, all arms together").fill("400")
        await come_late(page, held, "**/experiments/plan")
        await page.clock.run_for(1000)

        await expect(page.locator("#plan")).to_contain_text("400 results")
        await expect(page.get_by_label("Results, all arms together")).to_have_value("400")


async def test_a_plan_that_failed_is_asked_for_again(stack, browser):
    answers = iter([{"status": 503, "json": {"detail": "try again"}}, {"json": a_plan(400)}])

    async def plan(route: Route) -> None:
        await route.fulfill(**next(answers))

    async with a_page(browser, stack) as page:
        await page.clock.install()
        await page.route("**/experiments/plan", plan)
        await page.goto(f"{stack.base_url}/#/experiments")
        await expect(page.locator("#plan")).to_contain_text("try again")
        await page.clock.run_for(10_000)

        await expect(page.locator("#plan")).to_contain_text("400 results")


async def test_who_left_is_not_called_back_by_what_was_started(stack, browser):
    held = Held({"id": 7})
    async with a_page(browser, stack, view="experiments") as page:
        await page.route("**/experiments", held)
        await page.get_by_label("Name", exact=True).fill("slow")
        await page.get_by_label("Results, all arms together").fill("400")
        await page.get_by_role("button", name="Start it").click()
        await held.asked.wait()
        await page.get_by_role("link", name="Models").click()
        await come_late(page, held, "**/experiments")

        await expect(page).to_have_url(re.compile("#/models$"))


async def test_a_dialog_does_not_outlive_its_view(stack, browser):
    async def requests(route: Route) -> None:
        one = re.search(r"/requests/", route.request.url)
        await route.fulfill(json=STORY if one else {"requests": [SERVED], "next": None})

    async with a_page(browser, stack, view="models") as page:
        await page.route(re.compile(r"/requests[/?]"), requests)
        await page.get_by_role("link", name="Live").click()
        await page.get_by_role("button", name="Explain the request").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.go_back()

        await expect(page).to_have_url(re.compile("#/models$"))
        await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_poll_that_comes_late_does_not_hide_that_the_line_is_live(stack, browser):
    if stack.key:
        pytest.skip("browsers cannot send a key over the live socket")
    held, back = Held({"source": "push", "total_decisions": 0}), asyncio.Event()

    async def socket(one):
        if back.is_set():
            one.send('{"source": "push", "total_decisions": 0}')
        else:
            await one.close()

    async with a_page(browser, stack) as page:
        await page.clock.install()
        await page.route_web_socket(re.compile("/metrics/live"), socket)
        await page.route("**/routing/metrics", held)
        await page.reload()
        while not held.asked.is_set():
            await page.clock.run_for(1000)
        back.set()
        while "Live" not in await page.locator(".link").inner_text():
            await page.clock.run_for(1000)
        await come_late(page, held, "**/routing/metrics")

        await expect(page.locator(".link")).to_contain_text("Live")


async def test_models_that_cannot_be_listed_are_asked_for_again(stack, browser):
    answers = iter([{"status": 503, "json": {"detail": "try again"}}, {"json": {"data": MODELS}}])

    async def models(route: Route) -> None:
        await route.fulfill(**next(answers))

    async with a_page(browser, stack, view="experiments") as page:
        await page.route("**/v1/models", models)
        await page.get_by_label("Control", exact=True).select_option("fixed")
        await expect(page.get_by_role("status").get_by_text("try again")).to_be_visible()
        await page.get_by_label("Control: model").focus()

        await expect(page.get_by_label("Control: model")).to_have_value("acme/one")
