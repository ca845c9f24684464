"""Learning and hybrid: outcomes decide, behind a gate; something is tried only where it may be."""

from collections import Counter
from dataclasses import replace

import pytest

from common.ids import new_id
from services.router.domain.beliefs import NOTHING_LEARNED, Beliefs
from services.router.domain.complexity import complexity_of
from services.router.domain.gate import FEWEST, Comparison
from services.router.domain.strategies import Strategies
from services.router.domain.vector import vector_of
from tests.router_builders import a_catalog, a_model, an_ask, evidence_of

SMALL = a_model("acme/small", tier="simple", usd=0.1)
MEDIUM = a_model("acme/medium", tier="moderate", usd=1)
LARGE = a_model("acme/large", tier="complex", usd=10)
CATALOG = a_catalog(LARGE, SMALL, MEDIUM)

SIMPLE = "What is the capital of France?"
MODERATE = "Write a Python function that reverses a linked list and add unit tests."
COMPLEX = (
    "Design a distributed rate limiter. Compare token bucket and sliding window, explain the"
    " trade-offs and why each fails, and provide a Python implementation with tests. It must not"
    " lose counts when Redis fails over, and should include a strategy for clock skew if regions"
    " drift. Then analyse the consequences step by step."
)


def decide(ask, catalog=CATALOG, beliefs=NOTHING_LEARNED):
    return Strategies(lambda: catalog, lambda: beliefs).get(ask.strategy).decide(ask, catalog)


def seen(prompt, **outcomes):
    """Believe what a hundred outcomes of each model on *prompt* say: small=0.9, large=0.1."""
    phi = vector_of(complexity_of(prompt))
    return Beliefs({f"acme/{m}": evidence_of(phi, mean, 100) for m, mean in outcomes.items()})


def again(ask):
    return replace(ask, request_id=new_id())


def test_outcomes_move_learning_to_another_model():
    ask = an_ask(COMPLEX, strategy="learning", parameters={"preset": "quality"})

    assert "acme/large" == decide(ask).chosen.model.name
    assert "acme/medium" == decide(ask, beliefs=seen(COMPLEX, large=0.1)).chosen.model.name


@pytest.mark.parametrize(
    ("preset", "expected"), [("economy", "acme/small"), ("quality", "acme/large")]
)
def test_the_preset_says_how_much_quality_may_be_given_up(preset, expected):
    beliefs = seen(MODERATE, small=0.7, medium=0.72, large=0.85)
    ask = an_ask(MODERATE, strategy="learning", parameters={"preset": preset})
    tried = Counter(decide(again(ask), beliefs=beliefs).chosen.model.name for _ in range(100))

    assert expected == tried.most_common(1)[0][0]


@pytest.mark.parametrize(("bar", "expected"), [(0.6, "small"), (0.74, "medium"), (0.99, "large")])
def test_a_quality_that_is_asked_for_gets_the_cheapest_model_of_it(bar, expected):
    beliefs = seen(MODERATE, small=0.65, medium=0.8, large=0.9)
    ask = an_ask(MODERATE, strategy="learning", parameters={"min_quality": bar})

    assert f"acme/{expected}" == decide(ask, beliefs=beliefs).chosen.model.name


def test_hybrid_keeps_to_a_quality_that_is_asked_for_even_where_complexity_decides():
    ask = an_ask(SIMPLE, strategy="hybrid", parameters={"min_quality": 0.8})
    decision = decide(ask)

    assert "acme/small" == decide(an_ask(SIMPLE, strategy="hybrid")).chosen.model.name
    assert decision.chosen.expected_quality >= 0.8
    small = next(c for c in decision.explanation["candidates"] if c["model"] == "acme/small")
    assert "below the 0.80 asked for" in small["lost"]


@pytest.mark.parametrize("strategy", ["learning", "hybrid"])
def test_nothing_above_the_callers_cost_cap_is_taken(strategy):
    beliefs = seen(COMPLEX, small=0.2, large=1.0)
    cap = {"max_cost_usd": 0.0016}  # medium costs about 0.0013
    ask = an_ask(COMPLEX, strategy=strategy, parameters=cap)

    assert {"acme/medium", "acme/small"} >= {
        decide(again(ask), beliefs=beliefs).chosen.model.name for _ in range(100)
    }


@pytest.mark.parametrize(
    ("beliefs", "why"),
    [
        (seen(MODERATE, small=0.6, medium=0.62, large=0.7), "is tried to learn more"),
        (seen(MODERATE, medium=0.1), "is tried because few outcomes show it"),
    ],
)
def test_a_tenth_of_the_requests_tries_something_else(beliefs, why):
    ask = an_ask(MODERATE, strategy="learning", parameters={"preset": "economy"})
    decisions = [decide(again(ask), beliefs=beliefs) for _ in range(1_000)]
    explored = [one for one in decisions if one.role == "explored"]

    assert 0 < len(explored) <= 0.13 * len(decisions)
    assert all(why in one.explanation["reasoning"] for one in explored)


@pytest.mark.parametrize("strategy", ["learning", "hybrid"])
def test_nothing_is_tried_where_nobody_rates(strategy):
    ask = an_ask(MODERATE, strategy=strategy)

    assert {"plain"} == {decide(again(ask)).role for _ in range(300)}


