"""Which models should be tried, in which order, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from services.router.domain.catalog import Catalog, Model
from services.router.domain.request import Ask

Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could serve the request, and what we expect of it."""

    model: Model
    expected_cost_nano_usd: int | None  # None: unpriced
    expected_quality: float  # probability that the answer is good enough, 0 to 1


@dataclass(frozen=True, slots=True)
class Decision:
    strategy: str
    confidence: Confidence
    candidates: tuple[Candidate, ...]  # at least one; the first is the choice, the rest fallbacks
    explanation: Mapping[str, Any] = field(
        default_factory=dict
    )  # complexity, candidates, reasoning

    @property
    def chosen(self) -> Candidate:
        return self.candidates[0]


class Explained(Protocol):
    """What the ledger keeps of a decision, also of one whose answer is given again."""

    @property
    def strategy(self) -> str: ...
    @property
    def confidence(self) -> str: ...
    @property
    def explanation(self) -> Mapping[str, Any]: ...


class Strategy(Protocol):
    """Ranks the models that can serve a request. Fast (< 1 ms), without I/O."""

    def decide(self, ask: Ask, catalog: Catalog) -> Decision:
        """
        Rank the candidates for *ask*.

        Raises:
            Invalid: the strategy's parameters are wrong.
            NotFound: no servable model accepts this request (context, tools, images, JSON schema).
            Unavailable: no provider is enabled; the message says which variable to set.
        """
