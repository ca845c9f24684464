"""Verdicts: who has won, who was stopped, and what is said of it."""

import random
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from services.experiments.domain.analysis import Ratio, lift
from services.experiments.domain.experiment import Experiment, Verdict
from services.experiments.domain.looks import Looks, Seen
from services.experiments.domain.options import Margins
from services.experiments.domain.report import p_value_fixed, report, told
from services.experiments.domain.verdict import (
    ended_by,
    findings,
    holm,
    reason_of,
    stopped_arms,
    unproven,
    winner_of,
)
from tests.unit.experiments.arms import PLAN, looked, noisy, plan, user

NOW = datetime.now(UTC)


def judged(plan_, **users):
    """Return the winner, why it ended, and what is said."""
    looks, totals = looked(plan_, **users)
    rule = ended_by(plan_, looks, totals)
    return (
        winner_of(plan_, looks, totals),
        rule,
        reason_of(plan_, looks, totals, rule or "stopped"),
    )


def test_a_cheaper_arm_wins_before_the_sample_is_full():
    winner, rule, reason = judged(PLAN, control=noisy(100, 200), test=noisy(100, 100, seed=2))

    assert ("test", "boundary") == (winner, rule)
    assert reason.startswith("test is cheaper: -49.2% a successful request (between -5")
    assert reason.endswith("quality unmeasured, because too few answers were rated.")


def test_a_dearer_arm_loses_to_the_control():
    winner, rule, reason = judged(PLAN, control=noisy(100, 100), test=noisy(100, 200, seed=2))

    assert ("control", "boundary") == (winner, rule)
    assert reason.startswith("control stays: nothing else is cheaper (test: +")


def test_what_hardly_ever_succeeds_has_no_cost_to_compare():
    failed = noisy(20, 100, good=0, failures=1)
    winner, rule, reason = judged(
        plan(sample_size=40), control=failed, test=noisy(20, 1000, good=0, failures=1)
    )

    assert (None, "sample_size") == (winner, rule)
    assert reason == (
        "No winner: all planned results are in, and costs cannot be compared"
        " (test: too few successful answers)."
    )


def test_no_lift_falls_below_everything():
    control = Ratio(value=1.0, variance=0.04, users=20)
    test = Ratio(value=0.5, variance=1.0, users=20)

    assert -1 == lift(control, test, 2).low < 0 < lift(control, test, 2).high


def test_swapped_arms_mirror_each_other():
    one, other = noisy(60, 110), noisy(60, 100, seed=2)
    there, _ = looked(PLAN, control=one, test=other)
    back, _ = looked(PLAN, control=other, test=one)

    # The scale of what is looked for is the control's, so the early boundary differs a little.
    assert there.arms["test"].cheaper
    assert not back.arms["test"].cheaper
    assert there.arms["test"].p == pytest.approx(back.arms["test"].p, rel=0.3)


@pytest.mark.parametrize("factor", [10, 1000, 10**7])
def test_a_price_in_another_unit_changes_no_p_value(factor):
    control, test = noisy(60, 110), noisy(60, 100, seed=2)
    plain, _ = looked(PLAN, control=control, test=test)
    scaled, _ = looked(
        PLAN,
        control=[replace(one, cost_nano_usd=one.cost_nano_usd * factor) for one in control],
        test=[replace(one, cost_nano_usd=one.cost_nano_usd * factor) for one in test],
    )

    assert plain.arms["test"].p == pytest.approx(scaled.arms["test"].p, rel=1e-9)


def test_the_order_of_users_changes_nothing():
    control, test = noisy(60, 110), noisy(60, 100, seed=2)
    shuffled = random.Random(4).sample(control, len(control))

    assert looked(PLAN, control=control, test=test) == looked(PLAN, control=shuffled, test=test)


def test_the_first_case_of_the_contract():
    hundred = replace(PLAN, sample_size=100)
    control, test = [user(200_000)] * 50, [user(100_000)] * 50
    looks, totals = looked(hundred, control=control, test=test)

    assert 0.0 == findings(hundred, looks).p_value
    assert "test" == winner_of(hundred, looks, totals)


def test_the_second_case_of_the_contract():
    hundred = replace(PLAN, sample_size=100)
    looks, totals = looked(hundred, control=[user(100_000)] * 20, test=[user(110_000)] * 20)

    assert findings(hundred, looks).p_value is None
    assert winner_of(hundred, looks, totals) is None
    assert p_value_fixed(hundred, looks, totals) is None


def test_two_equal_constants_are_no_different_once_all_results_are_in():
    hundred = replace(PLAN, sample_size=100)
    looks, totals = looked(hundred, control=[user(5)] * 50, test=[user(5)] * 50)

    assert 1.0 == findings(hundred, looks).p_value
    assert ("sample_size", None) == (
        ended_by(hundred, looks, totals),
        winner_of(hundred, looks, totals),
    )
    assert reason_of(hundred, looks, totals, "sample_size").startswith(
        "No winner: all planned results are in"
    )


