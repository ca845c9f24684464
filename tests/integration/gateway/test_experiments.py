"""Experiments and defaults over HTTP: more arms, plans, imports, promotions, and who joins what."""

import asyncio
from datetime import UTC, datetime

import pytest
from optimizer.experiments.v1 import experiments_pb2 as pb
from optimizer.router.v1 import router_pb2

from common.errors import NotFound
from common.ledger_rows import moment

EXPERIMENT = {
    "name": "cheaper?",
    "control_strategy": "complexity",
    "test_strategy": "cheapest",
    "sample_size": 10,
}
ARMS = [
    {"strategy": "best"},
    {"strategy": "cheapest", "weight": 2},
    {"name": "clever", "strategy": "hybrid"},
]
ROW = {
    "request_id": "r1",
    "user_id": "u1",
    "provider": "acme",
    "model": "acme/small",
    "cost": 0.000123,
    "latency_ms": 12,
}
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "user": "u1"}
CHEAPEST = router_pb2.Strategy(name="cheapest")


async def test_everything_that_can_be_said_of_an_experiment_is_passed_on(stack):
    options = {
        "hypothesis": "half the cost",
        "auto_complete": False,
        "auto_promote": True,
        "freeze_learning": False,
        "guardrails": {"quality": 0.05},
        "enroll": True,
        "scope": {"tag": "chat"},
        "traffic_share": 0.5,
        "layer": "prices",
        "max_duration_days": 14,
        "comparing": {"share": 0.1, "judge_model": "acme/large", "budget_usd": 2.5},
    }

    answer = await stack.client.post("/experiments", json={**EXPERIMENT, **options})

    assert answer.status_code == 200
    [made] = stack.experiments.made
    assert made.by == "anonymous"
    assert made.options == pb.Options(
        hypothesis="half the cost",
        auto_complete=False,
        auto_promote=True,
        freeze_learning=False,
        margins=pb.Margins(quality_ratio=0.05),
        scope=pb.Scope(tag="chat"),
        enrol=True,
        traffic_share=0.5,
        layer="prices",
        max_duration_days=14,
        comparing=pb.Comparing(share=0.1, judge_model="acme/large", budget_nano_usd=2_500_000_000),
    )


async def test_what_was_learned_is_frozen_when_an_experiment_begins(stack):
    await stack.client.post("/experiments", json=EXPERIMENT)
    begun = stack.router.asks[-1].strategy.snapshot
    stack.experiments.freeze_learning = True
    await stack.client.post(
        "/v1/chat/completions", json=CHAT, headers={"x-optimizer-experiment-id": "1"}
    )

    assert "experiment:1" == begun == stack.router.asks[-1].strategy.snapshot


async def test_two_to_eight_arms_are_named_where_they_have_no_name(stack):
    answer = await stack.client.post(
        "/experiments", json={"name": "x", "sample_size": 10, "arms": ARMS}
    )

    assert answer.status_code == 200
    assert [("control", 1.0), ("test", 2.0), ("clever", 1.0)] == [
        (arm["name"], arm["weight"]) for arm in answer.json()["arms"]
    ]


async def test_what_a_size_can_find_goes_by_the_smallest_arm(stack):
    uneven = [{"strategy": "best", "weight": 9}, {"strategy": "cheapest"}]

    made = await stack.client.post(
        "/experiments", json={"name": "x", "sample_size": 10, "arms": uneven}
    )
    await stack.client.post("/experiments", json=EXPERIMENT)

    assert made.json()["minimum_detectable_effect"] > 0
    assert [2, 10] == [request.sample_size for request in stack.experiments.planned]


@pytest.mark.parametrize(
    "change",
    [
        {"arms": ARMS},  # given twice
        {"control_strategy": None, "test_strategy": None, "arms": ARMS[:1]},
        {"control_strategy": None, "test_strategy": None, "arms": ARMS * 3},
        {"control_strategy": None, "test_strategy": None},
        {"guardrails": {"quality": 2}},
        {"guardrails": {"speed": 0.1}},
        {"auto_promot": True},  # not one that we know
        {"traffic_share": 0},
        {"traffic_share": 1.5},
        {"max_duration_days": -1},
        {"comparing": {"share": 0.5}},
        {"comparing": {"share": 0.5, "judge_model": "a/b", "budget_usd": 0}},
    ],
    ids=str,
)
async def test_what_cannot_be_is_422_and_not_made(stack, change):
    answer = await stack.client.post("/experiments", json={**EXPERIMENT, **change})

    assert answer.status_code == 422
    assert stack.experiments.made == []


