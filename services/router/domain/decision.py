"""Which models should be tried, in which order, and why."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from services.router.domain.catalog import Catalog, Model
from services.router.domain.request import Ask

if TYPE_CHECKING:
    from services.router.domain.cascade import Plan

Confidence = Literal["high", "medium", "low"]
# Why this choice: as planned; to keep a comparison; to find out. Outcomes are counted by it.
Role = Literal["plain", "treated", "control", "explored"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could serve the request, and what we expect of it."""

    model: Model
    expected_cost_nano_usd: int | None  # None: unpriced
    expected_quality: float  # probability that the answer is good enough, 0 to 1
    spread: float = 0.0  # standard deviation of the expected quality
    evidence: float = 0.0  # outcomes behind it
    faults: float = 0.0  # expected share of answers with a fault, already taken off the quality


@dataclass(frozen=True, slots=True)
class Decision:
    strategy: str
    confidence: Confidence
    candidates: tuple[Candidate, ...]  # at least one; the first is the choice, the rest fallbacks
    explanation: Mapping[str, Any] = field(
        default_factory=dict
    )  # complexity, candidates, reasoning
    features: bytes = b""  # φ, packed: kept with the decision so that late feedback can be learned
    score: float = 0.0  # of complexity: kept, for the quantiles of recent prompts
    pattern: str = ""  # of the prompt: quality is reported by it
    role: Role = "plain"
    plan: "Plan | None" = None  # to check the first answer, and whom to ask if it looks wrong
    seen: Mapping[str, Any] = field(default_factory=dict)  # in the answer, for learning

    @property
    def chosen(self) -> Candidate:
        return self.candidates[0]

    def adding(self, **facts: object) -> "Decision":
        """Add to the explanation."""
        return replace(self, explanation={**self.explanation, **facts})

    def noting(self, signs: Sequence[str]) -> "Decision":
        """Add what shows that the answer is no good."""
        return replace(self, seen={**self.seen, "signs": list(signs)}) if signs else self

    @property
    def learning(self) -> Mapping[str, Any]:
        """What late feedback needs of it: numbers, from which nobody reads the prompt."""
        if not self.features:
            return {}
        features = b64encode(self.features).decode()
        return {
            "features": features,
            "role": self.role,
            "score": round(self.score, 4),
            "pattern": self.pattern,
            **self.seen,
        }


class Explained(Protocol):
    """What the ledger keeps of a decision, also of one whose answer is given again."""

    @property
    def strategy(self) -> str: ...
    @property
    def confidence(self) -> str: ...
    @property
    def explanation(self) -> Mapping[str, Any]: ...
    @property
    def learning(self) -> Mapping[str, Any]: ...


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
