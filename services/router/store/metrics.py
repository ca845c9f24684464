"""
What Prometheus learns about money. Labels are names from the catalog only.

Counted in the process that settles; what another process settles later (the reaper, a journal that
is replayed) is in the ledger alone, which is the truth about money.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import Counter

from common.money import NANO_PER_USD
from services.router.domain.catalog import Model
from services.router.domain.request import Usage

_CACHE = Counter(
    "optimizer_cache_requests_total",
    "Completions by what the cache had: hit, shared (an equal call was under way), miss, bypass",
    ["result"],
)
_TOKENS = Counter(
    "optimizer_tokens_total",
    "Tokens of settled attempts; input is without what the provider had cached",
    ["model", "direction"],
)
_COST = Counter("optimizer_cost_usd_total", "USD of settled attempts", ["model", "provider"])
_UNPRICED = Counter(
    "optimizer_unpriced_attempts_total", "Attempts whose cost nobody knows", ["model"]
)
_BASELINE = Counter(
    "optimizer_baseline_usd_total",
    "USD that the baseline model would have cost, of requests where both costs are known",
)
_SAVED = Counter(
    "optimizer_saved_usd_total", "USD below the baseline: by routing, by the cache", ["by"]
)
_LOST = Counter("optimizer_lost_usd_total", "USD above the baseline: requests that cost more")

# Looking a series up costs more than counting: these are kept.
CACHED = {result: _CACHE.labels(result) for result in ("hit", "shared", "miss", "bypass")}
_SAVED_BY = {by: _SAVED.labels(by) for by in ("routing", "cache")}


@dataclass(frozen=True, slots=True)
class _Series:
    """Of one model."""

    cost: Counter
    input: Counter
    cached_input: Counter
    output: Counter


_series: dict[tuple[str, str], _Series] = {}


def expect(models: Iterable[Model]) -> None:
    """Begin every model at 0: of a counter that appears with a value, Prometheus misses that."""
    for model in models:
        _series_of(model)


def count_settled(model: Model, used: Usage, cost_nano_usd: int | None) -> None:
    """Count one attempt; None: unpriced."""
    series = _series_of(model)
    if used.input_tokens:
        series.input.inc(max(used.input_tokens - used.cached_input_tokens, 0))
    if used.cached_input_tokens:
        series.cached_input.inc(used.cached_input_tokens)
    if used.output_tokens:
        series.output.inc(used.output_tokens)
    if cost_nano_usd is None:
        _UNPRICED.labels(model.name).inc()
    elif cost_nano_usd:
        series.cost.inc(cost_nano_usd / NANO_PER_USD)


def count_closed(
    *, cost_nano_usd: int | None, baseline_nano_usd: int | None, cache_hit: bool
) -> None:
    """Count what a request saved; nothing, unless both costs are known."""
    if cost_nano_usd is None or baseline_nano_usd is None:
        return
    _BASELINE.inc(baseline_nano_usd / NANO_PER_USD)
    saved = baseline_nano_usd - cost_nano_usd
    if saved >= 0:
        _SAVED_BY["cache" if cache_hit else "routing"].inc(saved / NANO_PER_USD)
    else:
        _LOST.inc(-saved / NANO_PER_USD)


def _series_of(model: Model) -> _Series:
    key = (model.name, model.provider)
    found = _series.get(key)
    if found is None:
        found = _series[key] = _Series(
            _COST.labels(*key),
            *(_TOKENS.labels(model.name, way) for way in ("input", "cached_input", "output")),
        )
    return found
