"""
What models cost: found in a public price list, and stamped with a version.

A version is the hash of what it stands for. So replicas agree on it without a word, a reload need
not wait for Postgres, and prices that come back get their old version back.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from common.money import nano_usd
from services.router.domain.catalog import Model, Price

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, TieredPrices

VERSION_BITS = 48  # fits a JavaScript number
PRICE_LIST = "genai-prices"

# version, model, input, cached input, output, source
PriceRow = tuple[int, str, int, int, int, str]
# (provider's name, its base_url, upstream name) → price of this moment, version 0; None: unknown
FindPrice = Callable[[str, str, str], Price | None]


def list_price(provider: str, base_url: str, upstream: str) -> Price | None:
    """
    Look a model up in genai-prices, by the address that will bill, else by the provider's name.

    Prices that depend on the date or the hour are those of this moment; of prices that rise with
    the length of the prompt it is the first step.
    """
    model = _listed(provider, base_url, upstream.lower())
    if model is None:
        return None
    prices = model.get_prices(datetime.now(UTC))
    given = _first_step(prices.input_mtok)
    if given is None:
        return None
    written = _first_step(prices.output_mtok)
    cached = _first_step(prices.cache_read_mtok)
    return Price(
        input=nano_usd(given),
        cached_input=nano_usd(given if cached is None else cached),
        output=0 if written is None else nano_usd(written),  # embeddings write nothing
        version=0,
        source=_source(),
    )


def with_version(models: Iterable[Model]) -> list[Model]:
    """Stamp each price with the version of them all."""
    models = list(models)
    stamp = _version_of(price_rows(models))
    return [
        m if m.price is None else replace(m, price=replace(m.price, version=stamp)) for m in models
    ]


def price_rows(models: Iterable[Model]) -> list[PriceRow]:
    """List the known prices of *models*, in one order."""
    return [
        (p.version, m.name, p.input, p.cached_input, p.output, p.source)
        for m in sorted(models, key=lambda m: m.name)
        if (p := m.price) is not None
    ]


def _version_of(rows: Iterable[PriceRow]) -> int:
    content = repr([row[1:] for row in rows]).encode()
    return int.from_bytes(hashlib.sha256(content).digest()) >> (256 - VERSION_BITS)


@cache
def _source() -> str:
    return f"{PRICE_LIST} {version(PRICE_LIST)}"


@cache
def _listed(provider: str, base_url: str, upstream: str) -> "ModelInfo | None":
    # Imported at the first look-up: it takes half a second, which a catalog of own prices saves.
    from genai_prices import data_snapshot  # noqa: PLC0415

    snapshot = data_snapshot.get_snapshot()
    try:
        found = snapshot.find_provider(None, None, base_url)
    except LookupError:
        name = "google" if provider == "gemini" else provider
        by_id = {listed.id: listed for listed in snapshot.providers}
        if name not in by_id:
            return None
        found = by_id[name]
    return found.find_model(upstream, all_providers=snapshot.providers)


def _first_step(price: "Decimal | TieredPrices | None") -> Decimal | None:
    return price if price is None or isinstance(price, Decimal) else price.base
