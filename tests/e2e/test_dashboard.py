"""The live page in a real browser: it says what the API says, and can be used by anyone."""

import asyncio
import re
from itertools import count

import pytest
from playwright.async_api import expect

from tests.e2e.books import closed_books
from tests.e2e.browser import a_page, complaints, exact, give_key
from tests.e2e.figures import within_a_day
from tests.e2e.stack import until

AT_ONCE = 8
FAILURES_TO_OPEN = 5  # docs/explanation/when-providers-fail.md, rule 3
VIEWS = ("live", "experiments", "models")
TIMES = ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "</title><iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=//evil.example>\u202egnp.exe</a>",
)
SERVED = {
    "request_id": "01890000-0000-7000-8000-000000000000",
    "at": TIMES[0],
    "user_id": HOSTILE[0],
    "strategy": "hybrid",
    "model": "sandbox/small",
    "provider": "sandbox",
    "outcome": "ok",
    "confidence": "high",
    "cost": 0.001,
    "baseline_cost": 0.004,
    "latency_ms": 320.0,
    "tokens_in": 10,
    "tokens_out": 20,
    "cache_hit": False,
    "fallbacks": 1,
    "experiment_id": None,
    "arm": None,
}
ATTEMPT = {"model": "sandbox/tiny", "provider": "sandbox", "outcome": "failed", "cost": 0.0}
STORY = {
    "request": SERVED,
    "decision": {"reasoning": "it is short", "candidates": []},
    "attempts": [{**ATTEMPT, "latency_ms": 12.0, "error": HOSTILE[1]}],
    "feedback": {"rating": 5},
}


async def today(stack):
    return (await stack.get("/stats")).json["today"]


async def test_the_figures_are_the_api_s_while_traffic_flows(stack, since, browser):
    seen = []
    async with within_a_day(), a_page(browser, stack) as page:
        asked = (await today(stack))["requests"]
        await expect(page.locator("#spend .hint")).to_contain_text("requests")
        for wave in range(3):
            await asyncio.gather(
                *(stack.chat(f"{since} {wave} {n} Explain tides.") for n in range(AT_ONCE))
            )

            asked += AT_ONCE

            async def equal(asked=asked):
                told = await today(stack)
                shown = [await exact(page, tile) for tile in ("spend", "saved", "errors", "cache")]
                seen.append(shown[0])
                keys = ("cost", "saved", "failures", "cache_hits")
                return told["requests"] >= asked and [told[key] for key in keys] == shown

            await until(equal, within_s=20)

        assert len(set(seen)) >= 3
        assert seen == sorted(seen)


