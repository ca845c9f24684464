"""POST /feedback: a vote on an answer that is kept in the cache."""

import pytest
from optimizer.router.v1 import router_pb2

from common.errors import Unavailable
from services.gateway.api.feedback import FORGOTTEN

UP = {"cache_key": "k", "rating": 1}


async def test_a_vote_reaches_the_router(stack):
    answer = await stack.client.post("/feedback", json={**UP, "comment": "Well said."})

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "cache_key": "k",
        "quality_score": 1 / 3,
        "invalidated": False,
        "message": "Thank you.",
    }
    assert stack.router.votes == [
        router_pb2.RecordVoteRequest(
            cache_key="k", tenant="anonymous", rating=1, comment="Well said."
        )
    ]


async def test_the_voter_is_told_that_the_answer_was_forgotten(stack):
    stack.router.vote = router_pb2.RecordVoteResponse(
        quality_score=-1 / 3, up=1, down=2, invalidated=True
    )

    answer = (await stack.client.post("/feedback", json={**UP, "rating": -1})).json()

    assert (answer["quality_score"], answer["invalidated"]) == (-1 / 3, True)
    assert answer["message"] == FORGOTTEN


async def test_a_score_that_is_no_number_is_null(stack):
    stack.router.vote = router_pb2.RecordVoteResponse(quality_score=float("nan"))

    answer = await stack.client.post("/feedback", json=UP)

    assert (answer.status_code, answer.json()["quality_score"]) == (200, None)


async def test_a_vote_on_what_is_not_kept_is_404(stack):
    answer = await stack.client.post("/feedback", json={**UP, "cache_key": "unknown"})

    assert answer.status_code == 404
    assert answer.json() == {
        "detail": "No answer is kept under this key",
        "code": "answer_not_found",
    }


async def test_zero_is_no_vote(stack):
    answer = await stack.client.post("/feedback", json={**UP, "rating": 0})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_value")
    assert stack.router.votes == []


@pytest.mark.parametrize(
    "change",
    [
        {"rating": 2},
        {"rating": -2},
        {"rating": 10**30},
        {"rating": 0.5},
        {"rating": 1.0},
        {"rating": "1"},
        {"rating": True},
        {"rating": None},
        {"cache_key": ""},
        {"cache_key": "k" * 201},
        {"cache_key": 5},
        {"cache_key": "a\x00b"},
        {"comment": "c" * 501},
        {"comment": ["c"]},
        {"comment": "\x00"},
    ],
    ids=str,
)
async def test_a_vote_out_of_bounds_is_422_and_named(stack, change):
    answer = await stack.client.post("/feedback", json={**UP, **change})

    assert answer.status_code == 422
    assert next(iter(change)) in answer.json()["detail"]
    assert stack.router.votes == []


@pytest.mark.parametrize("missing", ["cache_key", "rating"])
async def test_half_a_vote_is_422(stack, missing):
    answer = await stack.client.post(
        "/feedback", json={name: value for name, value in UP.items() if name != missing}
    )

    assert (answer.status_code, missing in answer.json()["detail"]) == (422, True)


async def test_a_vote_that_cannot_be_kept_is_503(stack):
    stack.router.vote = Unavailable("Redis is silent")

    answer = await stack.client.post("/feedback", json=UP)

    assert (answer.status_code, answer.json()["detail"]) == (503, "Redis is silent")


async def test_without_a_router_a_vote_is_503(own_stack):
    await own_stack.router_server.stop()

    answer = await own_stack.client.post("/feedback", json=UP)

    assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
