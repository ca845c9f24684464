"""Feedback: numbered revisions of one's own requests, from which learning draws its beliefs."""

import orjson
import pytest
from optimizer.router.v1 import router_pb2

from common.errors import Invalid, NotFound
from common.grpc_client import call
from common.ids import new_id
from tests.integration.router.learning_scene import taught
from tests.integration.router.router_stack import FEEDBACK, an_ask, until


async def beliefs(router, model="acme/small"):
    """Return what learning believes of *model*: difficulty, quality, evidence."""
    request = router_pb2.GetLearningStatusRequest()
    status = await call(router.stub.GetLearningStatus, request, timeout_s=5)
    return {one.difficulty: one for one in status.models if one.model == model}


async def evidence(router, model="acme/small"):
    """Return how much stands behind what is believed; the same at every difficulty."""
    [found] = {one.evidence for one in (await beliefs(router, model)).values()}
    return found


async def test_each_rating_is_the_next_revision_and_the_last_one_counts(router):
    ask = an_ask("What is 2+2?")
    await router.complete(ask=ask)

    ratings = [await router.rate(ask.request_id, stars) for stars in (1, 5)]

    assert [1, 2] == [rating.revision for rating in ratings]
    assert [f"{ask.request_id}.1", f"{ask.request_id}.2"] == [r.feedback_id for r in ratings]
    rows = [row for row in await router.ledger(ask.request_id) if row.kind == FEEDBACK]
    assert [(1, 1), (2, 5)] == [
        (row.revision, orjson.loads(row.details_json)["quality_score"]) for row in rows
    ]
    assert {("acme/small", "cheapest")} == {(row.model, row.strategy) for row in rows}


async def test_what_learning_believes_moves_with_feedback(router):
    before = await beliefs(router)
    difficulty = orjson.loads((await router.decide("hi")).decision_json)["complexity"]["tier"]
    for _ in range(3):
        ask = an_ask("hi")
        await router.complete(ask=ask)
        await router.rate(ask.request_id, 1)

    await taught(router.service.learned)

    after = await beliefs(router)
    assert 0 == before[difficulty].evidence
    assert 3 == pytest.approx(after[difficulty].evidence, abs=0.01)
    assert after[difficulty].quality < before[difficulty].quality
    assert 0 == await evidence(router, "acme/large")


async def test_feedback_on_a_repeat_teaches_as_feedback_on_the_first_answer_does(caching):
    first = await caching.complete("hi", use_cache=True)
    await until(lambda: caching.service.cache.get_bytes(first.outcome.cache_key))
    ask = an_ask("hi", use_cache=True)
    assert (await caching.complete(ask=ask)).outcome.cache_hit

    await caching.rate(ask.request_id, 5)
    await taught(caching.service.learned)

    assert 1 == await evidence(caching)


async def test_nobody_rates_what_is_not_theirs_or_is_not_there(router):
    ask = an_ask("hi")
    await router.complete(ask=ask)

    with pytest.raises(NotFound):
        await router.rate(ask.request_id, 5, tenant="b-key")
    with pytest.raises(NotFound):
        await router.rate(str(new_id()), 5)
    with pytest.raises(Invalid):
        await router.rate("nonsense", 5)


@pytest.mark.parametrize(
    ("rating", "param"),
    [
        ({"stars": 0}, "quality_score"),
        ({"stars": 6}, "quality_score"),
        ({"stars": 5, "comment": "x" * 1001}, "comment"),
    ],
)
async def test_a_rating_out_of_bounds_is_refused(router, rating, param):
    ask = an_ask("hi")
    await router.complete(ask=ask)

    with pytest.raises(Invalid) as refused:
        await router.rate(ask.request_id, **rating)

    assert param == refused.value.param


async def test_any_comment_can_be_kept(router):
    ask = an_ask("hi")
    await router.complete(ask=ask)
    comment = "NUL \0, quotes \"', a snowman \N{SNOWMAN} and \\u0000"

    await router.rate(ask.request_id, 4, comment=comment)

    [row] = [row for row in await router.ledger(ask.request_id) if row.kind == FEEDBACK]
    assert (
        comment.replace("\0", "\N{REPLACEMENT CHARACTER}")
        == (orjson.loads(row.details_json)["comment"])
    )
    await taught(router.service.learned)
    assert 1 == await evidence(router)
