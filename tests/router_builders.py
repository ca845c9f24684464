"""Small catalogs and asks for tests of the router: literals in, literals out."""

from collections.abc import Mapping
from typing import Any

from common.ids import new_id
from services.router.domain.catalog import Catalog, Model, Price, Provider, Tier
from services.router.domain.learning import NO_EVIDENCE, Evidence
from services.router.domain.request import Ask, StrategyChoice
from services.router.domain.vector import Floats

ALL = frozenset({"tools", "vision", "json_schema", "streaming"})


def a_provider(name: str = "acme", **changes: Any) -> Provider:
    return Provider(
        **{"name": name, "wire": "openai", "base_url": "https://x.example/v1"} | changes
    )


def a_model(name: str, *, tier: Tier = "moderate", usd: float | None = 1, **changes: Any) -> Model:
    """Make a model that costs *usd* per million tokens in, four times that out; None: unpriced."""
    nano = None if usd is None else round(usd * 1e9)
    provider, upstream = name.split("/")
    fields: dict[str, Any] = {
        "name": name,
        "provider": provider,
        "upstream": upstream,
        "tier": tier,
        "capability": {"simple": 0.5, "moderate": 0.7, "complex": 0.9}[tier],
        "context_tokens": 100_000,
        "capabilities": ALL,
        "price": None if nano is None else Price(nano, nano // 10, 4 * nano, version=1),
    }
    return Model(**fields | changes)


def a_catalog(*models: Model, **changes: Any) -> Catalog:
    """Make a catalog of *models* whose providers are on, if *changes* do not say otherwise."""
    providers = {m.provider: a_provider(m.provider) for m in models}
    fields: dict[str, Any] = {"models": {m.name: m for m in models}}
    fields |= changes
    fields["providers"] = providers | fields.get("providers", {})
    return Catalog(**fields)


def an_ask(
    prompt: str = "hi",
    *,
    strategy: str = "complexity",
    parameters: Mapping[str, Any] | None = None,
    model: str | None = None,
    streamed: bool = False,
    **body: Any,
) -> Ask:
    return Ask(
        request_id=new_id(),
        tenant="a-key",
        user_id=None,
        model=model,
        strategy=StrategyChoice(strategy, parameters or {}),
        body={"messages": [{"role": "user", "content": prompt}]} | body,
        streamed=streamed,
    )


def evidence_of(phi: Floats, mean: float, count: int) -> Evidence:
    """Learn *count* outcomes that are all *mean*, on prompts that are all alike."""
    found = NO_EVIDENCE
    for _ in range(count):
        found = found.learn(phi, mean)
    return found
