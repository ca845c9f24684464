"""What the page shows of odd answers: little traffic, none, no permission, half a feedback."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.e2e.browser import a_page, complaints
from tests.e2e.test_dashboard import SERVED, STORY

STEPS = 12  # more than a chart marks one by one
TIMES = [f"2026-01-01T00:{minute:02}:00Z" for minute in range(STEPS)]
NONE: list[Any] = [None] * STEPS
# How many dots of the canvas have the second line's colour.
DOTS = """canvas => {
  const [r, g, b] = getComputedStyle(document.documentElement).getPropertyValue("--c2").trim()
    .match(/[0-9a-f]{2}/gi).map(part => parseInt(part, 16));
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let dots = 0;
  for (let at = 0; at < data.length; at += 4)
    dots += data[at] === r && data[at + 1] === g && data[at + 2] === b && data[at + 3] > 200;
  return dots;
}"""


def history(*series: tuple[str, dict[int, int]]) -> Callable[[Route], Awaitable[None]]:
    """Answer with these series: requests by step; what nothing happened in is null."""

    async def answer(route: Route) -> None:
        told = []
        for name, requests in series:
            known = [1.0 if step in requests else None for step in range(STEPS)]
            keys = ("cost", "saved", "p50_ms", "p95_ms", "p99_ms")
            counts = [requests.get(step, 0) for step in range(STEPS)]
            told.append({"name": name, "requests": counts, **dict.fromkeys(keys, known)})
        await route.fulfill(json={"step_s": 60, "times": TIMES, "series": told})

    return answer


async def shown(page: Page, answer: Callable[[Route], Awaitable[None]]) -> None:
    await page.route("**/metrics/history?*", answer)
    await page.reload()


async def test_a_minute_between_quiet_ones_is_drawn(stack, browser):
    async with a_page(browser, stack, color_scheme="light") as page:
        await shown(page, history(("all", {5: 3})))
        canvas = page.locator(".plot canvas").first
        await expect(canvas).to_be_visible()

        assert 0 < await canvas.evaluate(DOTS)


async def test_an_hour_without_requests_has_no_made_up_scale(stack, browser):
    async with a_page(browser, stack) as page:
        await shown(page, history(("all", {})))
        await expect(page.get_by_text("Nothing to draw yet.")).to_have_count(3)

        await expect(page.locator(".plot canvas")).to_have_count(0)
        assert [] == await complaints(page)


async def test_a_model_keeps_its_colour_when_others_overtake_it(stack, browser):
    async def swatches() -> dict[str, str | None]:
        spans = await page.locator(".legend").last.locator("span").all()
        return {
            (await one.inner_text()).split()[0]: await one.locator("i").get_attribute("class")
            for one in spans
        }

    legend = "small 60 %"
    async with a_page(browser, stack) as page:
        await page.clock.install()
        await shown(page, history(("large", {11: 6}), ("small", {11: 4})))
        await expect(page.locator(".legend").last).to_contain_text("large 60 %")
        before = await swatches()
        await page.route(
            "**/metrics/history?*", history(("small", {11: 6}), ("tiny", {11: 4}), ("large", {}))
        )
        await page.clock.run_for(11_000)
        await expect(page.locator(".legend").last).to_contain_text(legend)
        after = await swatches()

    assert before == {name: after[name] for name in before}
    assert len(after) == len(set(after.values()))


async def test_the_moment_that_one_points_at_is_named(stack, browser):
    async with a_page(browser, stack, timezone_id="UTC") as page:
        await shown(page, history(("all", dict.fromkeys(range(STEPS), 1))))
        await page.locator(".plot .u-over").first.hover()

        await expect(page.locator("figcaption").first).to_contain_text(re.compile(r"at 00:0\d"))


async def test_the_newest_answer_stands_first(stack, browser):
    began_last = {**SERVED, "request_id": "b", "at": "2026-01-01T00:00:01Z"}
    ended_last = {**SERVED, "request_id": "a", "at": "2026-01-01T00:00:09Z"}

    async def requests(route: Route) -> None:
        await route.fulfill(json={"requests": [began_last, ended_last], "next": None})

    async with a_page(browser, stack) as page:
        await page.route(re.compile(r"/requests\?"), requests)
        await page.reload()

        await expect(page.locator("[data-id]").first).to_have_attribute("data-id", "a")


async def test_what_feedback_did_not_say_is_left_out(stack, browser):
    said = {"revision": 1, "at": "2026-01-01T20:00:00Z", "quality_score": 5, "is_correct": True}
    said |= dict.fromkeys(("is_helpful", "comment", "votes"))

    async def requests(route: Route) -> None:
        one = re.search(r"/requests/", route.request.url)
        story = {**STORY, "feedback": said}
        await route.fulfill(json=story if one else {"requests": [SERVED], "next": None})

    async with a_page(browser, stack, timezone_id="Asia/Tokyo") as page:
        await page.route(re.compile(r"/requests[/?]"), requests)
        await page.reload()
        await page.get_by_role("button", name="Explain the request").click()
        dialog = page.get_by_role("dialog")

        await expect(dialog).to_contain_text("is correct")
        await expect(dialog).to_contain_text("yes")
        await expect(dialog).to_contain_text("2026-01-02 05:00")
        await expect(dialog).not_to_contain_text("null")


@pytest.mark.parametrize(
    ("status", "said"), [(401, "This needs a key."), (403, "No permission: not with this key")]
)
async def test_a_refused_key_is_no_lost_line_and_nothing_loads_for_ever(
    stack, browser, status, said
):
    async def refuse(route: Route) -> None:
        await route.fulfill(status=status, json={"detail": "not with this key", "code": "x"})

    data = re.compile(r"/(stats|requests|metrics/history|experiments|v1/models|routing)\b")
    async with a_page(browser, stack) as page:
        await page.route(data, refuse)
        await page.evaluate("sessionStorage.setItem('optimizer.key', 'wrong')")
        await page.reload()

        await expect(page.locator("main .trouble:visible").last).to_have_text(said)
        await expect(page.locator("main .loading")).to_have_count(0)
        await expect(page.locator(".link")).not_to_contain_text("Disconnected")
        await expect(page.locator(".link")).to_contain_text(
            "Waiting for a key" if status == 401 else said
        )


async def test_what_cannot_be_believed_is_not_told_beside_what_was_saved(stack, browser):
    effect = {"lift": -0.3, "interval_always_valid": [-0.4, -0.2]}
    compared = {"metrics": {"cost_per_successful_request": {"raw": effect, "cuped": None}}}
    told = {
        1: {"comparisons": {"test": {**compared, "stopped": False}}, "srm": {"alarm": True}},
        2: {"comparisons": {"test": {**compared, "stopped": True}}, "srm": {"alarm": False}},
        3: {"comparisons": {"test": {**compared, "stopped": False}}, "srm": {"alarm": False}},
    }
    arms = [{"name": "control", "strategy": "best"}, {"name": "test", "strategy": "hybrid"}]

    async def experiments(route: Route) -> None:
        running = [
            {"id": n, "name": f"number {n}", "status": "running", "arms": arms} for n in told
        ]
        await route.fulfill(json=running if "running" in route.request.url else [])

    async def results(route: Route) -> None:
        await route.fulfill(json=told[int(route.request.url.split("/")[-2])])

    async with a_page(browser, stack) as page:
        await page.route("**/experiments?*", experiments)
        await page.route("**/experiments/*/results", results)
        await page.reload()

        await expect(page.locator("#measured li")).to_have_text([re.compile("number 3")])
