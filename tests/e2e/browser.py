"""A real browser: every page it opens is watched for errors and broken rules."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.e2e.stack import StackUnderTest

PAGE = Path(__file__).parents[2] / "services" / "gateway" / "dashboard"
AXE = PAGE / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
expect.set_options(timeout=15_000)  # two stacks may share the machine

# That an address is not there, wants a key or is gone is told on the page itself.
SHOWN = ("Failed to load resource", "WebSocket connection to")


@asynccontextmanager
async def a_browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on the PATH: apt-get install chromium")
    if not (PAGE / "dist" / "index.html").is_file():
        pytest.skip("the page is not built: make dashboard")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def a_page(
    browser: Browser, stack: StackUnderTest, view: str = "live", **context: Any
) -> AsyncIterator[Page]:
    """Open a view, with the key where one is wanted; fail if anything on it went wrong."""
    wrong: list[str] = []

    def told(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(SHOWN):
            wrong.append(message.text)

    opened = await browser.new_context(**context)
    await opened.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " (e) => console.error('policy: ' + e.violatedDirective + ' ' + e.blockedURI))"
    )
    page = await opened.new_page()
    page.on("console", told)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}"))
    await page.goto(f"{stack.base_url}/#/{view}")
    if stack.key:
        await give_key(page, stack.key)
    yield page
    await opened.close()
    assert [] == wrong


async def give_key(page: Page, key: str) -> None:
    await page.get_by_label("Key", exact=True).last.fill(key)
    await page.get_by_role("button", name="Use it").click()


async def complaints(page: Page) -> list[str]:
    """Return what axe says of the page as it is."""
    if not AXE.is_file():
        pytest.skip("axe is not installed: make dashboard")
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run()")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]


def in_usd(amount: float) -> str:
    """Two decimals from a dollar on; three digits below."""
    size = abs(amount)
    text = f"{size:.2f}" if size >= 1 else f"{float(f'{size:.3g}'):.9f}".rstrip("0")
    return f"{'−' if amount < 0 else ''}${text}"  # noqa: RUF001 - as it is shown


async def exact(page: Page, tile: str) -> float | None:
    """Read a tile's figure, unrounded."""
    value = await page.locator(f"#{tile} data").get_attribute("value")
    return float(value) if value else None