async def test_an_experiment_made_on_the_page_runs_to_its_verdict(stack, since, browser):
    name, tag = f"is cheap good enough? {since}", f"page{since}"
    async with a_page(browser, stack, "experiments") as page:
        await expect(page.locator("#plan")).to_contain_text("four times of five")
        await page.get_by_label("Name").fill(name)
        await page.get_by_label("Only requests tagged").fill(tag)
        await page.get_by_label("Results, all arms together").fill("400")
        await expect(page.locator("#plan")).to_contain_text("400 results")
        await page.get_by_role("button", name="Start it").click()
        await expect(page.locator("#experiment-name")).to_have_text(name)
        await expect(page.locator("#verdict")).to_contain_text("No verdict yet")
        id_ = int(page.url.rpartition("/")[2])

        await asyncio.gather(*(keep_asking(stack, since, id_, n) for n in range(AT_ONCE)))
        await expect(page.locator("#verdict")).to_contain_text("test wins", timeout=20_000)
        told = (await stack.get(f"/experiments/{id_}")).json
        await expect(page.locator("#verdict")).to_contain_text(told["verdict"]["reason"])
        await expect(page.locator(".plot canvas")).to_be_visible()

        await page.get_by_role("button", name="Promote").click()
        await page.get_by_label("Reason").fill("it is cheaper")
        await page.get_by_role("dialog").get_by_role("button", name="Promote").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.locator("#promoted")).to_contain_text(f"requests tagged {tag}")
        standing = await promotions_of(stack, id_)
        await measured_beside_saved(page, stack, id_, name)

        await page.get_by_role("link", name="Experiments").click()
        await expect(page.get_by_role("link", name=name).first).to_be_visible()
        row = page.get_by_role("group", name="Promotions", exact=True).get_by_role("row")
        ours = row.filter(has_text=name)
        await expect(ours).to_contain_text("it is cheaper")
        await expect(ours).to_contain_text("in force")
        assert [] == await complaints(page)
        await ours.get_by_role("button", name="Take it back").click()
        await page.get_by_label("Reason").fill("not so good after all")
        await page.get_by_role("dialog").get_by_role("button", name="Take it back").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(ours).to_have_count(0)
        await page.get_by_text("taken back", exact=False).first.click()
        await expect(page.get_by_role("group", name="Promotions that")).to_contain_text(name)

    history = (await stack.get(f"/experiments/{id_}")).json["history"]
    assert [("completed", "cheapest", None)] == [
        (told["status"], one["strategy"], one["reverted_at"]) for one in standing
    ]
    assert ("promotion_reverted", "not so good after all") == (
        history[-1]["status"],
        history[-1]["reason"],
    )
    assert [True] == [one["reverted_at"] is not None for one in await promotions_of(stack, id_)]


async def promotions_of(stack, id_):
    found = (await stack.get("/promotions?all=true")).json
    return [one for one in found if one["experiment_id"] == id_]


async def measured_beside_saved(page, stack, id_, name):
    """What the experiment found stands beside what was saved, as the API has it."""
    await page.get_by_role("link", name="Live").click()

    async def equal():  # once the answers that were under way at its end are in
        await page.reload()
        line = page.locator("#measured li").filter(has_text=name)
        try:
            await expect(line).to_contain_text("test (cheapest) costs")
        except AssertionError:
            return False
        found = (await stack.get(f"/experiments/{id_}/results")).json
        effects = found["comparisons"]["test"]["metrics"]["cost_per_successful_request"]
        effect = effects["cuped"] or effects["raw"]
        shown = [await one.get_attribute("value") for one in await line.locator("data").all()]
        told = [effect["lift"], *effect["interval_always_valid"]]
        return told == [float(one) for one in shown]

    await until(equal, within_s=45)


async def keep_asking(stack, since, id_, number):
    """Ask as many users until there is a verdict."""
    for n in count():
        user = f"u{n % 6}-{number}"
        prompt = f"{since} {n} What is the capital of {'old ' * (n % 4)}{user}?"  # costs must vary
        body = {"prompt": prompt, "experiment_id": id_, "user_id": user, "max_tokens": 20}
        await stack.post("/complete", body)
        if n % 5 == 4:
            one = (await stack.get(f"/experiments/{id_}")).json
            if one["status"] != "running":
                return


async def test_hostile_names_are_text(stack, since, browser):
    made = [(await stack.post("/experiments", hostile(name, since))).json["id"] for name in HOSTILE]
    async with a_page(browser, stack, "experiments") as page:
        for id_, name in zip(made, HOSTILE, strict=True):
            await page.goto(f"{stack.base_url}/#/experiments")
            await page.get_by_role("link", name=f"{name} {since}", exact=True).first.click()
            await expect(page.locator("#experiment-name")).to_have_text(f"{name} {since}")
            await stack.post(f"/experiments/{id_}/cancel", {"reason": name})
            await expect(page.locator(".history")).to_contain_text(name)
        assert 0 == await page.locator("main :is(script, img, iframe, svg)").count()


