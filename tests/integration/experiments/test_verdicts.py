"""When an experiment is over by itself, what it says then, and that this never changes."""

import asyncio
import random

import grpc
import pytest
from optimizer.experiments.v1 import experiments_pb2 as pb
from prometheus_client import REGISTRY

from common.errors import Unavailable
from services.experiments.store import users
from tests.followed_ledger import closed, corrected, killed, rated
from tests.integration.experiments.scene import (
    analyze,
    answered,
    create,
    first_users,
    get,
    report,
    rows,
    users_of,
)

COMPLETED = pb.Experiment.STATUS_COMPLETED
RUNNING = pb.Experiment.STATUS_RUNNING


def noisy(users_, mean, *, seed=7, **changes):
    """One request of each user, at about *mean*."""
    draw = random.Random(seed)
    return [answered(user, cost=round(mean * draw.uniform(0.8, 1.2)), **changes) for user in users_]


async def test_the_cheaper_arm_wins_and_the_experiment_ends_by_itself(experiments, ledger):
    async with experiments() as it:
        await create(it, sample_size=1_000)
        ledger.add(*noisy(first_users("control", 100), 200_000))
        ledger.add(*noisy(first_users("test", 100), 100_000))
        told = await analyze(it)
        found = await get(it)
        asked = pb.AssignRequest(experiment_id=1, user_id=first_users("control", 1)[0])
        served = await it.stub.Assign(asked)

    assert ("test", True) == (told.winner, told.p_value < 0.05)
    assert (COMPLETED, "test", "boundary") == (
        found.status,
        found.verdict.winner,
        found.verdict.rule,
    )
    assert "test is cheaper: -" in found.verdict.reason
    assert "quality unmeasured" in found.verdict.reason
    assert ["running", "completed"] == [one.status for one in found.history]
    assert "experiments" == found.history[1].by
    assert ("test", False) == (served.arm.name, served.recorded)  # whoever asks gets the winner
    assert not served.stopped


async def test_a_frozen_verdict_never_changes(experiments, ledger):
    control, test = first_users("control", 100), first_users("test", 100)

    async with experiments() as it:
        await create(it, sample_size=1_000)
        first = noisy(control, 200_000)
        ledger.add(*first, *noisy(test, 100_000))
        before = await analyze(it)
        frozen = (await get(it)).verdict
        ledger.add(*(answered(user, cost=9_000_000) for user in test))
        ledger.add(corrected(first[0].request_id, 10_000_000), rated(first[0].request_id, 1))
        after = await analyze(it)
        kept = (await get(it)).verdict

    assert frozen == kept
    assert (before.p_value, before.winner) == (after.p_value, after.winner)
    assert before.arms[1] == after.arms[1]  # late rows are kept, and left out
    assert 1.0 == after.arms[0].avg_quality  # of what counts, feedback may come late


async def test_without_auto_complete_it_goes_on_and_keeps_what_it_found(experiments, ledger):
    options = pb.Options(auto_complete=False)

    async with experiments() as it:
        await create(it, sample_size=400, options=options)
        ledger.add(*noisy(first_users("control", 100), 200_000))
        ledger.add(*noisy(first_users("test", 100), 100_000))
        early = await analyze(it)
        more = first_users("control", 400)[100:], first_users("test", 400)[100:]
        ledger.add(*noisy(more[0], 100_000), *noisy(more[1], 200_000))
        late = await analyze(it)
        ended = await it.stub.Complete(
            pb.CompleteRequest(id=1, by="ann", reason="enough"), timeout=10
        )

    assert ("test", RUNNING) == (early.winner, early.experiment.status)
    assert "test" == late.winner  # found while the boundary was unspent
    assert late.p_value <= early.p_value
    assert ("test", "stopped") == (ended.experiment.verdict.winner, ended.experiment.verdict.rule)
    assert ("ann", True) == (
        ended.experiment.history[-1].by,
        ended.experiment.history[-1].reason.startswith("enough. test is cheaper"),
    )


