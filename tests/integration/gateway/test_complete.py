"""POST /complete: everything that is known about an answer; and arms of experiments."""

import orjson
import pytest
from optimizer.router.v1 import router_pb2

from common.errors import AllFailed, Unavailable
from services.gateway.usecases import ENDED, SILENT
from tests.fake_router import a_completion, an_outcome

CHAT = "/v1/chat/completions"
HELLO = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


async def test_an_answer_says_everything(own_stack):
    answer = await own_stack.client.post("/complete", json={"prompt": "Hello"})

    assert answer.status_code == 200
    assert answer.json() == {
        "request_id": answer.headers["x-request-id"],
        "response": "Hello!",
        "provider": "acme",
        "model": "acme/small",
        "strategy_used": "hybrid",
        "confidence": "high",
        "routing_metadata": {"complexity": "simple", "reasoning": "short", "candidates": []},
        "tokens_in": 7,
        "tokens_out": 2,
        "tokens_estimated": False,
        "cost": 1.5e-06,
        "total_cost_today": 1.5e-06,
        "latency_ms": 3.5,
        "cache_hit": False,
        "original_cost": None,
        "savings": 0.0,
        "cache_key": "k",
        "experiment_assignment": None,
        "pricing": "priced",
        "baseline_cost": 9e-06,
        "tokenizer_id": None,
        "tokenizer_tokens_in": None,
    }


async def test_a_hit_says_what_it_saved(stack):
    stack.router.answer = router_pb2.CompleteResponse(
        body=a_completion(),
        outcome=an_outcome(
            cost_nano_usd=0, cache_hit=True, original_cost_nano_usd=2_000, pricing="cached"
        ),
    )

    answer = (await stack.client.post("/complete", json={"prompt": "Hello"})).json()

    assert (answer["cost"], answer["original_cost"], answer["savings"]) == (0, 2e-06, 2e-06)
    assert (answer["cache_hit"], answer["pricing"]) == (True, "cached")


async def test_what_was_spent_today_adds_up_before_the_ledger_is_read(own_stack):
    for _ in range(2):
        await own_stack.client.post("/complete", json={"prompt": "Hello"})
    await own_stack.client.post(CHAT, json=HELLO)
    await own_stack.client.post(CHAT, json={**HELLO, "stream": True})
    own_stack.router.answer = AllFailed("acme/small: 500")
    await own_stack.client.post("/complete", json={"prompt": "Hello"})
    own_stack.router.answer = None

    answer = (await own_stack.client.post("/complete", json={"prompt": "Hello"})).json()

    assert answer["total_cost_today"] == 5 * 1.5e-06


@pytest.mark.parametrize(
    ("said", "strategy"),
    [
        ({}, "complexity"),
        ({"auto_route": True}, "hybrid"),
        ({"strategy": "best"}, "best"),
        ({"strategy": "best", "auto_route": True}, "best"),
        ({"strategy": None}, "complexity"),
    ],
    ids=str,
)
async def test_the_strategy_is_the_one_asked_for(stack, said, strategy):
    await stack.client.post("/complete", json={"prompt": "Hello", "max_tokens": 5, **said})

    ask = stack.router.asks[0]
    assert (ask.strategy.name, ask.model, ask.use_cache) == (strategy, "", True)
    assert orjson.loads(ask.body) == {
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 5,
    }


async def test_a_caller_may_do_without_the_cache(stack):
    await stack.client.post(
        "/complete", json={"prompt": "Hello"}, headers={"x-optimizer-cache": "off"}
    )

    assert stack.router.asks[0].use_cache is False


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
    ],
)
async def test_an_answer_without_plain_text_is_shown_as_well_as_it_can_be(stack, content, text):
    stack.router.answer = router_pb2.CompleteResponse(
        body=a_completion(content), outcome=an_outcome(usage=None, cost_nano_usd=None)
    )

    answer = (await stack.client.post("/complete", json={"prompt": "Hello"})).json()

    assert (answer["response"], answer["tokens_in"], answer["cost"]) == (text, None, None)


