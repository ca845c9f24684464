"""Votes: readers of a cached answer decide whether it is given again."""

import asyncio
import json

import pytest
from optimizer.router.v1 import router_pb2

from common.errors import Invalid, NotFound, Unavailable
from common.grpc_client import call
from common.ids import new_id
from common.postgres import connection
from deploy.embedded.redis import Redis
from services.router.__main__ import TELL_EVERY_S
from services.router.store.answers import KeptAnswer
from services.router.store.ledger import Ledger
from tests.conftest import paused
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


async def test_votes_at_once_on_two_routers_count_once_each_and_one_is_the_last(
    caching, sandbox, database, tmp_path, redis_url
):
    folder = tmp_path / "second"
    folder.mkdir()
    ask, key = await kept(caching)
    async with a_router(sandbox, database, folder, redis_url=redis_url) as second:
        votes = await asyncio.gather(
            *(vote(one, key, -1) for _ in range(6) for one in (caching, second)),
            return_exceptions=True,
        )

    assert {NotFound} == {type(one) for one in votes if isinstance(one, Exception)}
    counted = [one for one in votes if not isinstance(one, Exception)]
    assert [(1, False), (2, False), (3, True)] == sorted((v.down, v.invalidated) for v in counted)
    assert [1, 2, 3] == [one["votes"]["down"] for one in await said(caching, ask.request_id)]


async def test_votes_and_stars_at_once_lose_nothing(caching):
    ask, key = await kept(caching)

    await asyncio.gather(
        *(vote(caching, key, 1) for _ in range(5)),
        *(caching.rate(ask.request_id, stars) for stars in (1, 2, 3, 4, 5)),
    )

    rows = [row for row in await caching.ledger(ask.request_id) if row.kind == FEEDBACK]
    last = json.loads(max(rows, key=lambda row: row.revision).details_json)
    assert (10, {"up": 5, "down": 0}) == (len(rows), last["votes"])
    assert last["quality_score"] in {1, 2, 3, 4, 5}


async def test_a_vote_may_be_the_first_to_reach_a_new_server(caching):
    _, key = await kept(caching)
    async with connection(caching.service.pool) as conn:  # as after a failover
        await conn.execute("UPDATE router.ledger_epochs SET system_identifier = 1")

    counted = await vote(caching, key, 1)

    assert (1, False) == (counted.up, counted.invalidated)
    async with connection(caching.service.pool) as conn:
        rows = await conn.fetch("SELECT kind FROM router.ledger ORDER BY epoch, xact_id, seq")
        epochs = await conn.fetchval("SELECT count(DISTINCT epoch) FROM router.ledger")
    assert (FEEDBACK, 2) == (rows[-1]["kind"], epochs)


async def test_who_follows_the_ledger_hears_of_a_vote(caching, monkeypatch):
    _, key = await kept(caching)
    heard = asyncio.Event()

    async def publish(_channel, _message):
        heard.set()
        return True

    await asyncio.sleep(2 * TELL_EVERY_S)  # what was served is told
    monkeypatch.setattr(caching.service.cache, "publish", publish)
    await vote(caching, key, 1)

    await asyncio.wait_for(heard.wait(), 2)


async def test_a_vote_on_what_the_ledger_has_dropped_counts_and_teaches_nobody(caching):
    ask, key = await kept(caching)
    dropped = await another_request(caching, ask, key)

    votes = [await vote(caching, key, -1) for _ in range(3)]

    assert [False, False, True] == [one.invalidated for one in votes]
    assert [] == await said(caching, dropped)


async def test_a_vote_on_what_still_waits_in_the_journal_does_not_count_yet(caching, monkeypatch):
    ask, key = await kept(caching)
    await another_request(caching, ask, key)
    monkeypatch.setattr(Ledger, "caught_up", property(lambda _: False))

    with pytest.raises(Unavailable, match="catching up"):
        await vote(caching, key, -1)
    monkeypatch.undo()

    assert 1 == (await vote(caching, key, -1)).down


async def another_request(router, ask, key):
    """Put the id of a request that the ledger does not know on a kept answer; return it."""
    packed, other = await router.service.cache.get_bytes(key), str(new_id())
    await router.service.cache.set_bytes(
        key, packed.replace(ask.request_id.encode(), other.encode())
    )
    return other


async def test_a_silent_redis_is_no_unknown_key(sandbox, database, tmp_path, short_folder):
    redis = Redis(short_folder / "voting-redis")
    await redis.start()
    try:
        async with a_router(sandbox, database, tmp_path, redis_url=redis.url) as router:
            _, key = await kept(router)
            with paused(redis.process.pid), pytest.raises(Unavailable):
                await vote(router, key, -1)
            counted = await vote(router, key, -1)
    finally:
        await redis.stop()

    assert 1 == counted.down


async def test_any_comment_can_be_kept(caching):
    _, key = await kept(caching)

    await vote(caching, key, 1, comment="\0" + "\N{SNOWMAN}" * 499)

    async with connection(caching.service.pool) as conn:
        found = await conn.fetchval("SELECT comment FROM router.votes")
    assert "\N{REPLACEMENT CHARACTER}" + "\N{SNOWMAN}" * 499 == found


async def test_a_kept_answer_that_was_tampered_with_is_an_unknown_key(caching):
    ask, key = await kept(caching)
    packed = await caching.service.cache.get_bytes(key)
    quoted = b'"' + ask.request_id.encode() + b'"'

    for odd in (packed[:20], *(packed.replace(quoted, one) for one in (b'"x"', b"42", b"[]"))):
        await caching.service.cache.set_bytes(key, odd)
        with pytest.raises(NotFound):
            await vote(caching, key, 1)


def test_an_answer_from_before_there_were_votes_can_still_be_given():
    old = b'{"provider":"acme","model":"acme/one","strategy":"best","confidence":"high","usage":'
    old += b'{"input_tokens":1,"output_tokens":1},"cost_nano_usd":1}\n{}\n{}'

    assert (None, "") == (KeptAnswer.unpack(old).request_id, KeptAnswer.unpack(old).tenant)
