"""The catalog file: every way of changing it is followed; a bad one replaces nothing."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress

import pytest

from common.errors import Invalid, Unavailable
from services.router.store.catalog_file import VALID, CatalogFile, load_catalog

TEXT = """\
providers: [{name: acme, wire: openai, base_url: "https://x.example/v1"}]
models:
  - name: acme/one
    provider: acme
    upstream: one
    tier: simple
    capability: 0.5
    context_tokens: 8000
    price_usd_per_million: {input: PRICE, output: 2}
"""


def text(price=1):
    return TEXT.replace("PRICE", str(price))


def price(catalog):
    return catalog.models["acme/one"].price.input // 10**9


class KeptPrices:
    """Remembers versions; refuses while `failing`, says nothing while `hanging`."""

    def __init__(self):
        self.versions = []
        self.failing = False
        self.hanging = False
        self.asked = asyncio.Event()

    async def keep(self, models):
        self.asked.set()
        if self.failing:
            raise Unavailable("silent")
        if self.hanging:
            await asyncio.Event().wait()
        self.versions += {model.price.version for model in models}


@asynccontextmanager
async def followed(path, prices=None):
    file = CatalogFile(path, {}, prices or KeptPrices(), look_every_s=0.01)
    task = asyncio.create_task(file.watch())
    try:
        yield file
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition, timeout_s=5):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  a file system tells nobody
            await asyncio.sleep(0.005)


def write(path, content):
    path.write_text(content)


def rename(path, content):
    new = path.with_suffix(".new")
    new.write_text(content)
    new.replace(path)


def swap(path, content):
    """Change it as Kubernetes does: path → ..data/catalog.yaml, ..data → a folder with a date."""
    folder = path.parent / f"..{abs(hash(content))}"
    folder.mkdir()
    (folder / path.name).write_text(content)
    link = path.parent / "..new"
    link.symlink_to(folder)
    link.replace(path.parent / "..data")
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to("..data/" + path.name)


@pytest.mark.parametrize("change", [write, rename, swap])
async def test_a_changed_file_is_followed(tmp_path, change):
    path = tmp_path / "catalog.yaml"
    change(path, text(1))

    async with followed(path) as file:
        for number in (20, 300):
            change(path, text(number))
            await until(lambda: price(file.current) == number)  # noqa: B023  awaited in the loop


async def test_a_hangup_reloads_at_once(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(text(1))
    prices = KeptPrices()
    file = CatalogFile(path, {}, prices, look_every_s=60)
    task = asyncio.create_task(file.watch())
    await prices.asked.wait()
    path.write_text(text(2))

    os.kill(os.getpid(), signal.SIGHUP)

    await until(lambda: price(file.current) == 2)
    task.cancel()


async def test_a_bad_file_is_refused_and_the_old_one_stays(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(text(1))

    async with followed(path) as file:
        for bad in ("providers: oops", "", "\x00"):
            path.write_text(bad)
            await until(lambda: VALID._value.get() == 0)
            assert 1 == price(file.current)
            path.write_text(text(1) + "\n")
            await until(lambda: VALID._value.get() == 1)
        path.unlink()
        await until(lambda: VALID._value.get() == 0)
        assert 1 == price(file.current)


async def test_prices_are_kept_once_and_again_when_they_change(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(text(1))
    prices = KeptPrices()

    async with followed(path, prices) as file:
        await until(lambda: len(prices.versions) == 1)
        path.write_text(text(1) + "# the same prices\n")
        path.write_text(text(22))
        await until(lambda: len(prices.versions) == 2)

    assert file.current.models["acme/one"].price.version == prices.versions[1]


async def test_a_silent_postgres_delays_no_reload(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(text(1))
    prices = KeptPrices()
    prices.hanging = True

    async with followed(path, prices) as file:
        await prices.asked.wait()
        path.write_text(text(2))
        await until(lambda: price(file.current) == 2)


async def test_a_postgres_that_was_away_gets_the_prices_later(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(text(1))
    prices = KeptPrices()
    prices.failing = True

    async with followed(path, prices) as file:
        await prices.asked.wait()
        path.write_text(text(2))
        await until(lambda: price(file.current) == 2)
        prices.failing = False
        await until(lambda: prices.versions == [file.current.models["acme/one"].price.version])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "ROUTER_CATALOG_PATH"),
        (b"a: 1\nb: \xff", "catalog.yaml:2: this is not UTF-8"),
        (b"# " + b"x" * 1_100_000, "bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content, message):
    path = tmp_path / "catalog.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(Invalid, match=message):
        load_catalog(path, {})


def test_a_folder_is_no_catalog(tmp_path):
    with pytest.raises(Invalid, match="ROUTER_CATALOG_PATH"):
        load_catalog(tmp_path, {})
