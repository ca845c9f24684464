"""
A deployment, replayed: requests come one by one, and only the chosen model's outcome is ever seen.

Both strategies decide through the product's own `Strategies`, on the same requests in the same
order. What is compared is what they are there for: quality, less the price of what it cost.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from scripts.routing.data import Rows, Table
from scripts.routing.learned import Learner
from services.router.domain.beliefs import NOTHING_LEARNED, Beliefs, length_outcome
from services.router.domain.catalog import Catalog, Model, Price, Provider, Tier
from services.router.domain.complexity import thresholds_of
from services.router.domain.decision import Decision
from services.router.domain.gate import WINDOW, Comparison
from services.router.domain.preference import PRICE_OF_QUALITY, Preset
from services.router.domain.request import Ask, StrategyChoice
from services.router.domain.strategies import Strategies
from services.router.domain.vector import Floats, unpacked

REFRESHED_EVERY = 10  # requests; the product reads its state again every few seconds
RECENT = 1_000  # prompts whose quantiles cut the tiers
SHIFTED_TO = 0.4  # of its outcomes that the best model keeps after a quality shift
LOOK = 300
PRESET: Preset = "balanced"
NANO = 1_000_000_000


@dataclass(frozen=True)
class Replay:
    """For each request: outcome, and cost in units of the usual cost of the dearest model."""

    rows: Rows  # of the table: which prompt each request was
    hybrid: Floats  # shape (requests, 2)
    complexity: Floats

    def worth(self) -> Floats:
        """Return hybrid's advantage on each request."""
        price = np.array([1.0, -PRICE_OF_QUALITY[PRESET]])
        found: Floats = (self.hybrid - self.complexity) @ price
        return found

    def windows(self, column: int | None = None) -> list[float]:
        """Return hybrid's mean advantage in each window: in worth, or in outcome or cost."""
        ahead = self.worth() if column is None else (self.hybrid - self.complexity)[:, column]
        return [float(ahead[at : at + LOOK].mean()) for at in range(0, len(ahead) - LOOK + 1, LOOK)]


@dataclass
class Deployment:
    """What a router would keep: evidence, recent prompts, the comparison with complexity."""

    table: Table
    feedback: float  # share of requests whose outcome comes back
    seed: int
    learner: Learner = field(init=False)
    lengths: Learner = field(default_factory=lambda: Learner([0.0]))
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    compared: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    beliefs: Beliefs = NOTHING_LEARNED
    seen: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        everything = np.ones(len(self.table.ids), bool)
        self.declared = self.table.declared(everything)
        self.learner = Learner(self.declared)
        self.usual = float(self.table.costs.max(1).mean())
        self.catalog = _catalog(self.table, self.declared)
        self.strategies = Strategies(lambda: self.catalog, lambda: self.beliefs)
        self.numbers = {model: number for number, model in enumerate(self.catalog.models)}

    def decide(self, row: int, strategy: str) -> Decision:
        ask = Ask(
            request_id=UUID(int=self.dice.getrandbits(128), version=4),
            tenant="",
            user_id=None,
            model=None,
            strategy=StrategyChoice(strategy, {"preset": PRESET} if strategy == "hybrid" else {}),
            body={"messages": [{"role": "user", "content": self.table.prompts[row]}]},
        )
        return self.strategies.get(ask.strategy).decide(ask, self.catalog)

    def learn(self, decision: Decision, row: int, outcome: float) -> None:
        self.recent.append(decision.score)
        model = self.numbers[decision.chosen.model.name]
        phi = unpacked(decision.features)
        if phi is not None:
            tokens = round(float(self.table.output_tokens[row]))
            self.lengths.evidence[0] = self.lengths.evidence[0].learn(phi, length_outcome(tokens))
            if self.dice.random() < self.feedback:
                self.learner.learn(model, phi, outcome)
                self.compared.append((decision.role, outcome))
        self.seen += 1
        if self.seen % REFRESHED_EVERY == 0:
            self._refresh()

    def _refresh(self) -> None:
        names = list(self.numbers)
        by_role = {
            role: [outcome for one, outcome in self.compared if one == role]
            for role in ("treated", "control")
        }
        self.beliefs = Beliefs(
            evidence=dict(zip(names, self.learner.evidence, strict=True)),
            corrections={names[int(m)]: c for m, c in self.learner.corrections.items()},
            output_tokens=dict.fromkeys(names, float(self.table.output_tokens.mean())),
            lengths=self.lengths.evidence[0],
            usual_cost_nano_usd=self.usual * 1_000,
            thresholds=thresholds_of(list(self.recent)),
            fallen_back=Comparison(by_role["treated"], by_role["control"]).lost,
        )


def replay(
    table: Table, *, feedback: float, requests: int, shift_at: int | None = None, seed: int = 0
) -> Replay:
    """Serve *requests* prompts; from *shift_at* on, the best model is good no more."""
    order = np.random.default_rng(seed).permutation(len(table.ids))[:requests]
    deployment = Deployment(table, feedback, seed)
    best = int(np.argmax(table.outcomes.mean(0)))
    rows: dict[str, list[tuple[float, float]]] = {"hybrid": [], "complexity": []}
    for at, row in enumerate(order):
        for strategy, found in rows.items():
            decision = deployment.decide(row, strategy)
            model = deployment.numbers[decision.chosen.model.name]
            outcome = float(table.outcomes[row, model])
            if shift_at is not None and at >= shift_at and model == best:
                outcome *= SHIFTED_TO
            found.append((outcome, float(table.costs[row, model]) / deployment.usual))
            if strategy == "hybrid":
                deployment.learn(decision, row, outcome)
    return Replay(order, np.array(rows["hybrid"]), np.array(rows["complexity"]))


def recovered_after(one: Replay, shift_at: int, *, look: int = 100) -> int | None:
    """Return after how many requests hybrid is ahead again, over *look* of them; None: never."""
    ahead = one.worth()[shift_at:]
    means = np.convolve(ahead, np.ones(look) / look, "valid")
    good = np.flatnonzero(means > 0)
    return int(good[0]) + look if len(good) else None


def _catalog(table: Table, declared: Sequence[float]) -> Catalog:
    models = {
        f"bench/{name}": Model(
            name=f"bench/{name}",
            provider="bench",
            upstream=name,
            tier=_tier(capability, max(declared)),
            capability=capability,
            context_tokens=1_000_000,
            capabilities=frozenset({"streaming"}),
            price=Price(round(read * NANO), 0, round(write * NANO), version=1),
        )
        for name, capability, (read, write) in zip(
            table.models, declared, table.prices, strict=True
        )
    }
    provider = Provider("bench", "openai", "https://bench.example/v1")
    return Catalog({"bench": provider}, models, preset=PRESET)


def _tier(capability: float, best: float) -> Tier:
    if capability >= best - 0.05:
        return "complex"
    return "moderate" if capability >= best - 0.2 else "simple"