@pytest.mark.parametrize(
    ("control", "test"),
    [
        (noisy(9, 200, requests=30), noisy(100, 100)),
        (noisy(100, 200), noisy(9, 100, requests=30)),
        ([], noisy(100, 100)),
        ([], []),
        ([user(5, priced=0, good=0, cost_nano_usd=0)] * 50, noisy(100, 100)),  # unpriced
        ([user(0)] * 20, [user(0)] * 20),
    ],
)
def test_too_little_says_nothing_and_is_never_nan(control, test):
    looks, totals = looked(PLAN, control=control, test=test)

    assert findings(PLAN, looks).p_value is None
    assert winner_of(PLAN, looks, totals) is None
    assert "nan" not in str(report(PLAN, looks, totals)).lower()


def test_what_is_told_is_plain_json_with_intervals_around_the_estimates():
    control = [replace(one, prompt_words=i % 9, measured=1) for i, one in enumerate(noisy(90, 99))]
    test = [replace(one, prompt_words=i % 7, measured=1) for i, one in enumerate(noisy(90, 90))]
    looks, totals = looked(PLAN, control=rated(control, [3, 4]), test=rated(test, [4, 5]))

    read = orjson.loads(orjson.dumps(report(PLAN, looks, totals)))

    cost = read["comparisons"]["test"]["metrics"]["cost_per_successful_request"]
    for found in (cost["raw"], cost["cuped"]):
        fixed, always = found["interval_fixed"], found["interval_always_valid"]
        assert always[0] < fixed[0] < found["lift"] < fixed[1] < always[1]


def test_a_decision_is_ready_when_an_experiment_would_end_and_not_when_it_has_a_p_value():
    early = looked(PLAN, control=noisy(20, 100), test=noisy(20, 100, seed=2))
    surely = looked(PLAN, control=noisy(90, 100), test=noisy(90, 50, seed=2))
    full = looked(PLAN, control=noisy(500, 100), test=noisy(500, 100, seed=2))

    ready = [report(PLAN, *found)["decision_ready"] for found in (early, surely, full)]

    assert findings(PLAN, early[0]).p_value is not None
    assert [False, True, True] == ready


def test_costs_that_the_length_of_prompts_explains_to_the_last_digit_name_no_winner_by_rounding():
    def measured(seed):
        draw = random.Random(seed)
        words = [draw.randrange(1, 400) for _ in range(60)]
        return [user(w * 1_237, prompt_words=w, measured=1) for w in words]

    full = replace(PLAN, sample_size=120)
    winners = []
    for seed in range(60):
        looks, totals = looked(full, control=measured(seed), test=measured(seed + 1_000))
        winners.append(winner_of(full, looks, totals))

    assert winners.count(None) >= 54


@pytest.mark.parametrize(("theirs", "broken"), [(5, []), (4, ["quality"]), (3, ["quality"])])
def test_ratings_without_any_variance_are_compared_all_the_same(theirs, broken):
    control = [replace(one, rated=1, quality=5) for one in noisy(150, 200)]
    test = [replace(one, rated=1, quality=theirs) for one in noisy(150, 100, seed=2)]
    looks, _ = looked(PLAN, control=control, test=test)

    assert broken == findings(PLAN, looks).breached["test"]


def test_who_got_other_users_than_planned_has_no_verdict():
    winner, rule, reason = judged(
        replace(PLAN, sample_size=700), control=noisy(500, 200), test=noisy(250, 100)
    )

    assert (None, "sample_size") == (winner, rule)
    assert reason.startswith("No verdict: the arms did not get")


def rated(users, stars):
    return [
        replace(one, rated=1, quality=stars[index % len(stars)]) for index, one in enumerate(users)
    ]


def test_a_cheaper_arm_that_is_rated_worse_is_stopped_and_wins_nothing():
    control = rated(noisy(150, 200), [4, 5])
    test = rated(noisy(150, 100, seed=2), [3, 4])
    looks, totals = looked(PLAN, control=control, test=test)

    assert ("test",) == stopped_arms(PLAN, looks)
    assert (None, "guardrail") == (winner_of(PLAN, looks, totals), ended_by(PLAN, looks, totals))
    assert "No winner: test is rated worse than control by more than its margin." == reason_of(
        PLAN, looks, totals, "guardrail"
    )


def test_a_dearer_arm_that_does_harm_leaves_the_control_as_winner():
    control = rated(noisy(150, 100), [4, 5])
    winner, _, reason = judged(PLAN, control=control, test=rated(noisy(150, 200), [2, 3]))

    assert "control" == winner
    assert reason.startswith("control stays")


