"""What users say of answers changes who gives the next ones, and outlives whoever learned it."""

import asyncio
import re

import pytest

from tests.e2e.asking import answered, asked_twice
from tests.e2e.books import closed_books
from tests.e2e.stack import until

LEARNED_S = 30.0  # followers look every few seconds
# Nobody gets all of these right.
SUMS = [f"What is {401 + n} * {481 + 3 * n} + {111 + n}?" for n in range(40)]
STRONG = "sandbox/frontier"


async def evidence(stack, model):
    return evidence_in(await stack.get("/admin/learning/status"), model)


def evidence_in(status, model):
    return next(one["outcomes"] for one in status.json["models"] if one["model"] == model)


async def rated(stack, since, model, *, stars, count):
    """Ask *model* and rate its answers; return once that is learned."""
    before = await evidence(stack, model)
    prompts = [f"{since} {stars} {number}" for number in range(count)]
    replies = [await stack.chat(prompt, model=model) for prompt in prompts]
    await closed_books(stack, since)  # what still waits in a journal cannot be rated yet
    for reply in replies:
        rating = {
            "request_id": reply.headers["x-request-id"],
            "quality_score": stars,
            "is_correct": stars > 3,
        }
        assert 200 == (await stack.post("/production/feedback", rating)).status

    async def learned():
        return await evidence(stack, model) >= before + count  # others ask it too

    await until(learned, within_s=LEARNED_S)


async def test_what_was_learned_outlives_the_router(stack, since):
    await rated(stack, since, "sandbox/tiny", stars=1, count=12)
    known = await evidence(stack, "sandbox/tiny")

    await stack.kill("router")
    await stack.ready("router")

    async def remembered():
        reply = await stack.get("/admin/learning/status")
        return reply.status == 200 and evidence_in(reply, "sandbox/tiny") >= known

    await until(remembered, within_s=LEARNED_S)


async def test_a_cached_answer_that_readers_vote_down_is_not_given_again(stack, since):
    body, first, _ = await asked_twice(stack, f"A question that only {since} asks and votes on")
    vote = {"cache_key": first["cache_key"], "rating": -1}

    votes = [await answered(lambda: stack.post("/feedback", vote)) for _ in range(3)]
    again = (await stack.post("/complete", body)).json

    assert not again["cache_hit"]
    assert [False, False, True] == [one["invalidated"] for one in votes]
    assert -1.0 == votes[-1]["quality_score"]
    assert [] == (await closed_books(stack, since)).problems()


def is_right(sum_, answer):
    a, b, c = map(int, re.findall(r"\d+", sum_))
    return str(a * b + c) in answer["response"]


async def asked(stack, strategy, sums=SUMS, **headers):
    async def answer(one):
        body = {"prompt": one, "strategy": strategy, "max_tokens": 50}
        return (await stack.post("/complete", body, x_optimizer_cache="off", **headers)).json

    return await asyncio.gather(*map(answer, sums))


async def test_a_cascade_pays_for_every_call_whatever_was_learned(stack, since):
    answers = await asked(stack, "cascade", SUMS[:10])

    assert {"cascade"} == {one["strategy_used"] for one in answers}
    assert [] == (await closed_books(stack, since)).problems()


async def test_a_cascade_is_as_right_as_the_strong_model_for_less_than_half(fresh, since):
    economy = {"x_optimizer_strategy_parameters": '{"preset": "economy"}'}
    strong, cascaded = await asked(fresh, "best"), await asked(fresh, "cascade", **economy)

    rights = [
        sum(is_right(*one) for one in zip(SUMS, answers, strict=True))
        for answers in (strong, cascaded)
    ]
    costs = [sum(answer["cost"] for answer in answers) for answers in (strong, cascaded)]
    escalated = [one["routing_metadata"]["cascade"]["escalated"] for one in cascaded]
    assert {STRONG} == {answer["model"] for answer in strong}
    assert rights[1] >= 0.95 * rights[0]
    assert costs[1] < 0.5 * costs[0]
    assert 0 < sum(escalated) < len(SUMS)
    assert [] == (await closed_books(fresh, since)).problems()  # both calls, row by row


@pytest.mark.parametrize("prompt", ["What is the capital of France?", "What is 17 * 23?"])
async def test_a_decision_can_be_read_before_it_is_paid_for(stack, since, prompt):
    reply = await stack.get(f"/routing/decision?prompt={prompt}&auto_route=true")

    decision = reply.json["routing_metadata"]
    chosen, *others = decision["candidates"]
    assert chosen["model"] in decision["reasoning"]
    assert others
    assert all(one["lost"] for one in others)
    assert {"expected_quality", "spread", "expected_cost_usd", "evidence"} <= chosen.keys()
    assert decision["gate"]["verdict"] in ("validated", "experimental", "learning_mismatch")
    assert [] == (await closed_books(stack, since)).bill