async def test_no_verdict_is_frozen_without_the_rows_that_cannot_be_read(experiments, ledger):
    asked = pb.CompleteRequest(id=1, by="ann", reason="enough")

    async with experiments(catch_up_s=1) as it:
        await create(it)
        ledger.silent = True
        ledger.add(*(answered(user) for user in first_users("control", 3)))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await it.stub.Complete(asked, timeout=10)
        early = await get(it)
        ledger.silent = False
        await analyze(it)
        await it.stub.Complete(asked, timeout=10)
        told = await analyze(it)

    assert grpc.StatusCode.UNAVAILABLE == refused.value.code()
    assert "cannot be read" in refused.value.details()
    assert (RUNNING, COMPLETED) == (early.status, told.experiment.status)
    assert 3 == told.arms[0].count


async def test_an_arm_that_is_rated_worse_is_stopped_and_wins_nothing(experiments, ledger):
    async with experiments() as it:
        await create(it, sample_size=1_000)
        good = noisy(first_users("control", 150), 200_000)
        bad = noisy(first_users("test", 150), 150_000)
        ledger.add(*good, *(rated(row.request_id, 4 + n % 2) for n, row in enumerate(good)))
        ledger.add(*bad, *(rated(row.request_id, 3 + n % 2) for n, row in enumerate(bad)))
        told = await analyze(it)
        found = await get(it)
        served = await it.stub.Assign(
            pb.AssignRequest(experiment_id=1, user_id=first_users("test", 1)[0])
        )

    assert "" == told.winner
    assert ("guardrail", COMPLETED) == (found.verdict.rule, found.status)
    assert "test is rated worse than control" in found.verdict.reason
    assert "breached" == report(told)["guardrails"]["test"]["quality"]["status"]
    assert ["running", "arm_stopped", "completed"] == [one.status for one in found.history]
    assert "control" == served.arm.name


@pytest.mark.parametrize(("theirs", "winner"), [(5, "test"), (3, "")])
async def test_stars_that_are_all_alike_stop_nothing_but_a_worse_arm(
    experiments, ledger, theirs, winner
):
    async with experiments() as it:
        await create(it, sample_size=200)
        for arm, mean, stars in (("control", 200_000, 5), ("test", 100_000, theirs)):
            batch = noisy(first_users(arm, 60), mean)
            ledger.add(*batch, *(rated(row.request_id, stars) for row in batch))
        told = await analyze(it)

    assert winner == told.winner
    assert COMPLETED == told.experiment.status


async def test_an_arm_that_did_harm_stays_stopped_whatever_becomes_of_the_others(
    experiments, ledger
):
    arms = [pb.Arm(name=name, strategy=name) for name in ("best", "cheapest", "complexity")]
    names = ("control", "bad", "good")
    for arm, name in zip(arms, names, strict=True):
        arm.name = name

    async with experiments() as it:
        await create(it, sample_size=100_000, arms=arms)
        for name in names:
            batch = noisy(first_users(name, 150, arms=names), 100_000, arms=names)
            for row in batch[::2] if name == "bad" else ():
                row.outcome = "failed"
            ledger.add(*batch)
        await analyze(it)
        more = first_users("control", 700, arms=names)[150:]
        ledger.add(*noisy(more, 100_000, arms=names))
        told = report(await analyze(it))
        served = await it.stub.Assign(
            pb.AssignRequest(experiment_id=1, user_id=first_users("bad", 1, arms=names)[0])
        )
        compared = {
            (await it.stub.Assign(pb.AssignRequest(experiment_id=1, user_id=user))).other.name
            for user in first_users("control", 9, arms=names)
        }

    assert {"good"} == compared  # no answer is paid for that nobody is to get
    assert told["srm"]["alarm"]
    assert told["comparisons"]["bad"]["stopped"]
    assert ("control", False, True) == (served.arm.name, served.recorded, served.stopped)


