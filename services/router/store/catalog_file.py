"""
The catalog file: read at the start, on SIGHUP and on change; a bad one is refused.

Changes are found by looking every second: what is opened under the path is compared, not the
path's directory watched, so atomic renames, bind mounts, network folders and the symlink swap of
a Kubernetes ConfigMap are all seen.
"""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog
from prometheus_client import Gauge

from common.errors import Failure, Invalid
from services.router.domain.catalog import Catalog, Model
from services.router.store.catalog_text import parse_catalog, reprice
from services.router.store.metrics import expect
from services.router.store.price_list import FindPrice, list_price

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST_BYTES = 1_000_000
LOOK_EVERY_S = 1.0
REPRICE_EVERY_S = 60.0  # some providers have prices by the hour

log = structlog.get_logger()
VALID = Gauge("optimizer_catalog_valid", "1: the catalog file as it is now is in use; 0: refused.")
MODELS_ON = Gauge("optimizer_catalog_models_on", "Models that can be asked right now.")


class KeepsPrices(Protocol):
    async def keep(self, models: "Iterable[Model]") -> None: ...


def load_catalog(path: Path, environ: Mapping[str, str], prices: FindPrice = list_price) -> Catalog:
    """
    Read the catalog at *path*.

    Raises:
        Invalid: it cannot be read, or is wrong; the message says where and what to change.
    """
    return parse_catalog(_read(path), environ, prices, file_name=path.name)


class CatalogFile:
    """
    The catalog of this moment.

    Args:
        path: The YAML file, `ROUTER_CATALOG_PATH`.
        environ: Where keys and addresses are looked up.
        prices: Keeps each price set that was ever used.
        find_price: The price list.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        prices: KeepsPrices,
        find_price: FindPrice = list_price,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._path = path
        self._environ = environ
        self._prices = prices
        self._find_price = find_price
        self._look_every_s = look_every_s
        self._seen = _signature(path)
        self._hung_up = asyncio.Event()
        self._troubled = False
        self.current = load_catalog(path, environ, find_price)
        self._announce()

    async def watch(self) -> None:
        """Follow the file for ever; nothing it may hold or lack ends this."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._keep_prices())

    async def reload(self) -> bool:
        """Read the file again; False: it was refused, and what was there stays."""
        try:
            self.current = await asyncio.to_thread(
                load_catalog, self._path, self._environ, self._find_price
            )
        except Invalid as refused:
            VALID.set(0)
            log.error("catalog refused, the old one stays", problems=refused.message)  # noqa: TRY400
            return False
        self._announce()
        return True

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        repriced_at = loop.time()
        with _on_hangup(loop, self._hung_up.set):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._look_every_s):
                        await self._hung_up.wait()
                seen = await asyncio.to_thread(_signature, self._path)
                if seen != self._seen or self._hung_up.is_set():
                    self._seen = seen
                    self._hung_up.clear()
                    await self.reload()
                elif loop.time() - repriced_at >= REPRICE_EVERY_S:
                    repriced_at = loop.time()
                    self.current = reprice(self.current, self._find_price)

    async def _keep_prices(self) -> None:
        """Bring each price set to Postgres. A silent one delays no reload; it is asked again."""
        kept: int | None = None
        while True:
            models = list(self.current.models.values())
            version = next((model.price.version for model in models if model.price), None)
            if version != kept:
                try:
                    await self._prices.keep(models)
                    kept, self._troubled = version, False
                except Failure as failure:
                    if not self._troubled:
                        log.warning("price set not kept yet, will retry", reason=failure.message)
                    self._troubled = True
            await asyncio.sleep(self._look_every_s)

    def _announce(self) -> None:
        VALID.set(1)
        servable = self.current.servable()
        MODELS_ON.set(len(servable))
        expect(self.current.models.values())
        off = {p.name: p.why_off for p in self.current.providers.values() if p.why_off}
        log.info("catalog in use", models_on=len(servable), providers_off=off)
        if not servable:
            log.warning("no provider is enabled: every completion will answer 503", why=off)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise Invalid(f"{path}: {why}; set ROUTER_CATALOG_PATH", code="invalid_catalog") from error
    if len(content) > MOST_BYTES:
        raise Invalid(f"{path.name}:1: more than {MOST_BYTES} bytes", code="invalid_catalog")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Invalid(f"{path.name}:{line}: this is not UTF-8", code="invalid_catalog") from error


def _signature(path: Path) -> tuple[int, ...]:
    """Tell one content from the next: the file behind all symlinks, its time and size."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


@contextmanager
def _on_hangup(loop: asyncio.AbstractEventLoop, call: "Callable[[], None]") -> "Iterator[None]":
    before = signal.getsignal(signal.SIGHUP)
    try:
        loop.add_signal_handler(signal.SIGHUP, call)
    except (RuntimeError, ValueError):  # not in the main thread: the look every second remains
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)