def hostile(name, since):
    return {
        "name": f"{name} {since}",
        "hypothesis": name,
        "description": name,
        "control_strategy": "best",
        "test_strategy": "cheapest",
        "sample_size": 1000,
        "scope": {"tag": name},
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
async def test_everyone_can_use_it(stack, browser, view, scheme):
    narrow = {"width": 360, "height": 740}
    async with a_page(browser, stack, view, color_scheme=scheme, viewport=narrow) as page:
        await page.wait_for_selector("main table, main .empty, main form")
        await page.wait_for_load_state("networkidle") if stack.key else await asyncio.sleep(0.5)

        assert [] == await complaints(page)
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert 0 == await page.evaluate(wide)


async def test_the_keyboard_is_enough(stack, browser):
    async with a_page(browser, stack) as page:
        await expect(page.locator("#spend .hint")).to_contain_text("requests")
        await page.reload()  # whoever gave a key was somewhere else
        await expect(page.locator("#spend .hint")).to_contain_text("requests")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        for _ in range(3):
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page).to_have_title(re.compile("Models"))
        await expect(page.locator("#main")).to_be_focused()


async def test_a_model_that_fails_is_shown_as_left_alone_and_why(fresh, browser):
    async with a_page(browser, fresh) as page:
        await expect(page.locator("#how-saved")).to_contain_text("sandbox/frontier")
        await expect(page.locator("#measured")).to_be_hidden()
        await page.get_by_role("link", name="Models").click()
        row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="sandbox/small"))
        small = row.filter(has_text="32,768")
        await expect(small).to_contain_text("in use")
        for n in range(FAILURES_TO_OPEN):
            await fresh.chat(f"hi {n} [[fault:status=503,models=small]]", model="sandbox/small")

        await expect(small).to_contain_text(
            re.compile(r"left alone until \d\d:\d\d:\d\d overloaded")
        )
        told = (await fresh.get("/providers")).json
        await expect(page.locator("main")).to_contain_text(f"what router {told['replica']} knows")
        assert [] == await complaints(page)


async def test_what_several_routers_know_does_not_flicker(stack, browser):
    asked = count()

    async def alternately(route):
        told = await (await route.fetch()).json()
        told["replica"] = f"router{next(asked) % 2}"
        if told["replica"] == "router1":
            trouble = {"state": "half_open", "reason": "rate_limited"}
            told["providers"][0]["breakers"][0] |= trouble
        await route.fulfill(json=told)

    async with a_page(browser, stack, "models") as page:
        await page.route("**/providers", alternately)
        await page.reload()
        main = page.locator("main")
        for _ in range(3):
            async with page.expect_response("**/providers"):
                await expect(main).to_contain_text("the worst that 2 routers know")
            await expect(main).to_contain_text("tried out rate limited, say 1 of 2 routers")


async def test_a_prompt_is_decided_and_nobody_called(stack, since, browser):
    before = await stack.bill()
    async with a_page(browser, stack, "models") as page:
        await page.get_by_label("A prompt").fill(f"{since} Prove that 7 is prime.")
        await page.get_by_role("button", name="Which model").click()
        await expect(page.locator("#why")).to_contain_text("sandbox/")
        await expect(page.locator("#why .badge")).to_have_text("chosen")

    assert len(before) == len(await stack.bill())


