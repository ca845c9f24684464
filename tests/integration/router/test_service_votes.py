"""Votes: readers of a cached answer decide whether it is given again."""

import asyncio
import json

import pytest
from optimizer.router.v1 import router_pb2

from common.errors import Invalid, NotFound, Unavailable
from common.grpc_client import call
from common.postgres import connection
from services.router.store.answers import KeptAnswer
from tests.integration.router.learning_scene import taught
from tests.integration.router.router_stack import FEEDBACK, a_router, an_ask, until

PROMPT = "What is 2+2?"


async def vote(router, key, rating, *, tenant="a-key", comment=""):
    request = router_pb2.RecordVoteRequest(
        cache_key=key, tenant=tenant, rating=rating, comment=comment
    )
    return await call(router.stub.RecordVote, request, timeout_s=5)


async def kept(router, prompt=PROMPT):
    """Have an answer kept; return the request and the key."""
    ask = an_ask(prompt, use_cache=True)
    key = (await router.complete(ask=ask)).outcome.cache_key
    await until(lambda: router.service.cache.get_bytes(key))
    return ask, key


async def said(router, request_id):
    rows = [row for row in await router.ledger(request_id) if row.kind == FEEDBACK]
    return [json.loads(row.details_json) for row in rows]


async def test_three_bad_votes_forget_an_answer_and_the_next_one_starts_anew(caching):
    _, key = await kept(caching)

    votes = [await vote(caching, key, rating) for rating in (-1, 1, -1)]
    with pytest.raises(NotFound):
        await vote(caching, key, -1)
    again = await caching.complete(PROMPT, use_cache=True)
    await until(lambda: caching.service.cache.get_bytes(key))
    fresh = await vote(caching, key, 1)

    assert [-1.0, 0.0, pytest.approx(-1 / 3)] == [one.quality_score for one in votes]
    assert [False, False, True] == [one.invalidated for one in votes]
    assert (False, key) == (again.outcome.cache_hit, again.outcome.cache_key)
    assert (1.0, 1, 0) == (fresh.quality_score, fresh.up, fresh.down)


async def test_a_good_answer_stays(caching):
    _, key = await kept(caching)
    for rating in (1, 1, -1, 1):
        last = await vote(caching, key, rating)

    assert (0.5, False) == (last.quality_score, last.invalidated)
    assert (await caching.complete(PROMPT, use_cache=True)).outcome.cache_hit


async def test_each_vote_counts_once_and_one_of_them_is_the_last(caching):
    _, key = await kept(caching)

    votes = await asyncio.gather(
        *(vote(caching, key, -1) for _ in range(8)), return_exceptions=True
    )

    counted = [one for one in votes if not isinstance(one, NotFound)]
    assert 1 == sum(one.invalidated for one in counted)
    assert [1, 2, 3] == sorted(one.down for one in counted)[:3]
    async with connection(caching.service.pool) as conn:
        spent = await conn.fetchval("SELECT count(*) FROM router.votes WHERE spent")
    assert 3 == spent


async def test_votes_and_stars_leave_each_other_alone_and_teach(caching):
    ask, key = await kept(caching)
    await vote(caching, key, -1, comment="no")
    await caching.rate(ask.request_id, 5)
    await vote(caching, key, 1)

    details = await said(caching, ask.request_id)
    await taught(caching.service.learned)

    assert [{"up": 0, "down": 1}, {"up": 0, "down": 1}, {"up": 1, "down": 1}] == [
        one["votes"] for one in details
    ]
    assert [None, 5, 5] == [one.get("quality_score") for one in details]
    [evidence] = caching.service.learned.current.evidence.values()
    assert (1, pytest.approx(1.0)) == (evidence.outcomes, evidence.vector[0])  # stars win


async def test_votes_alone_teach_their_share(caching):
    _, key = await kept(caching)
    for rating in (1, -1, 1, 1):
        await vote(caching, key, rating)
    await taught(caching.service.learned)

    [evidence] = caching.service.learned.current.evidence.values()
    assert (1, pytest.approx(0.75)) == (evidence.outcomes, evidence.vector[0])


@pytest.mark.parametrize(
    ("rating", "comment", "param"),
    [(0, "", "rating"), (2, "", "rating"), (1, "x" * 501, "comment")],
)
async def test_what_is_no_vote_is_refused(caching, rating, comment, param):
    _, key = await kept(caching)

    with pytest.raises(Invalid) as refused:
        await vote(caching, key, rating, comment=comment)

    assert param in (refused.value.param, str(refused.value).split()[0].rstrip(":"))


@pytest.mark.parametrize("key", ["", "no such key", "0" * 64])
async def test_an_unknown_key_is_unknown(caching, key):
    with pytest.raises(NotFound):
        await vote(caching, key, 1)


async def test_nobody_votes_on_what_is_anothers(caching):
    _, key = await kept(caching)

    with pytest.raises(NotFound):
        await vote(caching, key, -1, tenant="another")


async def test_garbage_in_redis_is_an_unknown_key(caching):
    await caching.service.cache.set_bytes("odd", b"garbage")

    with pytest.raises(NotFound):
        await vote(caching, "odd", 1)


async def test_without_redis_a_voter_is_asked_to_come_again(router):
    with pytest.raises(Unavailable, match="Redis"):
        await vote(router, "0" * 64, 1)


async def test_a_vote_that_cannot_take_effect_does_not_count(caching, monkeypatch):
    _, key = await kept(caching)
    for _ in range(2):
        await vote(caching, key, -1)

    async def refuse(_key):
        return False

    with monkeypatch.context() as silent:
        silent.setattr(caching.service.cache, "delete", refuse)
        with pytest.raises(Unavailable, match="does not count"):
            await vote(caching, key, -1)
    last = await vote(caching, key, -1)

    assert (3, True) == (last.down, last.invalidated)


async def test_two_routers_count_the_same_votes(caching, sandbox, database, tmp_path, redis_url):
    folder = tmp_path / "second"
    folder.mkdir()
    _, key = await kept(caching)
    async with a_router(sandbox, database, folder, redis_url=redis_url) as second:
        votes = [await vote(one, key, -1) for one in (caching, second, caching)]

    assert [1, 2, 3] == [one.down for one in votes]


def test_an_answer_from_before_there_were_votes_can_still_be_given():
    old = b'{"provider":"acme","model":"acme/one","strategy":"best","confidence":"high","usage":'
    old += b'{"input_tokens":1,"output_tokens":1},"cost_nano_usd":1}\n{}\n{}'

    assert (None, "") == (KeptAnswer.unpack(old).request_id, KeptAnswer.unpack(old).tenant)
