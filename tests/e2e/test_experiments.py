"""An experiment from its plan to its winner's promotion, through the whole stack."""

import asyncio
from itertools import count

from services.experiments.domain.assignment import assign
from tests.e2e.asking import results_of
from tests.e2e.books import closed_books
from tests.e2e.stack import until

AT_ONCE = 8
SAMPLE = 400


def experiment(since, **changes):
    return {
        "name": f"is the cheapest good enough? {since}",
        "control_strategy": "best",
        "test_strategy": "cheapest",
        "sample_size": SAMPLE,
        **changes,
    }


async def ask(stack, since, user, tag, **headers):
    """Ask as an application does that knows nothing of experiments."""
    return await stack.chat(
        f"{since} What is the {'very ' * (len(user) % 3)}capital of {user}?",
        user=user,
        max_tokens=20,
        headers_={"x-optimizer-tag": tag, **headers},
    )


async def test_users_join_by_themselves_and_the_winner_becomes_the_default(stack, since):
    tag = f"t{since}"
    plan = await stack.post("/experiments/plan", {"minimum_detectable_effect": 0.5})
    made = await stack.post("/experiments", experiment(since, enroll=True, scope={"tag": tag}))
    id_ = made.json["id"]
    await until_joined(stack, since, tag)

    await asyncio.gather(*(keep_asking(stack, since, tag, id_, n) for n in range(AT_ONCE)))
    results = await results_of(stack, since, id_)
    found = (await stack.get(f"/experiments/{id_}")).json
    promoted = await stack.post(f"/experiments/{id_}/promote", {"reason": "it is cheaper"})
    during = await strategy_of(stack, since, tag, expected="cheapest")
    await stack.post(f"/promotions/{promoted.json['id']}/revert", {})
    after = await strategy_of(stack, since, tag, expected="hybrid")

    assert (200, 200) == (plan.status, made.status)
    assert 0 < made.json["minimum_detectable_effect"] < 1
    assert ("completed", "test", "boundary") == (
        found["status"],
        found["verdict"]["winner"],
        found["verdict"]["rule"],
    )
    assert found["verdict"]["reason"].startswith("test is cheaper: -")
    assert results["is_significant"]
    assert results["winner"] == "test"
    assert results["control_avg_cost"] > results["test_avg_cost"] > 0
    cost = results["comparisons"]["test"]["metrics"]["cost_per_request"]
    assert cost["raw"]["lift"] < 0
    assert results["series"]
    assert (200, "cheapest") == (promoted.status, promoted.json["strategy"])
    assert ("cheapest", "hybrid") == (during, after)
    assert [] == (await closed_books(stack, since)).problems()


async def test_a_kill_of_the_experiments_service_changes_no_figure(stack, since):
    plan = experiment(since, sample_size=10_000, auto_complete=False)  # thirty users may do
    made = await stack.post("/experiments", plan)
    id_ = made.json["id"]
    users = [f"user{n}" for n in range(30)]

    async def complete(user):
        body = {"prompt": f"{since} {user}", "experiment_id": id_, "user_id": user}
        return (await stack.post("/complete", body)).json["experiment_assignment"]

    served = [await complete(user) for user in users[:10]]
    await stack.kill("experiments")
    served += [await complete(user) for user in users[10:20]]
    await stack.ready("experiments")
    served += [await complete(user) for user in users[20:]]
    results = await results_of(stack, since, id_)

    assert served.count("control") == results["control_count"]
    assert served.count("test") == results["test_count"]
    assert set(served[:10] + served[20:]) >= {"control", "test"}


async def test_results_from_elsewhere_come_to_a_verdict(stack, since):
    made = await stack.post("/experiments", experiment(since, sample_size=100))
    id_ = made.json["id"]
    names = (f"user{n}" for n in count())
    users = {"control": [], "test": []}
    while min(map(len, users.values())) < 50:
        user = next(names)
        users[assign(id_, user, ("control", "test"))].append(user)
    rows = [
        {
            "request_id": f"{since}-{user}",
            "user_id": user,
            "provider": "elsewhere",
            "model": "elsewhere/any",
            "cost": cost,
            "latency_ms": 1,
        }
        for arm, cost in (("control", 0.0002), ("test", 0.0001))
        for user in users[arm][:50]
    ]

    wrong = await stack.post(f"/experiments/{id_}/results", [*rows, {**rows[0], "cost": -1}])
    first = await stack.post(f"/experiments/{id_}/results", rows)
    again = await stack.post(f"/experiments/{id_}/results", rows)
    results = await results_of(stack, since, id_)

    assert (422, "results[100].cost" in wrong.json["detail"]) == (wrong.status, True)
    assert {"imported": 100, "already_there": 0} == first.json
    assert {"imported": 0, "already_there": 100} == again.json
    assert ("test", True, 50) == (
        results["winner"],
        results["p_value"] < 0.05,
        results["control_count"],
    )


async def until_joined(stack, since, tag):
    async def joined():
        answer = await ask(stack, since, "first", tag)
        return answer.headers["x-optimizer-experiment-arm"] != "none"

    await until(joined, within_s=20)


async def keep_asking(stack, since, tag, id_, n):
    for user in range(n, SAMPLE, AT_ONCE):
        answer = await ask(stack, since, f"land{user}", tag)
        assert 200 == answer.status, answer
        if user % 5 == 0:
            found = (await stack.get(f"/experiments/{id_}/results")).json
            if found.get("status") == "completed":  # or it says that it is slow
                return


async def strategy_of(stack, since, tag, *, expected):
    """Ask until the gateway has heard of a change: it is told, within a moment."""
    found = ""

    async def heard():
        nonlocal found
        found = (await ask(stack, since, "last", tag)).headers["x-optimizer-strategy"]
        return found == expected

    await until(heard, within_s=20)
    return found
