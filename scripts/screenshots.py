"""
`make screenshots`: draws docs/images anew from the live page, light and dark, with real traffic.

It starts the whole stack in a folder of its own, sends what `make demo` sends, and lets an
experiment run to its verdict: five minutes, so that there is something to see over time. Needs
chromium on the PATH.
"""

import asyncio
import shutil
import sys
from pathlib import Path

import aiohttp
import uvloop
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from scripts import demo
from scripts.bench_stack import bench_stack
from scripts.prompts import prompts

TARGET = Path(__file__).parents[1] / "docs" / "images"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZE = (1200, 860)
TALL = (1200, 1320)  # the live view: its last requests stand below the charts
WAVES = (20, 60, 90, 40, 70, 110, 50, 80, 30, 100)  # requests, one wave after the other
WAVE_S = 25.0  # charts have a point a minute
AT_ONCE = 8
USERS = 6  # of each of those
PROMPT = "Prove that there are infinitely many primes."
PLAN = {
    "name": "Is complexity good enough?",
    "hypothesis": "It costs less, and nobody rates it lower",
    "control_strategy": "best",
    "test_strategy": "complexity",
    "sample_size": 600,
}


async def draw(browser: Browser, url: str, experiment_id: int) -> None:
    """Save every view in both colours."""
    for scheme in ("light", "dark"):
        context = await browser.new_context(
            color_scheme="light" if scheme == "light" else "dark",
            viewport=_sized(SIZE),
        )
        page = await context.new_page()
        for name, address in (
            ("live", "live"),
            ("experiments", "experiments"),
            ("experiment", f"experiments/{experiment_id}"),
            ("models", "models"),
        ):
            await page.set_viewport_size(_sized(TALL if name == "live" else SIZE))
            await page.goto(f"{url}/#/{address}")
            await page.wait_for_selector("main table")
            if name == "models":
                await ask_why(page)
            await page.wait_for_timeout(3_000)  # a rate takes two looks
            await page.evaluate("document.activeElement?.blur()")
            await page.screenshot(path=TARGET / f"{name}-{scheme}.png")
        await context.close()


def _sized(size: tuple[int, int]) -> ViewportSize:
    return {"width": size[0], "height": size[1]}


async def ask_why(page: Page) -> None:
    await page.get_by_label("A prompt").fill(PROMPT)
    await page.get_by_role("button", name="Which model").click()
    await page.wait_for_selector("#why dl")


async def experiment(session: aiohttp.ClientSession) -> int:
    """Make an experiment, ask as many users until it has its verdict, promote; return its id."""
    async with session.post("/experiments", json=PLAN) as made:
        made.raise_for_status()
        id_ = int((await made.json())["id"])

    async def ask(client: int) -> None:
        for n, prompt in enumerate(prompts(client)):
            user = f"user {n % USERS} of {client}"
            body = {"prompt": prompt, "experiment_id": id_, "user_id": user, "max_tokens": 400}
            async with session.post("/complete", json=body) as answer:
                request_id = (await answer.json())["request_id"]
            rating = {"request_id": request_id, "quality_score": 4 + n % 2, "is_correct": True}
            async with session.post("/production/feedback", json=rating) as taken:
                await taken.read()
            async with session.get(f"/experiments/{id_}") as found:
                if (await found.json())["status"] != "running":
                    return

    await asyncio.gather(*(ask(client) for client in range(AT_ONCE)))
    reason = {"reason": "Far cheaper, and rated as well"}
    async with session.post(f"/experiments/{id_}/promote", json=reason) as promoted:
        promoted.raise_for_status()
    return id_


async def run(chromium: str) -> int:
    TARGET.mkdir(exist_ok=True)
    async with bench_stack() as stack:
        url = stack.base_url
        for seed, requests in enumerate(WAVES):
            pause = asyncio.create_task(asyncio.sleep(WAVE_S))
            await demo.run(url, "", requests, AT_ONCE, seed=seed)
            await pause
        async with aiohttp.ClientSession(url) as session:
            experiment_id = await experiment(session)
        async with async_playwright() as playwright, asyncio.TaskGroup() as tasks:
            goes_on = tasks.create_task(demo.run(url, "", 10_000, 2, seed=len(WAVES)))
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            await draw(browser, url, experiment_id)
            await browser.close()
            goes_on.cancel()
    return 0


def main() -> int:
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no screenshots: there is no chromium on the PATH", file=sys.stderr)
        return 1
    return uvloop.run(run(chromium))


if __name__ == "__main__":
    sys.exit(main())
