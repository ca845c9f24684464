"""Comparing answers: the other arm answers too, and a judge chooses, blind and twice."""

from uuid import UUID

import orjson
import pytest
from optimizer.experiments.v1 import experiments_pb2 as exp

from common.errors import AllFailed
from tests.comparison_scene import (
    CHAT,
    COMPLETE,
    HELLO,
    IN_EXPERIMENT,
    JUDGE,
    OURS,
    PLAIN,
    QUESTION,
    THEIRS,
    answers,
    asked,
    compare,
    end_of,
    judged,
    prefers,
    prompt_of,
    said,
    told,
)


@pytest.mark.parametrize(("route", "body"), [(CHAT, HELLO), (COMPLETE, PLAIN)])
async def test_an_answer_is_compared_with_the_other_arms(compared, route, body):
    compared.router.answer = answers(judge=prefers(THEIRS))

    answer = await compared.client.post(route, json=body, headers=IN_EXPERIMENT)
    record = await told(compared)

    assert OURS in answer.text
    assert record == exp.RecordComparisonRequest(
        experiment_id=1,
        request_id=answer.headers["x-request-id"],
        arm="test",
        other="control",
        preferred=["control", "control"],
        cost_nano_usd=7_000 + 2 * 1_500,
    )


async def test_what_is_asked_for_it_is_no_part_of_the_experiment(compared):
    await asked(compared)
    await told(compared)
    served, other, *judges = compared.router.asks

    assert (1, "test", "alice") == (served.experiment_id, served.arm, served.user_id)
    assert served.body == other.body
    assert ("best", b'{"b":2}') == (other.strategy.name, other.strategy.parameters_json)
    assert 4 == len({ask.request_id for ask in compared.router.asks})
    for ask in (other, *judges):
        assert 7 == UUID(ask.request_id).version
        assert (0, "", "") == (ask.experiment_id, ask.arm, ask.user_id)
        assert (served.tenant, False) == (ask.tenant, ask.use_cache)
    assert [False, True] == [served.internal, all(a.internal for a in (other, *judges))]


async def test_the_judge_is_asked_blind_and_in_both_orders(compared):
    await asked(compared)
    await told(compared)
    asks = judged(compared)
    prompts = [prompt_of(ask) for ask in asks]

    assert [JUDGE, JUDGE] == [ask.model for ask in asks]
    assert [0, 0] == [orjson.loads(ask.body)["temperature"] for ask in asks]
    assert [True, False] == [p.index(OURS) < p.index(THEIRS) for p in prompts]
    for prompt in prompts:
        assert QUESTION in prompt
        assert not [name for name in ("acme", "test", "control", "cheapest") if name in prompt]


async def test_a_judge_who_likes_a_position_contradicts_itself(compared):
    compared.router.answer = answers(judge=lambda _: said("1"))

    await asked(compared)

    assert ["test", "control"] == (await told(compared)).preferred


async def test_a_tie_is_a_tie(compared):
    compared.router.answer = answers(judge=lambda _: said("Tie\n"))

    await asked(compared)

    assert ["", ""] == (await told(compared)).preferred


async def test_equal_answers_need_no_judge(compared):
    compared.router.answer = answers(theirs=said(f"{OURS}\n", cost_nano_usd=5))

    await asked(compared)
    record = await told(compared)

    assert (["", ""], 5, []) == (record.preferred, record.cost_nano_usd, judged(compared))


@pytest.mark.parametrize(
    "reply", ["Answer 1", "1 2", "neither", "", "1.", None, [{"type": "text", "text": "both"}]]
)
async def test_a_judge_who_says_anything_else_has_said_nothing(compared, endings, reply):
    compared.router.answer = answers(judge=lambda _: said(reply))

    await asked(compared)
    record = await told(compared)

    assert ("the judge gave no verdict", []) == (record.failure, record.preferred)
    assert (8_500, 1) == (record.cost_nano_usd, len(judged(compared)))
    assert "failed" == await end_of(endings)


@pytest.mark.parametrize(
    ("theirs", "failure", "cost_nano_usd"),
    [
        (AllFailed("acme/large: 500"), "acme/large: 500", 0),
        (AllFailed("acme/large: cut", billed=True), "acme/large: cut", None),
        (said("", cost_nano_usd=9), "the other answer has no text", 9),
        (said(None, cost_nano_usd=None), "the other answer has no text", None),
    ],
    ids=["failed", "paid", "empty", "unpriced"],
)
async def test_without_another_answer_there_is_no_judgement(
    compared, theirs, failure, cost_nano_usd
):
    compared.router.answer = answers(theirs=theirs)

    await asked(compared)
    record = await told(compared)
    cost = record.cost_nano_usd if record.HasField("cost_nano_usd") else None

    assert (failure, cost_nano_usd, []) == (record.failure, cost, judged(compared))


async def test_an_answer_without_text_costs_no_more(compared):
    compared.router.answer = answers(ours=said(None))

    await asked(compared)
    record = await told(compared)

    assert ("the answer has no text", 0) == (record.failure, record.cost_nano_usd)
    assert ([], 1) == (compared.experiments.reservations, len(compared.router.asks))


async def test_an_unpriced_judge_makes_the_cost_unknown(compared):
    compared.router.answer = answers(judge=said("1", cost_nano_usd=None, pricing="unpriced"))

    await asked(compared)

    assert not (await told(compared)).HasField("cost_nano_usd")


async def test_a_judge_who_is_off_is_noticed_before_anything_is_paid(compared):
    compare(compared, judge_model="dark/large")

    await asked(compared)
    record = await told(compared)

    assert ("the judge is no model that is on", 0) == (record.failure, record.cost_nano_usd)
    assert 1 == len(compared.router.asks)