async def test_a_judge_that_nobody_knows_is_refused(stack):
    stack.router.decision = NotFound("there is no model a/judge")
    comparing = {"share": 0.5, "judge_model": "a/judge", "budget_usd": 1}

    answer = await stack.client.post("/experiments", json={**EXPERIMENT, "comparing": comparing})

    assert (422, "judge_model: there is no model a/judge") == (
        answer.status_code,
        answer.json()["detail"],
    )
    assert stack.experiments.made == []


async def test_a_plan_says_what_an_effect_takes_and_what_a_size_finds(stack):
    effect = await stack.client.post("/experiments/plan", json={"minimum_detectable_effect": 0.1})
    size = await stack.client.post("/experiments/plan", json={"sample_size": 500, "arms": 3})

    assert (effect.json()["sample_size"], effect.json()["days"]) == (1000, None)
    assert (size.json()["users"], size.json()["minimum_detectable_effect"]) == (300, 0.2)
    assert not size.json()["measured"]


async def test_results_are_imported_in_nano_dollars(stack):
    row = {**ROW, "quality_score": 4, "occurred_at": "2026-01-02T03:04:05Z"}

    answer = await stack.client.post("/experiments/7/results", json=[row])

    assert answer.json() == {"imported": 1, "already_there": 0}
    [request] = stack.experiments.imported
    assert (7, 123_000) == (request.experiment_id, request.results[0].cost_nano_usd)
    assert request.results[0].success
    assert 1_767_323_045_000 == request.results[0].occurred_at_ms


async def test_the_end_of_time_is_passed_on_as_a_time_that_can_be_refused_by_its_row(stack):
    row = {**ROW, "occurred_at": "9999-12-31T00:00:00Z"}

    await stack.client.post("/experiments/1/results", json=[row])

    [request] = stack.experiments.imported
    told = moment(request.results[0].occurred_at_ms, "occurred_at")
    assert told > datetime.now(UTC)


@pytest.mark.parametrize(
    ("rows", "status", "told"),
    [
        (b"[", 400, "not valid JSON"),
        (b"{}", 422, "must be a JSON array"),
        (b"[]", 422, "1 to 10000 rows"),
        (b"[1]", 422, "results[0]"),
        (b'[{"request_id": "r"}]', 422, "results[0].user_id"),
        (b'[{"cost": NaN}]', 400, "not valid JSON"),
        ([ROW, {**ROW, "cost": -1}], 422, "results[1].cost"),
        ([ROW, {**ROW, "cost": "1"}], 422, "results[1].cost"),
        ([{**ROW, "colour": "red"}], 422, "results[0].colour"),
        ([{**ROW, "occurred_at": "yesterday"}], 422, "results[0]: occurred_at"),
        ([{**ROW, "occurred_at": ""}], 422, "results[0].occurred_at"),
        ([{**ROW, "occurred_at": "2026-01-02T03:04:05"}], 422, "with its zone"),
        ([ROW, {**ROW, "occurred_at": "1969-12-31T23:59:59Z"}], 422, "results[1]: occurred_at"),
        (
            [{**ROW, "occurred_at": "x"}, ROW, {**ROW, "occurred_at": "y"}],
            422,
            "results[0], results[2]:",
        ),
        ([ROW, {**ROW, "user_id": "\x00"}], 422, "`results[1]` has a NUL"),
    ],
)
async def test_wrong_rows_are_named_and_none_is_passed_on(stack, rows, status, told):
    sent = {"content": rows} if isinstance(rows, bytes) else {"json": rows}

    answer = await stack.client.post("/experiments/7/results", **sent)

    assert (answer.status_code, told in answer.json()["detail"]) == (status, True)
    assert stack.experiments.imported == []


async def test_a_winner_is_promoted_listed_and_taken_back(stack):
    made = await stack.client.post("/experiments/1/promote", json={"reason": "cheaper"})
    during = (await stack.client.get("/promotions")).json()
    undone = await stack.client.post(f"/promotions/{made.json()['id']}/revert")
    gone = await stack.client.post("/promotions/1/revert")

    assert (made.json()["strategy"], len(during)) == ("cheapest", 1)
    assert (undone.json()["reverted_by"], gone.status_code) == ("anonymous", 404)


async def standing(stack, *, promoted=(), enrolling=()):
    """Have the gateway know what stands."""
    stack.experiments.promoted = list(promoted)
    stack.experiments.enrolling = list(enrolling)
    await stack.gateway.standing.refresh()