def test_an_arm_that_fails_more_often_is_stopped():
    failing = [replace(one, failures=index % 4 == 0) for index, one in enumerate(noisy(300, 100))]
    looks, _ = looked(PLAN, control=noisy(300, 100), test=failing)

    assert ["failures"] == findings(PLAN, looks).breached["test"]


def test_a_cheaper_arm_waits_for_its_ratings_for_a_part_of_the_sample():
    big = replace(PLAN, sample_size=1_000)
    control, test = rated(noisy(40, 200), [3, 5]), rated(noisy(40, 100, seed=2), [5, 3])
    early, totals = looked(big, control=control, test=test)
    later, more = looked(big, control=control * 4, test=test * 4)

    assert "test" == winner_of(big, early, totals)
    assert ended_by(big, early, totals) is None
    assert "boundary" == ended_by(big, later, more)


def often_rated(users):
    return [replace(one, rated=10, quality=44 + n % 3) for n, one in enumerate(users)]


def some_slow(users, *, every):
    return [replace(one, slow=int(index % every == 0)) for index, one in enumerate(users)]


def test_an_arm_that_is_slow_more_often_is_stopped():
    usual, slow = some_slow(noisy(300, 100), every=20), some_slow(noisy(300, 100), every=4)
    looks, _ = looked(PLAN, control=usual, test=slow)

    assert ["latency"] == findings(PLAN, looks).breached["test"]


def test_what_is_no_worse_is_known_to_be_so_in_time():
    big = replace(PLAN, sample_size=20_000)
    looks, totals = looked(
        big,
        control=some_slow(often_rated(noisy(1_000, 200, requests=10)), every=2),
        test=some_slow(often_rated(noisy(1_000, 100, seed=2, requests=10)), every=3),
    )

    assert [] == unproven(looks, "test")
    assert "it is rated no worse" in reason_of(big, looks, totals, "boundary")
    assert {"passed"} == {
        rail["status"] for rail in report(big, looks, totals)["guardrails"]["test"].values()
    }


def test_wider_margins_forgive_more():
    forgiving = plan(margins=Margins(quality_ratio=0.3))
    control, test = rated(noisy(150, 200), [4, 5]), rated(noisy(150, 100, seed=2), [3, 4])
    looks, totals = looked(forgiving, control=control, test=test)

    assert () == stopped_arms(forgiving, looks)
    assert "test" == winner_of(forgiving, looks, totals)


def test_of_three_arms_the_cheapest_significant_one_wins():
    three = plan(arms=("control", "small", "tiny"))
    looks, totals = looked(
        three,
        control=noisy(80, 300),
        small=noisy(80, 100, seed=2),
        tiny=noisy(80, 90, seed=3),
    )

    assert "tiny" == winner_of(three, looks, totals)


def test_many_arms_need_more_proof_each():
    assert {"a": 0.03, "b": 0.06, "c": 0.06} == pytest.approx(
        holm({"a": 0.01, "b": 0.03, "c": 0.06})
    )


def test_the_smallest_p_value_of_all_looks_is_kept_with_its_direction():
    good, _ = looked(PLAN, control=noisy(100, 200), test=noisy(100, 100, seed=2))
    later, _ = looked(PLAN, good, control=noisy(300, 100), test=noisy(300, 150, seed=2))

    assert good.arms["test"].p < 0.05
    assert later.arms["test"].p == min(good.arms["test"].p, later.arms["test"].p)
    assert later.arms["test"].cheaper is (later.arms["test"].p == good.arms["test"].p)


def test_past_the_planned_size_nothing_is_decided_any_more():
    full, _ = looked(PLAN, control=noisy(500, 100), test=noisy(500, 100, seed=2))
    later, _ = looked(PLAN, full, control=noisy(900, 100), test=noisy(900, 50, seed=2))

    assert full.arms == later.arms


def test_a_verdict_is_told_though_the_looks_amount_to_another_or_none():
    looks, totals = looked(PLAN, control=noisy(100, 200), test=noisy(100, 100, seed=2))
    early, few = looked(PLAN, control=noisy(20, 100), test=noisy(20, 100, seed=2))
    running = Experiment(1, PLAN, "running", NOW, None)
    frozen = replace(running, status="completed", verdict=Verdict(None, "why", "stopped", NOW))

    found = [told(running, looks, totals), told(frozen, looks, totals), told(running, early, few)]

    assert ["test", None, None] == [one.winner for one in found]
    assert [True, True, False] == [one.more["decision_ready"] for one in found]
    assert told(frozen, early, few).more["decision_ready"]


def test_what_looks_found_survives_being_written_down():
    looks, _ = looked(PLAN, control=noisy(100, 200), test=noisy(100, 100, seed=2))

    assert looks == Looks.load(looks.dump())
    assert Looks() == Looks.load({})
    assert Seen() == Seen()
