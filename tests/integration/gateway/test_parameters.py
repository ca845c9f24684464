"""Strategy parameters of one request: from the header to the router, or a clear refusal."""

import pytest

from common.errors import Invalid
from tests.fake_router import GREETING

CHAT = "/v1/chat/completions"
PARAMETERS = "x-optimizer-strategy-parameters"
HELLO = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
ECONOMY = {PARAMETERS: '{"preset": "economy"}'}
IN_EXPERIMENT = {**ECONOMY, "x-optimizer-experiment-id": "1"}
REFUSED = Invalid("min_quality must be a number from 0 to 1", param="strategy")


def strategy_of(ask):
    return ask.strategy.name, ask.strategy.parameters_json


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "header", "strategy"),
    [
        ("auto", {}, ""),  # the default
        ("auto:learning", {}, "learning"),
        ("auto", {"x-optimizer-strategy": "learning"}, "learning"),
    ],
    ids=str,
)
async def test_they_go_with_whichever_strategy_is_named(stack, model, header, strategy, stream):
    body = {**HELLO, "model": model, "stream": stream}

    answer = await stack.client.post(CHAT, json=body, headers={**ECONOMY, **header})

    assert answer.status_code == 200
    assert strategy_of(stack.router.asks[0]) == (strategy, b'{"preset":"economy"}')


@pytest.mark.parametrize(
    ("said", "strategy"),
    [({"auto_route": True}, "hybrid"), ({"strategy": "learning"}, "learning"), ({}, "complexity")],
    ids=str,
)
async def test_complete_takes_them_too(stack, said, strategy):
    await stack.client.post("/complete", json={"prompt": "Hello", **said}, headers=ECONOMY)

    assert strategy_of(stack.router.asks[0]) == (strategy, b'{"preset":"economy"}')


@pytest.mark.parametrize("stream", [False, True])
async def test_a_pinned_model_takes_none(stack, stream):
    body = {**HELLO, "model": "acme/small", "stream": stream}

    answer = await stack.client.post(CHAT, json=body, headers=ECONOMY)

    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, PARAMETERS)
    assert "pinned" in error["message"]
    assert stack.router.asks == []


async def test_a_pinned_model_bears_an_empty_object(stack):
    answer = await stack.client.post(
        CHAT, json={**HELLO, "model": "acme/small"}, headers={PARAMETERS: "{}"}
    )

    assert answer.status_code == 200
    assert strategy_of(stack.router.asks[0]) == ("", b"")


@pytest.mark.parametrize("recorded", [True, False])
async def test_an_arm_has_its_own(stack, recorded):
    stack.experiments.recorded = recorded  # False: the experiment has ended, its outcome serves
    prompt = {"prompt": "Hello", "experiment_id": 1, "user_id": "alice"}

    await stack.client.post(CHAT, json={**HELLO, "user": "alice"}, headers=IN_EXPERIMENT)
    await stack.client.post("/complete", json=prompt, headers=ECONOMY)

    assert [strategy_of(ask) for ask in stack.router.asks] == [("cheapest", b'{"a":1}')] * 2


async def test_without_an_arm_they_count(stack):
    stack.experiments.silent = True

    await stack.client.post(CHAT, json={**HELLO, "user": "alice"}, headers=IN_EXPERIMENT)

    assert strategy_of(stack.router.asks[0]) == ("", b'{"preset":"economy"}')


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_router_refuses_is_told_of_the_header(stack, stream):
    stack.router.answer, stack.router.stream = REFUSED, (REFUSED, *GREETING)
    headers = {PARAMETERS: '{"min_quality": 2}'}

    answer = await stack.client.post(CHAT, json={**HELLO, "stream": stream}, headers=headers)

    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, PARAMETERS)
    assert error["message"] == REFUSED.message


async def test_what_the_router_refuses_of_a_prompt_is_422(stack):
    stack.router.answer = REFUSED

    answer = await stack.client.post("/complete", json={"prompt": "Hello"}, headers=ECONOMY)

    assert (answer.status_code, answer.json()["detail"]) == (422, REFUSED.message)


async def test_what_the_router_refuses_of_an_arm_is_no_fault_of_the_header(stack):
    stack.router.answer = REFUSED

    answer = await stack.client.post(CHAT, json={**HELLO, "user": "alice"}, headers=IN_EXPERIMENT)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "strategy")


@pytest.mark.parametrize("path", [CHAT, "/complete"])
async def test_the_document_names_the_header(stack, path):
    document = (await stack.client.get("/openapi.json")).json()

    parameters = document["paths"][path]["post"]["parameters"]
    assert PARAMETERS in [parameter["name"] for parameter in parameters]


@pytest.mark.parametrize("path", ["/recommendation", "/routing/decision"])
async def test_they_can_be_tried_before_they_are_paid_for(stack, path):
    answer = await stack.client.get(path, params={"prompt": "Hello"}, headers=ECONOMY)

    assert answer.status_code == 200
    assert stack.router.asks[0].strategy.parameters_json == b'{"preset":"economy"}'


async def test_every_wire_tells_what_votes_are_cast_on(stack):
    answer = await stack.client.post(CHAT, json=HELLO)

    assert answer.headers["x-optimizer-cache-key"] == "k"
