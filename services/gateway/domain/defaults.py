"""Which strategy serves a request that names none, and which experiment it joins by itself."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_BITS = 2**32


@dataclass(frozen=True, slots=True)
class Scope:
    """Empty: any."""

    tenant: str = ""
    tag: str = ""

    def covers(self, asked: "Scope") -> bool:
        return self.tenant in ("", asked.tenant) and self.tag in ("", asked.tag)

    @property
    def narrowness(self) -> tuple[bool, bool]:
        """Order scopes: a key is narrower than a tag, which anybody may claim."""
        return bool(self.tenant), bool(self.tag)


@dataclass(frozen=True, slots=True)
class Enrolling:
    """A running experiment that has the users of its layer from *low* up to *high*."""

    experiment_id: int
    scope: Scope
    layer: str
    low: float
    high: float

    def wants(self, asked: Scope, user_id: str) -> bool:
        return self.scope.covers(asked) and self.low <= place(self.layer, user_id) < self.high


@dataclass(frozen=True, slots=True)
class Default(Generic[T]):
    scope: Scope
    strategy: T


def default_of(defaults: Sequence[Default[T]], asked: Scope) -> T | None:
    """Return the strategy of the narrowest scope that covers *asked*; None: nobody promoted any."""
    covering = [one for one in defaults if one.scope.covers(asked)]
    if not covering:
        return None
    return max(covering, key=lambda one: one.scope.narrowness).strategy


def experiment_of(enrolling: Sequence[Enrolling], asked: Scope, user_id: str) -> int:
    """Return the first experiment that wants this user; 0: none does."""
    if not user_id:
        return 0
    return next((one.experiment_id for one in enrolling if one.wants(asked, user_id)), 0)


def place(layer: str, user_id: str) -> float:
    """Return where a user stands in a layer, within [0, 1): experiments there share the range."""
    digest = hashlib.md5(f"layer:{layer}:{user_id}".encode(), usedforsecurity=False)
    return int(digest.hexdigest()[:8], 16) / _BITS
