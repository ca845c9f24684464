"""The OpenAI SDK that people already have, pointed at the gateway."""

import openai
import pytest
from openai import AsyncOpenAI

from tests.e2e.books import closed_books

QUESTION = [{"role": "user", "content": "What is 6 * 7?"}]


@pytest.fixture
async def client(stack):
    async with AsyncOpenAI(
        base_url=f"{stack.base_url}/v1", api_key=stack.key or "none", max_retries=0
    ) as made:
        yield made


async def test_a_plain_completion(stack, since, client):
    raw = await client.chat.completions.with_raw_response.create(model="auto", messages=QUESTION)
    answer = raw.parse()

    (entry,) = (await closed_books(stack, since)).bill
    assert ("6 * 7 is 42.", "stop") == (
        answer.choices[0].message.content,
        answer.choices[0].finish_reason,
    )
    assert f"sandbox/{entry['model']}" == raw.headers["x-optimizer-model"]
    assert entry["cost_nano_usd"] == round(float(raw.headers["x-optimizer-cost-usd"]) * 10**9)
    assert entry["output_tokens"] == answer.usage.completion_tokens


@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_streamed_completion(stack, since, client, include_usage):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    stream = await client.chat.completions.create(
        model="sandbox/small", messages=QUESTION, stream=True, **options
    )
    chunks = [chunk async for chunk in stream]

    with_choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "6 * 7 is 42." == "".join(choice.delta.content or "" for choice in with_choices)
    assert "assistant" == with_choices[0].delta.role
    assert ["stop"] == [c.finish_reason for c in with_choices if c.finish_reason]
    assert "stop" == with_choices[-1].finish_reason
    usages = [chunk for chunk in chunks if chunk.usage]
    assert int(include_usage) == len(usages)
    assert all(chunk.choices == [] for chunk in usages)
    assert [] == (await closed_books(stack, since)).problems()


async def test_embeddings(stack, since, client):
    raw = await client.embeddings.with_raw_response.create(
        model="sandbox/embed", input=["one", "two words"]
    )
    answer = raw.parse()

    (entry,) = (await closed_books(stack, since)).bill
    assert [256, 256] == [len(one.embedding) for one in answer.data]
    assert "sandbox/embed" == answer.model == raw.headers["x-optimizer-model"]
    assert entry["cost_nano_usd"] == round(float(raw.headers["x-optimizer-cost-usd"]) * 10**9)
    assert entry["input_tokens"] == answer.usage.prompt_tokens


async def test_a_forced_tool_passes_through(client):
    tool = {
        "type": "function",
        "function": {
            "name": "note",
            "parameters": {
                "type": "object",
                "properties": {"text": {"type": "string"}},
                "required": ["text"],
            },
        },
    }
    answer = await client.chat.completions.create(
        model="auto", messages=QUESTION, tools=[tool], tool_choice="required"
    )

    assert "note" == answer.choices[0].message.tool_calls[0].function.name


async def test_the_models_can_be_listed(client):
    listed = {model.id async for model in await client.models.list()}

    assert {"sandbox/tiny", "sandbox/frontier"} <= listed


async def test_an_unknown_model_is_a_not_found_error(client):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="sandbox/huge", messages=QUESTION)

    assert "model_not_found" == caught.value.code


async def test_a_wrong_field_is_a_bad_request_error_that_names_it(client):
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="auto", messages=QUESTION, temperature=9)

    assert "temperature" == caught.value.param
