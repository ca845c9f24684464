"""A gateway that wants a key, over a router that has no provider: each says what is missing."""

import pytest


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer wrong"}, {"x_api_key": "wrong"}, {"authorization": "Basic x"}],
)
async def test_a_gateway_with_a_key_wants_it(bare, headers):
    with bare.without_key():
        own = await bare.post("/complete", {"prompt": "x"}, **headers)
        openai = await bare.post("/v1/chat/completions", {"model": "auto"}, **headers)

    assert (401, 401) == (own.status, openai.status)
    assert {"detail", "code"} <= own.json.keys()
    assert openai.json["error"]["code"] in ("invalid_api_key", "missing_api_key")


async def test_the_right_key_opens_it(bare):
    key = bare.key
    bearer = await bare.get("/v1/models")
    with bare.without_key():
        header = await bare.get("/v1/models", x_api_key=key)

    assert (200, 200) == (bearer.status, header.status)


async def test_without_any_provider_the_answer_says_which_variable_to_set(bare):
    reply = await bare.chat("x")
    health = (await bare.get("/health")).json
    warned = [line for line in bare.log if "ACME_API_KEY" in line]

    assert 503 == reply.status
    assert "ACME_API_KEY" in reply.json["error"]["message"]
    assert ("degraded", []) == (health["status"], health["providers_available"])
    assert warned