@pytest.mark.parametrize("prompt", [SIMPLE, MODERATE, COMPLEX, "What is 17 * 23?"])
def test_hybrid_is_complexity_while_there_are_no_outcomes(prompt):
    cautious, hybrid = (decide(an_ask(prompt, strategy=s)) for s in ("complexity", "hybrid"))

    assert cautious.chosen == hybrid.chosen


@pytest.mark.parametrize("parameters", [{"preset": "quality"}, {"min_quality": 0.5}])
def test_who_pins_quality_is_never_experimented_on(parameters):
    ask = an_ask(MODERATE, strategy="learning", parameters=parameters)

    beliefs = seen(MODERATE, small=0.6, medium=0.62, large=0.7)

    assert {"plain"} == {decide(again(ask), beliefs=beliefs).role for _ in range(200)}


def test_every_replica_decides_the_same():
    ask = an_ask(MODERATE, strategy="hybrid")
    beliefs = seen(MODERATE, small=0.6, medium=0.5)

    assert decide(ask, beliefs=beliefs) == decide(ask, beliefs=replace(beliefs))


def test_hybrid_listens_to_complexity_until_there_are_outcomes():
    """The cheaper model would do by its declaration, but nobody has tried it."""
    catalog = a_catalog(SMALL, replace(MEDIUM, capability=0.88), LARGE)
    ask = an_ask(COMPLEX, strategy="hybrid")
    decisions = [decide(again(ask), catalog) for _ in range(100)]

    assert {"acme/large"} == {one.chosen.model.name for one in decisions}
    assert {"acme/medium"} == {one.explanation["gate"]["learning_choice"] for one in decisions}
    assert {"learning_mismatch"} == {one.explanation["gate"]["verdict"] for one in decisions}


def test_hybrid_follows_learning_away_from_a_model_that_disappoints():
    beliefs = seen(COMPLEX, large=0.1, medium=0.8)
    ask = an_ask(COMPLEX, strategy="hybrid")
    decisions = [decide(again(ask), beliefs=beliefs) for _ in range(400)]

    roles = Counter(one.role for one in decisions)
    treated = [one for one in decisions if one.role == "treated"]
    control = [one for one in decisions if one.role == "control"]

    assert {"acme/medium"} == {one.chosen.model.name for one in treated}
    assert {"acme/large"} == {one.chosen.model.name for one in control}
    assert {"experimental"} == {one.explanation["gate"]["verdict"] for one in treated}
    assert 0 < roles["control"] <= 0.06 * len(decisions)  # 3 %


def test_hybrid_that_did_worse_leaves_the_choice_to_complexity():
    beliefs = replace(seen(COMPLEX, large=0.1, medium=0.8), fallen_back=True)

    ask = an_ask(COMPLEX, strategy="hybrid")
    decisions = [decide(again(ask), beliefs=beliefs) for _ in range(400)]
    roles = Counter(one.role for one in decisions)
    control = next(one for one in decisions if one.role == "control")

    assert {"control", "treated"} == set(roles)
    assert (
        0 < roles["treated"] <= 0.15 * len(decisions)
    )  # 10 %, so that newer outcomes can clear it
    assert "acme/large" == control.chosen.model.name
    assert "did worse than complexity" in control.explanation["reasoning"]


def test_a_price_change_acts_at_once():
    beliefs = seen(MODERATE, small=0.75, medium=0.75, large=0.75)
    ask = an_ask(MODERATE, strategy="learning", parameters={"min_quality": 0.7})
    bargain = a_model("acme/medium", tier="moderate", usd=0.05)

    assert "acme/small" == decide(ask, beliefs=beliefs).chosen.model.name
    changed = a_catalog(LARGE, SMALL, bargain)
    assert "acme/medium" == decide(ask, changed, beliefs).chosen.model.name


def test_a_new_model_starts_from_its_declared_capability_and_a_removed_one_is_gone():
    beliefs = seen(COMPLEX, large=0.1, gone=1.0)
    new = a_model("acme/new", tier="complex", usd=10, capability=0.95)

    decision = decide(an_ask(COMPLEX, strategy="best"), a_catalog(LARGE, new), beliefs)

    assert ["acme/new", "acme/large"] == [one.model.name for one in decision.candidates]
    assert [0, True] == [
        decision.candidates[0].evidence,
        decision.candidates[0].expected_quality > decision.candidates[1].expected_quality,
    ]


@pytest.mark.parametrize(
    ("treated", "control", "lost"),
    [
        ([0.0] * 50, [1.0] * 15, True),
        ([1.0] * 50, [0.0] * 15, False),
        ([0.5] * 50, [0.5] * 15, False),  # no worse: within the margin, and by chance
        ([0.6, 0.5] * 25, [0.7, 0.5] * 8, False),  # worse, but it may be chance
        ([0.0] * 500, [1.0] * (FEWEST - 1), False),  # too few to say
    ],
)
def test_hybrid_has_lost_only_when_that_is_no_chance(treated, control, lost):
    assert lost == Comparison(treated, control).lost
