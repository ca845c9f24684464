"""What happened to a completion, as headers."""

from optimizer.router.v1 import router_pb2

from common.money import NANO_PER_USD
from services.gateway.usecases import Placement, cost_of

NO_ARM = b"none"


def headers(outcome: router_pb2.Outcome, placement: Placement) -> list[tuple[bytes, bytes]]:
    """Say what is known when the answer begins; of a stream, that is all but the cost."""
    kept = outcome.cache_key
    return [
        *([(b"x-optimizer-cache-key", _safe(kept))] if kept else []),  # what votes are cast on
        (b"x-optimizer-model", _safe(outcome.model)),
        (b"x-optimizer-strategy", _safe(outcome.strategy)),
        (b"x-optimizer-cache", b"hit" if outcome.cache_hit else b"miss"),
        (b"x-optimizer-experiment-arm", _safe(placement.arm) or NO_ARM),
        (b"x-optimizer-fallbacks", b"%d" % outcome.fallbacks),
    ]


def cost_header(outcome: router_pb2.Outcome) -> tuple[bytes, bytes]:
    """Give the cost in USD, to the nano; unpriced is not free."""
    nano = cost_of(outcome)
    if nano is None:
        return (b"x-optimizer-cost-usd", b"unpriced")
    return (b"x-optimizer-cost-usd", b"%d.%09d" % divmod(nano, NANO_PER_USD))


def _safe(text: str) -> bytes:
    """Names come from files that people write: a line break in one must not end the header."""
    return text.encode("ascii", "replace") if text.isprintable() else b"?"