async def test_what_is_slow_is_counted_the_same_however_results_arrive(
    experiments, ledger, database
):
    draw = random.Random(5)
    batch = [
        answered(user, cost=draw.randrange(1000), latency_ms=draw.expovariate(0.01))
        for user in first_users("control", 150) + first_users("test", 150)
    ]
    draw.shuffle(batch)

    async with experiments() as it:
        await create(it, sample_size=10_000)
        for start in range(0, 300, 25):
            ledger.add(*batch[start : start + 25])
            await analyze(it)
        counted = await rows(
            database,
            "SELECT arm, sum(slow)::bigint FROM experiments.users GROUP BY arm ORDER BY arm",
        )
        limit = await rows(database, "SELECT looks -> 'slow_over_us' FROM experiments.looks")
        expected = await rows(
            database,
            "SELECT arm, count(*) FILTER (WHERE round(latency_ms * 1000)"
            " > $1 * CASE arm WHEN 'test' THEN 1.1 ELSE 1.0 END)"
            " FROM experiments.experiment_results GROUP BY arm ORDER BY arm",
            float(limit[0][0]),
        )

    assert expected == counted


async def test_the_sums_are_those_of_the_users_and_these_those_of_the_results(
    experiments, ledger, database
):
    draw = random.Random(11)
    population = first_users("control", 30) + first_users("test", 30)

    async with experiments() as it:
        await create(it, sample_size=100_000)
        for _ in range(5):
            batch = [
                answered(
                    draw.choice(population),
                    cost=draw.choice([None, draw.randrange(10**6)]),
                    latency_ms=draw.uniform(1, 1e4),
                    outcome=draw.choice(["ok", "ok", "failed", "cancelled"]),
                    words=draw.choice([None, draw.randrange(500)]),
                    fallbacks=draw.randrange(3),
                )
                for _ in range(100)
            ]
            ledger.add(*batch)
            ledger.add(*(corrected(row.request_id, draw.randrange(-50, 50)) for row in batch[::3]))
            ledger.add(*(rated(row.request_id, draw.randrange(1, 6)) for row in batch[::2]))
            ledger.add(*(rated(row.request_id, 2, revision=2) for row in batch[::5]))
            told = await analyze(it)
        kept = await rows(
            database,
            "SELECT arm, user_id, results, priced, cost_nano_usd, good, failures, rated, quality,"
            " measured, prompt_words, latency_us, fallbacks FROM experiments.users ORDER BY 1, 2",
        )
        counted = await rows(
            database,
            "SELECT arm, user_id, count(*), count(cost_nano_usd),"
            " coalesce(sum(cost_nano_usd), 0)::bigint,"
            " count(cost_nano_usd) FILTER (WHERE success AND coalesce(quality_score, 5) > 2),"
            " count(*) FILTER (WHERE NOT success), count(quality_score),"
            " coalesce(sum(quality_score), 0)::bigint,"
            " count(prompt_words) FILTER (WHERE cost_nano_usd IS NOT NULL),"
            " coalesce(sum(prompt_words) FILTER (WHERE cost_nano_usd IS NOT NULL), 0)::bigint,"
            " sum(round(latency_ms * 1000))::bigint, sum(fallbacks)"
            " FROM experiments.experiment_results GROUP BY 1, 2 ORDER BY 1, 2",
        )
        async with it.service.pool.acquire() as conn:
            anew = await users.summed(conn, 1)

    assert counted == kept
    for name, totals in anew.items():
        arm = told.arms[("control", "test").index(name)]
        assert (totals.sum("results"), totals.users()) == (arm.count, arm.users)
        assert totals.sum("quality") / totals.sum("rated") == pytest.approx(arm.avg_quality)


async def test_recorders_at_once_and_two_replicas_reach_one_verdict(experiments, ledger, database):
    async with experiments() as one, experiments() as two:
        await create(one, sample_size=1_000)

        async def record(users_, mean):
            for user in users_:
                ledger.add(*noisy([user], mean, seed=user))
                await asyncio.sleep(0)
                await asyncio.gather(analyze(one), analyze(two))

        control, test = first_users("control", 60), first_users("test", 60)
        await asyncio.gather(
            *(record(control[n::5], 200_000) for n in range(5)),
            *(record(test[n::5], 100_000) for n in range(5)),
        )
        verdicts = [(await get(it)).verdict for it in (one, two)]
        ends = await rows(
            database, "SELECT count(*) FROM experiments.transitions WHERE status = 'completed'"
        )

    assert "test" == verdicts[0].winner
    assert verdicts[0] == verdicts[1]
    assert [(1,)] == ends