async def test_the_colours_are_a_choice_that_stays(stack, browser):
    async with a_page(browser, stack, color_scheme="light") as page:
        await page.get_by_role("button", name="Use the dark colours").click()
        await page.reload()
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_the_last_hour_is_drawn_and_a_request_explained(stack, browser):
    async def history(route):
        by = "by=model" in route.request.url
        line = {name: [1, None, 2] for name in ("requests", "failures", "cost", "saved")}
        line |= {name: [300.0, None, 310.0] for name in ("p50_ms", "p95_ms", "p99_ms")}
        names = ("sandbox/small", HOSTILE[0]) if by else ("all",)
        series = [{"name": name, **line} for name in names]
        await route.fulfill(json={"step_s": 60, "times": TIMES, "series": series})

    async def requests(route):
        one = re.search(r"/requests/", route.request.url)
        await route.fulfill(json=STORY if one else {"requests": [SERVED], "next": None})

    async with a_page(browser, stack) as page:
        await page.route("**/metrics/history?*", history)
        await page.route(re.compile(r"/requests[/?]"), requests)
        await page.reload()
        await expect(page.locator(".plot canvas")).to_have_count(3)
        await expect(page.locator(".legend").last).to_contain_text(HOSTILE[0])
        await expect(page.locator(".legend").nth(1)).to_contain_text("p95 310 ms")
        await page.get_by_role("button", name="Explain the request").click()
        await expect(page.get_by_role("dialog")).to_contain_text("it is short")
        await expect(page.get_by_role("dialog")).to_contain_text(HOSTILE[1])
        assert [] == await complaints(page)
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_the_last_request_tells_its_story(stack, since, browser):
    asked = await stack.chat(f"{since} Explain why the sky is blue.", user=HOSTILE[0])
    id_ = asked.headers["x-request-id"]
    await closed_books(stack, since)  # until then it may wait in a journal
    told = (await stack.get(f"/requests/{id_}")).json
    async with a_page(browser, stack) as page:
        await page.locator(f'[data-id="{id_}"]').click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text(told["decision"]["reasoning"])
        await expect(dialog.get_by_role("group", name="Attempts")).to_contain_text(
            told["attempts"][0]["model"]
        )
        await expect(page.locator("main")).to_contain_text(HOSTILE[0])
        assert [] == await complaints(page)


async def test_what_cannot_be_refreshed_is_called_old(stack, browser):
    async with a_page(browser, stack) as page:
        await expect(page.locator("#spend .hint")).to_contain_text("requests")
        await page.route("**/stats", lambda route: route.abort())

        await expect(page.get_by_text("What is shown is old").first).to_be_visible()


async def test_a_lost_gateway_is_found_again(fresh, browser):
    async with a_page(browser, fresh) as page:
        await expect(page.locator(".link")).to_contain_text("Live")
        await fresh.kill("gateway")
        await expect(page.locator(".link")).to_contain_text("Disconnected")
        await fresh.ready("gateway")

        await expect(page.locator(".link")).to_contain_text("Live", timeout=40_000)


async def test_where_keys_are_wanted_the_page_asks_for_one(bare, browser):
    with bare.without_key():
        async with a_page(browser, bare) as page:
            await expect(page.get_by_text("This gateway wants a key")).to_be_visible()
            assert [] == await complaints(page)
            await give_key(page, "wrong")
            await expect(page.get_by_text("does not know this key")).to_be_visible()
    async with a_page(browser, bare) as page:
        await expect(page.locator(".link")).to_contain_text("Polling every 5 s")
        await expect(page.locator("#spend .hint")).to_contain_text("requests")
        await page.get_by_role("button", name="Forget the key").click()
        await expect(page.get_by_text("This gateway wants a key")).to_be_visible()


async def test_a_refusal_from_before_the_key_does_not_cost_the_key(bare, browser):
    key, given = bare.key, asyncio.Event()

    async def late(route):
        if "authorization" in route.request.headers:
            await route.continue_()
        else:
            await given.wait()
            await route.fulfill(status=401, json={"detail": "no key", "code": "x"})

    with bare.without_key():
        async with a_page(browser, bare) as page:
            await page.route("**/stats", late)
            await page.reload()
            await expect(page.get_by_text("This gateway wants a key")).to_be_visible()
            await give_key(page, key)
            given.set()
            await expect(page.locator("#spend .hint")).to_contain_text("requests")
            await expect(page.get_by_role("button", name="Forget the key")).to_be_visible()


async def test_where_there_can_be_no_socket_it_polls(stack, browser):
    async def close(socket):
        await socket.close()

    async with a_page(browser, stack) as page:
        await page.route_web_socket(re.compile("/metrics/live"), close)
        await page.reload()

        await expect(page.locator(".link")).to_contain_text("Polling every 5 s", timeout=30_000)
