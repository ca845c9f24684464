"""What a plain rule would have chosen, told from a kept decision: as if it had been asked."""

import json
from dataclasses import replace

import pytest

from common.errors import Invalid
from services.router.domain.beliefs import Beliefs
from services.router.domain.complexity import complexity_of
from services.router.domain.hindsight import Logged, Option, cases_of, read, rule_of
from services.router.domain.request import StrategyChoice
from services.router.domain.strategies import Strategies, decide_pinned
from services.router.domain.vector import vector_of
from tests.router_builders import a_catalog, a_model, an_ask, evidence_of

SIMPLE = "What is the capital of France?"
HARD = "Prove, step by step, why each of these algorithms fails if the network is partitioned. " * 9
SUM = "What is 12 * 34?"
CATALOG = a_catalog(
    a_model("acme/large", tier="complex", usd=10),
    a_model("acme/small", tier="simple", usd=0.1),
    a_model("acme/medium", tier="moderate", usd=1),
    a_model("acme/bargain", tier="moderate", usd=0.1, capability=0.4),
    a_model("acme/unpriced", tier="complex", usd=None, capability=0.9),
)
PHI = vector_of(complexity_of(HARD))
BELIEFS = Beliefs({"acme/medium": evidence_of(PHI, 0.9, 60), "acme/large": evidence_of(PHI, 0, 60)})


def decide(prompt, strategy, catalog=CATALOG, **parameters):
    ask = an_ask(prompt, strategy=strategy, parameters=parameters)
    return Strategies(lambda: catalog, lambda: BELIEFS).get(ask.strategy).decide(ask, catalog)


def kept(decision, **changes):
    details = json.loads(json.dumps(decision.explanation)) | changes
    return read(details, user="u", cost_nano_usd=7)


@pytest.mark.parametrize("prompt", [SIMPLE, HARD, SUM])
@pytest.mark.parametrize("logged_by", ["hybrid", "learning", "cascade", "complexity", "cheapest"])
@pytest.mark.parametrize("strategy", ["cheapest", "best", "complexity", "fixed"])
def test_what_would_have_been_chosen_is_told_from_a_kept_decision(prompt, logged_by, strategy):
    parameters = {"model": "acme/medium"} if strategy == "fixed" else {}
    logged = kept(decide(prompt, logged_by))

    told = rule_of(StrategyChoice(strategy, parameters))(logged)

    chosen = decide(prompt, strategy, **parameters).chosen
    assert (chosen.model.name, chosen.expected_cost_nano_usd) == (
        told.model,
        told.expected_cost_nano_usd,
    )


def test_where_no_model_is_adequate_complexity_would_take_the_most_capable():
    catalog = a_catalog(a_model("acme/a", tier="simple"), a_model("acme/b", tier="moderate"))
    logged = kept(decide(HARD, "cheapest", catalog))

    assert "acme/b" == rule_of(StrategyChoice("complexity"))(logged).model


@pytest.mark.parametrize("strategy", ["hybrid", "learning", "cascade"])
def test_what_learning_would_have_chosen_is_told_by_nobody(strategy):
    with pytest.raises(Invalid, match="only cheapest, best, complexity, fixed can"):
        rule_of(StrategyChoice(strategy))


def test_who_named_a_model_left_no_choice():
    assert kept(decide(SIMPLE, "fixed", model="acme/small")) is None
    assert kept(decide_pinned(an_ask(model="acme/small"), CATALOG)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"propensity": None},
        {"propensity": 0},
        {"complexity": "simple"},
        {"complexity": {"tier": "odd"}},
        {"candidates": None},
        {"candidates": [{}]},
        {"candidates": [7]},
        {"candidates": []},
        {"strategy": ["hybrid"]},
        {"cascade": 7},
    ],
)
def test_rows_of_another_form_are_left_out(changes):
    assert kept(decide(SIMPLE, "hybrid"), **changes) is None


@pytest.mark.parametrize(
    "figures",
    [
        {"expected_cost_usd": float("nan")},
        {"expected_cost_usd": float("inf")},
        {"expected_cost_usd": -1},
        {"propensity": 1.5},
        {"propensity": float("nan")},
        {"capability": float("nan")},
        {"tier": 3},
    ],
)
def test_rows_with_absurd_figures_are_left_out(figures):
    explanation = decide(SIMPLE, "hybrid").explanation
    candidates = [{**one, **figures} for one in explanation["candidates"]]

    assert read({**explanation, "candidates": candidates}, user=None, cost_nano_usd=1) is None


SMALL = Option("acme/small", 0, 0.5, 0.5, 100, 0.05)
LARGE = Option("acme/large", 2, 0.9, 0.9, 900, 0.95)
LOGGED = Logged("u", 950, 0, [LARGE, SMALL], cascaded=False)
CHEAPEST = rule_of(StrategyChoice("cheapest"))


def test_what_happened_stands_beside_what_would_have():
    (case,) = cases_of([LOGGED], CHEAPEST)

    assert ("acme/large", 950, 900) == (case.chosen, case.cost_nano_usd, case.chosen_cost_nano_usd)
    assert ("acme/small", 100, 0.05) == (case.target, case.target_cost_nano_usd, case.propensity)
    assert case.alone


def test_a_cascade_says_nothing_of_what_one_model_costs():
    (case,) = cases_of([replace(LOGGED, cascaded=True)], CHEAPEST)

    assert (False, 0) == (case.alone, case.propensity)


@pytest.mark.parametrize(
    "row",
    [
        replace(LOGGED, cost_nano_usd=None),
        replace(LOGGED, options=[LARGE._replace(expected_cost_nano_usd=None), SMALL]),
    ],
)
def test_what_has_no_price_is_left_out(row):
    assert [] == list(cases_of([row], CHEAPEST))


def test_a_model_that_was_no_candidate_could_not_have_been_asked():
    fixed = rule_of(StrategyChoice("fixed", {"model": "acme/gone"}))

    assert [] == list(cases_of([LOGGED], fixed))
