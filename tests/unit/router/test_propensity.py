"""Propensities: the probability of a choice, as it is kept with it, is how often it is made."""

from collections import Counter
from dataclasses import replace
from uuid import UUID

import pytest

from services.router.domain.beliefs import NOTHING_LEARNED, Beliefs
from services.router.domain.candidates import read
from services.router.domain.cascade import by_cascade
from services.router.domain.complexity import complexity_of
from services.router.domain.hybrid import by_hybrid, by_learning
from services.router.domain.preference import Wish
from services.router.domain.strategies import Strategies
from services.router.domain.vector import vector_of
from tests.router_builders import a_catalog, a_model, an_ask, evidence_of

PROMPT = (
    "Design a distributed rate limiter. Compare token bucket and sliding window, explain the"
    " trade-offs and why each fails, and provide a Python implementation with tests. It must not"
    " lose counts when Redis fails over, and should include a strategy for clock skew if regions"
    " drift. Then analyse the consequences step by step."
)
PHI = vector_of(complexity_of(PROMPT))
CATALOG = a_catalog(
    a_model("acme/large", tier="complex", usd=10),
    a_model("acme/small", tier="simple", usd=0.1),
    a_model("acme/medium", tier="moderate", usd=1),
)
DRAWS = 600
RULES = {"learning": by_learning, "hybrid": by_hybrid, "cascade": by_cascade}


def seen(count=20, **outcomes):
    return Beliefs({f"acme/{m}": evidence_of(PHI, mean, count) for m, mean in outcomes.items()})


def decide(ask, beliefs):
    return Strategies(lambda: CATALOG, lambda: beliefs).get(ask.strategy).decide(ask, CATALOG)


def odds(decision):
    found = decision.explanation["candidates"]
    return {one["model"]: one["propensity"] for one in found if "propensity" in one}


ALIKE = seen(small=0.62, medium=0.65, large=0.7)
DISAPPOINTING = seen(100, large=0.1, medium=0.8)
UNKNOWN = seen(100, large=0.1)


@pytest.mark.parametrize(
    ("strategy", "beliefs", "wish"),
    [
        ("learning", ALIKE, Wish("economy")),
        ("learning", ALIKE, Wish("balanced")),
        ("learning", UNKNOWN, Wish("balanced")),  # the best is unknown: nobody else is tried
        ("hybrid", ALIKE, Wish("balanced")),
        ("hybrid", DISAPPOINTING, Wish("balanced")),  # the gate is open: some stay on complexity's
        ("hybrid", replace(DISAPPOINTING, fallen_back=True), Wish("balanced")),
        ("hybrid", DISAPPOINTING, Wish("balanced", min_quality=0.5)),  # nothing is tried
        ("hybrid", ALIKE, Wish("balanced", max_cost_nano_usd=1_600_000)),
        ("hybrid", seen(9, small=0.9, medium=0.5, large=0.5), Wish("balanced")),
        ("cascade", ALIKE, Wish("balanced")),  # nothing to check: as hybrid
    ],
)
def test_a_choice_is_as_frequent_as_its_propensity_says(strategy, beliefs, wish):
    question = read(an_ask(PROMPT), CATALOG, beliefs)
    asks = [replace(question.ask, request_id=UUID(int=n)) for n in range(DRAWS)]

    rankings = [RULES[strategy](replace(question, ask=ask), wish) for ask in asks]

    expected = rankings[0].odds
    chosen = Counter(one.candidates[0].model.name for one in rankings)
    assert 1 == pytest.approx(sum(expected.values()))
    for model in {*expected, *chosen}:
        error = (expected[model] * (1 - expected[model]) / DRAWS) ** 0.5
        assert expected[model] == pytest.approx(chosen[model] / DRAWS, abs=4 * error + 1e-3)
    for one in rankings:
        assert expected == pytest.approx(one.odds)


def test_the_propensities_of_all_candidates_are_kept_with_the_choice():
    decision = decide(an_ask(PROMPT, strategy="hybrid"), seen(small=0.6, medium=0.6, large=0.72))

    assert {"acme/small", "acme/medium", "acme/large"} == set(odds(decision))
    assert 1 == pytest.approx(sum(odds(decision).values()), abs=1e-3)
    assert odds(decision)[decision.chosen.model.name] == decision.explanation["propensity"]


@pytest.mark.parametrize(
    ("strategy", "parameters"),
    [
        ("complexity", {}),
        ("cheapest", {}),
        ("best", {}),
        ("fixed", {"model": "acme/medium"}),
        ("learning", {"preset": "quality"}),
    ],
)
def test_what_is_not_left_to_chance_is_certain(strategy, parameters):
    decision = decide(an_ask(PROMPT, strategy=strategy, parameters=parameters), ALIKE)

    assert 1 == decision.explanation["propensity"]
    assert {decision.chosen.model.name: 1} == odds(decision)


def test_where_nobody_rates_hybrid_is_certain():
    assert 1 == decide(an_ask(PROMPT, strategy="hybrid"), NOTHING_LEARNED).explanation["propensity"]


def test_models_of_which_all_is_known_are_not_drawn_by_chance():
    known = seen(5_000, small=0.2, medium=0.3, large=0.99)

    decision = decide(an_ask(PROMPT, strategy="learning"), known)

    assert 0.9 < odds(decision)["acme/large"] <= 1