def promotion(**scope):
    return pb.Promotion(id=1, scope=pb.Scope(**scope), arm=pb.Arm(name="test", strategy="cheapest"))


@pytest.mark.parametrize(
    ("path", "body", "headers", "expected"),
    [
        ("/v1/chat/completions", CHAT, {}, "cheapest"),
        ("/v1/chat/completions", {**CHAT, "model": "auto:best"}, {}, "best"),
        ("/v1/chat/completions", CHAT, {"x-optimizer-strategy": "best"}, "best"),
        ("/v1/chat/completions", CHAT, {"x-optimizer-strategy-parameters": '{"a":1}'}, ""),
        ("/complete", {"prompt": "Hello", "auto_route": True}, {}, "cheapest"),
        ("/complete", {"prompt": "Hello"}, {}, "complexity"),
        ("/complete", {"prompt": "Hello", "strategy": "best"}, {}, "best"),
    ],
)
async def test_a_promoted_default_serves_who_leaves_the_choice_to_us(
    stack, path, body, headers, expected
):
    await standing(stack, promoted=[promotion()])

    await stack.client.post(path, json=body, headers=headers)

    assert expected == stack.router.asks[-1].strategy.name


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/recommendation?prompt=Hello", {}, "cheapest"),
        ("/recommendation?prompt=Hello&strategy=best", {}, "best"),
        ("/recommendation?prompt=Hello", {"x-optimizer-strategy-parameters": '{"a":1}'}, ""),
        ("/routing/decision?prompt=Hello&auto_route=true", {}, "cheapest"),
        ("/routing/decision?prompt=Hello", {}, "complexity"),
    ],
)
async def test_what_would_happen_knows_of_promoted_defaults_too(stack, path, headers, expected):
    await standing(stack, promoted=[promotion()])

    await stack.client.get(path, headers=headers)

    assert expected == stack.router.asks[-1].strategy.name


async def test_a_default_of_a_tag_serves_that_tag_only(stack):
    await standing(stack, promoted=[promotion(tag="chat")])

    for tag in ("chat", "other"):
        await stack.client.post("/v1/chat/completions", json=CHAT, headers={"x-optimizer-tag": tag})

    assert ["cheapest", ""] == [ask.strategy.name for ask in stack.router.asks[-2:]]


async def test_requests_in_scope_join_an_experiment_by_their_user(stack):
    enrolling = pb.Enrolling(experiment_id=7, layer="7", low=0, high=1)
    await standing(stack, enrolling=[enrolling])

    joined = await stack.client.post("/v1/chat/completions", json=CHAT)
    await stack.client.post("/v1/chat/completions", json={**CHAT, "user": ""})
    await stack.client.post("/v1/chat/completions", json={**CHAT, "model": "acme/small"})

    assert "test" == joined.headers["x-optimizer-experiment-arm"]
    assert [7, 0, 0] == [ask.experiment_id for ask in stack.router.asks[-3:]]


async def test_who_joined_an_arm_that_was_stopped_gets_the_control(stack):
    stack.experiments.recorded, stack.experiments.stopped = False, True
    await standing(stack, enrolling=[pb.Enrolling(experiment_id=7, layer="7", low=0, high=1)])

    await stack.client.post("/v1/chat/completions", json=CHAT)

    ask = stack.router.asks[-1]
    assert ("cheapest", b'{"a":1}') == (ask.strategy.name, ask.strategy.parameters_json)
    assert 0 == ask.experiment_id


async def test_an_experiment_that_ended_meanwhile_takes_nobody_along(stack):
    enrolling = pb.Enrolling(experiment_id=7, layer="7", low=0, high=1)
    gone = pb.Enrolling(experiment_id=101, layer="101", low=0, high=1)

    stack.experiments.recorded = False
    await standing(stack, enrolling=[enrolling], promoted=[promotion()])
    ended = await stack.client.post("/v1/chat/completions", json=CHAT)
    await standing(stack, enrolling=[gone])
    unknown = await stack.client.post("/v1/chat/completions", json=CHAT)

    assert (200, 200) == (ended.status_code, unknown.status_code)
    assert ["cheapest", ""] == [ask.strategy.name for ask in stack.router.asks[-2:]]
    assert [0, 0] == [ask.experiment_id for ask in stack.router.asks[-2:]]


async def test_what_stands_is_asked_for_by_itself(own_stack):
    async with asyncio.timeout(10):
        await own_stack.experiments.listed.wait()
