"""From a first prompt to an experiment's result, as a newcomer would go."""

import asyncio
from uuid import UUID

import aiohttp
import orjson
import pytest

from services.experiments.domain.assignment import assign
from tests.e2e.asking import asked_twice, results_of
from tests.e2e.books import closed_books
from tests.e2e.fault_run import books_of
from tests.e2e.figures import CAUGHT_UP_S, metrics_caught_up


async def test_an_answer_says_who_gave_it_and_what_it_cost(stack, since):
    reply = await stack.post(
        "/complete", {"prompt": "What is the capital of France?", "auto_route": True}
    )

    answer = reply.json
    (entry,) = (await closed_books(stack, since)).bill
    assert (200, "The capital of France is Paris.", "hybrid", "priced", False) == (
        reply.status,
        answer["response"],
        answer["strategy_used"],
        answer["pricing"],
        answer["cache_hit"],
    )
    assert entry["cost_nano_usd"] / 10**9 == answer["cost"]
    assert (entry["input_tokens"], entry["output_tokens"]) == (
        answer["tokens_in"],
        answer["tokens_out"],
    )
    assert answer["model"] == f"sandbox/{entry['model']}"
    assert answer["routing_metadata"]["candidates"]
    assert reply.headers["x-request-id"] == answer["request_id"]


async def test_a_repeated_question_is_answered_from_the_cache_and_costs_nothing(stack, since):
    _, first, second = await asked_twice(stack, f"A question only {since} asks")

    books = await closed_books(stack, since)
    bills = [books_of(books, UUID(answer["request_id"])).bill for answer in (first, second)]
    assert (first["response"], first["cost"]) == (second["response"], second["original_cost"])
    assert 0 == second["cost"]
    assert [1, 0] == [len(bill) for bill in bills]
    assert [] == books.problems()


async def test_what_was_spent_shows_in_the_metrics_and_on_the_live_socket(stack, since):
    before = (await metrics_caught_up(stack))["total_decisions"]
    async with stack.session.ws_connect(
        f"{stack.base_url}/metrics/live?interval=1", headers=stack.headers
    ) as socket:
        at_once = orjson.loads((await socket.receive(timeout=10)).data)
        for number in range(5):
            await stack.post("/complete", {"prompt": f"{since} {number}", "auto_route": True})
        async with asyncio.timeout(CAUGHT_UP_S):
            live = at_once
            while live["total_decisions"] < before + 5:
                live = orjson.loads((await socket.receive()).data)
        await socket.send_str("this is no JSON")
        await socket.send_str('{"action": "ping"}')
        pong = await socket.receive(timeout=10)

    found = await metrics_caught_up(stack)
    assert aiohttp.WSMsgType.TEXT == pong.type
    assert found["total_decisions"] == live["total_decisions"] == before + 5
    assert found["provider_usage"]["sandbox"]["count"] >= 5
    assert found["strategy_performance"]["hybrid"]["count"] >= 5
    assert found["cost_savings"]["baseline_cost"] >= found["cost_savings"]["intelligent_cost"] > 0


async def test_equal_figures_are_equal_bytes(stack, since):
    await stack.post("/complete", {"prompt": f"quiet {since}"})
    await closed_books(stack, since)
    async with asyncio.timeout(CAUGHT_UP_S):
        previous, found = None, (await stack.get("/routing/metrics")).body
        while previous != found:
            previous, found = found, (await stack.get("/routing/metrics")).body

    assert previous == found


async def test_an_experiment_counts_what_each_arm_was_asked(stack, since):
    created = await stack.post(
        "/experiments",
        {
            "name": f"cheap or good {since}",
            "control_strategy": "best",
            "test_strategy": "cheapest",
            "sample_size": 40,
        },
    )
    experiment = created.json["id"]
    users = [f"user{n}" for n in range(12)]
    arms = []
    for user in users:
        body = {"prompt": f"{since} {user}", "experiment_id": experiment, "user_id": user}
        answer = (await stack.post("/complete", body)).json
        while answer["experiment_assignment"] is None:  # it was slow, so the answer went without
            assert answer["routing_metadata"]["note"]
            answer = (await stack.post("/complete", body)).json
        arms.append(answer["experiment_assignment"])
    results = await results_of(stack, since, experiment)

    assert (200, "running") == (created.status, created.json["status"])
    assert [assign(experiment, user, ("control", "test")) for user in users] == arms
    assert (arms.count("control"), arms.count("test")) == (
        results["control_count"],
        results["test_count"],
    )
    assert results["control_avg_cost"] > results["test_avg_cost"] > 0
    assert [] == (await closed_books(stack, since)).problems()


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (
            {"prompt": "x", "experiment_id": 1},
            400,
            "user_id required when experiment_id is specified",
        ),
        (
            {"prompt": "x", "experiment_id": 999_999, "user_id": "u"},
            404,
            "Experiment not found",
        ),
    ],
)
async def test_an_experiment_that_cannot_be_is_refused(stack, body, status, detail):
    reply = await stack.post("/complete", body)

    assert (status, detail) == (reply.status, reply.json["detail"])


async def test_feedback_is_recorded_once_per_request(stack, since):
    answer = (await stack.post("/complete", {"prompt": f"rate me {since}"})).json
    await closed_books(stack, since)  # what still waits in a journal cannot be rated yet
    body = {"request_id": answer["request_id"], "quality_score": 5, "is_correct": True}
    first, second = [await stack.post("/production/feedback", body) for _ in range(2)]
    unknown = await stack.post("/production/feedback", {**body, "request_id": str(since)})

    assert (200, "recorded", 200, 404) == (
        first.status,
        first.json["status"],
        second.status,
        unknown.status,
    )
    assert first.json["feedback_id"] != second.json["feedback_id"]