async def test_all_providers_down_is_502_and_names_what_was_tried(stack):
    stack.router.answer = AllFailed("acme/small: 500; acme/large: timed out", billed=True)

    answer = await stack.client.post("/complete", json={"prompt": "Hello"})

    assert answer.status_code == 502
    assert answer.json() == {
        "detail": "acme/small: 500; acme/large: timed out",
        "code": "all_candidates_failed",
    }
    assert answer.headers["x-should-retry"] == "false"


async def test_no_provider_is_503(stack):
    stack.router.answer = Unavailable("no provider is enabled: set ACME_API_KEY")

    answer = await stack.client.post("/complete", json={"prompt": "Hello"})

    assert (answer.status_code, "ACME_API_KEY" in answer.text) == (503, True)


IN_EXPERIMENT = {"prompt": "Hello", "experiment_id": 1, "user_id": "alice"}


async def test_an_arm_decides_the_strategy(stack):
    answer = await stack.client.post("/complete", json={**IN_EXPERIMENT, "strategy": "best"})

    ask = stack.router.asks[0]
    assert (ask.strategy.name, ask.strategy.parameters_json) == ("cheapest", b'{"a":1}')
    assert (ask.experiment_id, ask.arm, ask.user_id) == (1, "test", "alice")
    assert answer.json()["experiment_assignment"] == "test"
    assert answer.headers["x-optimizer-experiment-arm"] == "test"


async def test_an_experiment_that_has_ended_records_nothing(stack):
    stack.experiments.recorded = False

    answer = await stack.client.post("/complete", json=IN_EXPERIMENT)

    ask = stack.router.asks[0]
    assert (ask.strategy.name, ask.experiment_id, ask.arm) == ("cheapest", 0, "")
    assert answer.json()["experiment_assignment"] is None
    assert answer.json()["routing_metadata"]["note"] == ENDED


async def test_a_silent_experiments_service_stops_no_completion(stack):
    stack.experiments.silent = True

    answer = await stack.client.post("/complete", json={**IN_EXPERIMENT, "strategy": "best"})

    ask = stack.router.asks[0]
    assert (ask.strategy.name, ask.experiment_id, ask.arm) == ("best", 0, "")
    assert answer.json()["experiment_assignment"] is None
    assert answer.json()["routing_metadata"]["note"] == SILENT
    assert answer.headers["x-optimizer-experiment-arm"] == "none"


async def test_an_unknown_experiment_is_404(stack):
    answer = await stack.client.post("/complete", json={**IN_EXPERIMENT, "experiment_id": 101})

    assert answer.status_code == 404
    assert answer.json()["detail"] == "Experiment not found"


async def test_an_experiment_needs_a_user(stack):
    answer = await stack.client.post("/complete", json={"prompt": "Hello", "experiment_id": 1})

    assert answer.status_code == 400
    assert answer.json()["detail"] == "user_id required when experiment_id is specified"


async def test_the_openai_wire_takes_part_too(stack):
    headers = {"x-optimizer-experiment-id": "1"}

    served = await stack.client.post(CHAT, json={**HELLO, "user": "alice"}, headers=headers)
    nobody = await stack.client.post(CHAT, json=HELLO, headers=headers)
    pinned = await stack.client.post(
        CHAT, json={**HELLO, "user": "alice", "model": "acme/small"}, headers=headers
    )
    unknown = await stack.client.post(
        CHAT, json={**HELLO, "user": "alice"}, headers={"x-optimizer-experiment-id": "101"}
    )

    assert served.headers["x-optimizer-experiment-arm"] == "test"
    assert (nobody.status_code, nobody.json()["error"]["param"]) == (400, "x-optimizer-user-id")
    assert (pinned.status_code, pinned.json()["error"]["param"]) == (400, "model")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["param"] == "x-optimizer-experiment-id"
