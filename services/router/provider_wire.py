"""Providers and how their models stand, as messages."""

import time

from optimizer.router.v1 import router_pb2 as pb

from services.router.domain.catalog import Catalog, Model, Provider
from services.router.providers.breaker import Breakers

_STATES = {
    "closed": pb.Breaker.STATE_CLOSED,
    "open": pb.Breaker.STATE_OPEN,
    "half_open": pb.Breaker.STATE_HALF_OPEN,
}


def provider(one: Provider, catalog: Catalog, breakers: Breakers) -> pb.Provider:
    models = [m for m in catalog.models.values() if m.provider == one.name]
    return pb.Provider(
        name=one.name,
        wire=one.wire,
        enabled=one.enabled,
        why_off=one.why_off or "",
        models=len(models),
        sandbox=one.sandbox,
        breakers=[_breaker(m, breakers) for m in models if one.enabled and m.enabled],
    )


def _breaker(model: Model, breakers: Breakers) -> pb.Breaker:
    standing = breakers.standing(model)
    until_ms = int((time.time() + standing.left_s) * 1000)
    return pb.Breaker(
        model=model.name,
        state=_STATES[standing.state],
        open_until_ms=until_ms if standing.state == "open" else None,
        reason=standing.reason or "",
    )
