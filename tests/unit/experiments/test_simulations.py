"""The bench of the statistics looks as the product does; a few experiments keep the promises."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from scripts.experiments import figures, looking, report, running, traffic
from services.experiments.domain import srm
from services.experiments.domain.experiment import Arm, Plan
from services.experiments.domain.looks import Looks, look
from services.experiments.domain.options import Margins
from services.experiments.domain.totals import NOTHING, ArmTotals, UserTotals
from services.experiments.domain.verdict import ended_by, findings, winner_of

ARMS = (Arm("control", "complexity"), Arm("test", "hybrid"))
MARGINS = Margins()


def a_stream(kind=traffic.STAGGERED, size=300, *, seed=1, **truth):
    return traffic.stream(kind, size, np.random.default_rng(seed), **truth)


def looked(stream):
    """Yield what the product finds after each request: its looks, and the totals of the arms."""
    plan = Plan("cheaper?", None, ARMS, len(stream.user))
    totals = {arm.name: ArmTotals() for arm in ARMS}
    users, looks = {}, Looks()
    for index, user in enumerate(stream.user.tolist()):
        before = users.get(user, NOTHING)
        users[user] = before + UserTotals(
            results=1,
            priced=1,
            measured=1,
            cost_nano_usd=int(stream.cost[index]),
            good=int(stream.good[index]),
            prompt_words=int(stream.words[index]),
            failures=int(stream.failed[index]),
            slow=int(stream.slow[index]),
            rated=int(stream.rated[index]),
            quality=int(stream.stars[index]),
        )
        totals["test" if stream.test[index] else "control"].replace(before, users[user])
        looks = look(plan, totals, looks)
        yield plan, looks, totals


@pytest.mark.parametrize("kind", traffic.KINDS, ids=lambda kind: kind.name)
def test_every_look_of_the_bench_is_the_products(kind):
    stream = a_stream(kind, lift=-0.3)
    smallest = np.array([looks.arms["test"].p for _, looks, _ in looked(stream)], dtype=float)

    _, ours = looking.compare_costs(stream, running.costs(stream))

    assert np.isnan(smallest[: ours.since]).all()
    np.testing.assert_allclose(
        np.minimum.accumulate(looking.any_time(ours)), smallest[ours.since :], rtol=1e-9
    )


@pytest.mark.parametrize("lift", [-0.7, 0.0, 1.5])
def test_the_bench_stops_where_the_product_does(lift):
    stream = a_stream(lift=lift)
    winners = {None: 0, "test": -1, "control": 1}
    expected = next(
        (winners[winner_of(plan, looks, totals)], looks.results)
        for plan, looks, totals in looked(stream)
        if ended_by(plan, looks, totals) in {"boundary", "sample_size"}
    )

    assert expected == looking.run(traffic.STAGGERED, stream, lift).ours


@pytest.mark.parametrize("quality", [0.0, -0.4])
def test_the_bench_breaks_a_guardrail_where_the_product_does(quality):
    stream = a_stream(quality=quality, size=400)
    expected = next(
        (
            looks.results
            for plan, looks, _ in looked(stream)
            if findings(plan, looks).breached["test"]
        ),
        None,
    )

    assert expected == looking.guardrails(stream, MARGINS)


def test_what_fails_often_breaks_a_guardrail_too():
    stream = a_stream(size=400)
    failing = replace(stream, failed=np.where(stream.test, 1.0, stream.failed))

    assert looking.guardrails(failing, MARGINS) is not None


def test_the_bench_sees_a_lost_share_of_users_where_the_product_does():
    test = (np.random.default_rng(3).random(3000) < 0.8 / 1.8).astype(int)
    expected = next(
        users
        for users in range(1, 3001)
        if srm.p_value([users - test[:users].sum(), test[:users].sum()], [0.5, 0.5]) < srm.ALPHA
    )

    assert expected == looking.mismatched_at(test)


@pytest.mark.parametrize("kind", traffic.KINDS, ids=lambda kind: kind.name)
def test_traffic_is_what_the_planner_is_told_it_is(kind):
    stream = a_stream(kind, 60_000)
    m, d = np.bincount(stream.user, stream.cost), np.bincount(stream.user, stream.good)
    rest = m - m.sum() / d.sum() * d

    assert traffic.truth(kind)[0] == pytest.approx(m.sum() / d.sum(), rel=0.06)
    assert traffic.planned(kind).variation == pytest.approx(rest.std() / m.mean(), rel=0.12)
    assert stream.stars.sum() / stream.rated.sum() == pytest.approx(4.18, abs=0.03)


def runs(size, many, *, lift=0.0):
    dice = np.random.default_rng(7)
    kind = traffic.STAGGERED
    return [
        looking.run(kind, traffic.stream(kind, size, dice, lift=lift), lift) for _ in range(many)
    ]


def test_equal_arms_seldom_have_a_winner_however_often_one_looks():
    found = runs(1000, 120)

    assert sum(run.ours.direction != 0 for run in found) <= 13  # 5 % and three deviations
    assert sum(run.naive != 0 for run in found) >= 40  # what looking costs otherwise
    assert sum(run.covered for run in found) >= 107


def test_a_planned_experiment_finds_what_it_was_planned_for():
    size = traffic.sample_size(traffic.STAGGERED, 0.3)
    found = runs(size, 60, lift=-0.3)

    assert sum(run.ours.direction == -1 for run in found) >= 48
    assert not any(run.ours.direction == 1 for run in found)


def test_the_page_has_a_place_for_every_table():
    page = (Path(__file__).parents[3] / "docs/explanation/statistics.md").read_text("utf-8")
    tables = dict.fromkeys(report.TABLES, "| measured |")

    once = report.filled(page, tables)

    assert len(tables) == once.count("| measured |")
    assert once == report.filled(once, tables)


def test_a_table_without_a_place_is_refused():
    with pytest.raises(ValueError, match="markers"):
        report.filled("", {"lost": "| measured |"})


def test_a_share_is_told_with_wilsons_interval():
    expected = stats.binomtest(10, 200).proportion_ci(method="wilson")

    assert (expected.low, expected.high) == pytest.approx(figures.Share(10, 200).bounds, rel=1e-6)
    assert "5.0% [2.7, 9.0]" == str(figures.Share(10, 200))