async def test_a_kill_in_the_middle_changes_no_figure(experiments, ledger, database):
    users_ = first_users("control", 200) + first_users("test", 200)
    draw = random.Random(2)
    batch = [answered(user, cost=1000 + draw.randrange(900), words=5) for user in users_ * 4]
    await_everything = "SELECT totals, looks #- '{arms}' #- '{srm}' FROM experiments.looks"

    async with experiments() as it:
        await create(it, sample_size=100_000)
    ledger.add(*batch, *(corrected(row.request_id, 3) for row in batch[::2]))
    for pause_s in (0.01, 0.03, 0.05, 0.02, 0.04):
        service = await experiments.build()
        async with killed(service):
            await asyncio.sleep(pause_s)
    async with experiments() as it:
        told = await analyze(it)
        kept = await rows(database, await_everything)
        async with it.service.pool.acquire() as conn:
            await conn.execute("UPDATE experiments.looks SET totals = NULL")  # summed up anew
        ledger.add(closed())
        again = await analyze(it)

    assert 1600 == sum(arm.count for arm in told.arms)
    assert told.arms == again.arms
    assert kept


async def test_a_batch_that_is_applied_again_is_counted_once(experiments, ledger, monkeypatch):
    names = ("optimizer_experiment_results_total", "optimizer_experiments_completed_total")

    def counted():
        labels = ({}, {"rule": "boundary"})
        return [REGISTRY.get_sample_value(*one) or 0 for one in zip(names, labels, strict=True)]

    async with experiments() as it:
        follower, tries = it.service.follower, []
        apply = follower._apply

        async def fails_once(conn, rows):
            await apply(conn, rows)
            tries.append(len(rows))
            if len(tries) == 1:
                raise Unavailable("the connection is lost before the commit")

        monkeypatch.setattr(follower, "_apply", fails_once)
        await create(it, sample_size=1_000)
        before = counted()
        ledger.rows = [  # at once
            *noisy(first_users("control", 100), 200_000),
            *noisy(first_users("test", 100), 100_000),
        ]
        await analyze(it)
        after = counted()

    assert [200, 200] == tries
    assert [200, 1] == [now - was for now, was in zip(after, before, strict=True)]


async def test_three_arms_are_compared_with_the_control(experiments, ledger):
    arms = [
        pb.Arm(name="control", strategy="best"),
        pb.Arm(name="small", strategy="cheapest"),
        pb.Arm(name="middle", strategy="complexity"),
    ]
    names = ("control", "small", "middle")

    async with experiments() as it:
        await create(it, sample_size=1_000, arms=arms)
        for name, mean in zip(names, (300_000, 100_000, 299_000), strict=True):
            ledger.add(*noisy(first_users(name, 80, arms=names), mean, arms=names))
        told = await analyze(it)

    assert "small" == told.winner
    compared = report(told)["comparisons"]
    assert compared["small"]["p_value"] < 0.05 < compared["middle"]["p_value"]
    last = {point["arm"]: point["p_value"] for point in report(told)["series"]}
    assert {name: compared[name]["p_value"] for name in last} == last
    assert 3 == len(told.arms)


async def test_results_over_time_are_ready_for_a_chart(experiments, ledger):
    async with experiments() as it:
        await create(it, sample_size=10_000)
        control, test = users_of("control"), users_of("test")
        for _ in range(4):
            pair = [next(control) for _ in range(50)], [next(test) for _ in range(50)]
            ledger.add(*noisy(pair[0], 100_000), *noisy(pair[1], 100_000, seed=8))
            told = await analyze(it)
        series = report(told)["series"]

    assert [100, 200, 300, 400] == [point["results"] for point in series]
    assert all(point["low"] < point["lift"] < point["high"] for point in series)
    widths = [point["high"] - point["low"] for point in series]
    assert sorted(widths, reverse=True) == widths
