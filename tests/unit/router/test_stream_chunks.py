"""Whatever a provider streams, the gateway gets one shape of it."""

import json

import pytest

from services.router.domain.provider_failure import ProviderFailure
from services.router.domain.reply import Naming
from services.router.domain.request import Usage
from services.router.providers.stream import ChunkNormaliser
from tests.router_builders import a_model

LARGE = a_model("acme/large", upstream="acme/large")
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def a_chunk(delta=None, *, finish=None, index=0, **fields):
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "model": "acme/large",
        "choices": [choice],
    } | fields


def normalised(*chunks, wants_usage=False, naming=None):
    """Return (what may leave at once, what is held back, the facts)."""
    normaliser = ChunkNormaliser(naming or Naming(LARGE), wants_usage=wants_usage)
    for chunk in chunks:
        normaliser.add(json.loads(json.dumps(chunk)), json.dumps(chunk).encode())
    ready = normaliser.take()
    return (
        [json.loads(c) for c in ready],
        [json.loads(c) for c in normaliser.end()],
        normaliser.facts,
    )


def deltas(chunks):
    return [c["delta"] for chunk in chunks for c in chunk["choices"]]


def reasons(chunks):
    return [c["finish_reason"] for chunk in chunks for c in chunk["choices"]]


def test_a_regular_chunk_leaves_as_the_bytes_it_came_in():
    raw = (
        b'{"id":"c-1",  "model":"acme/large","new":1.50,'
        b'"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}'
    )
    normaliser = ChunkNormaliser(Naming(LARGE), wants_usage=False)

    normaliser.add(json.loads(raw), raw)

    assert normaliser.take() == [raw]


def test_the_first_delta_says_the_role_and_no_later_one_does():
    said = {"role": "assistant", "content": "a"}

    ready, tail, _ = normalised(a_chunk({"content": "a"}), a_chunk(said), a_chunk(finish="stop"))

    assert deltas(ready) == [{"content": "a", "role": "assistant"}, {"content": "a"}]
    assert deltas(tail) == [{}]


def test_the_finish_is_held_back_until_the_end():
    ready, tail, facts = normalised(a_chunk({"content": "a"}), a_chunk(finish="length"))

    assert reasons(ready) == [None]
    assert reasons(tail) == ["length"]
    assert facts.finish_reason == "length"


def test_a_second_finish_is_dropped():
    ready, tail, _ = normalised(
        a_chunk({"content": "a"}), a_chunk(finish="stop"), a_chunk(finish="length")
    )

    assert reasons(ready) + reasons(tail) == [None, "stop"]


def test_content_beside_the_finish_leaves_before_it():
    ready, tail, _ = normalised(a_chunk({"content": "a"}, finish="stop"))

    assert (deltas(ready), reasons(ready)) == ([{"content": "a", "role": "assistant"}], [None])
    assert (deltas(tail), reasons(tail)) == ([{}], ["stop"])


def test_content_after_the_finish_still_comes_before_it():
    ready, tail, _ = normalised(
        a_chunk({"content": "a"}), a_chunk(finish="stop"), a_chunk({"content": "b"})
    )

    assert "".join(d["content"] for d in deltas(ready)) == "ab"
    assert reasons(tail) == ["stop"]


def test_each_choice_has_its_own_role_and_finish():
    ready, tail, _ = normalised(
        a_chunk({"content": "a"}),
        a_chunk({"content": "b"}, index=1),
        a_chunk(finish="stop"),
        a_chunk({"content": "c"}, index=1),
        a_chunk(finish="length", index=1),
    )

    assert [d.get("role") for d in deltas(ready)] == ["assistant", "assistant", None]
    assert reasons(tail) == ["stop", "length"]


def test_usage_comes_last_and_alone_if_the_client_asked():
    end = a_chunk(choices=[], usage=USAGE)

    ready, tail, facts = normalised(
        a_chunk({"content": "a"}), a_chunk(finish="stop"), end, wants_usage=True
    )

    assert [c.get("usage") for c in [*ready, *tail]] == [None, None, USAGE]
    assert tail[-1]["choices"] == []
    assert facts.usage == Usage(7, 3)


@pytest.mark.parametrize(
    "chunks",
    [
        [a_chunk({"content": "a"}), a_chunk(finish="stop"), a_chunk(choices=[], usage=USAGE)],
        [a_chunk({"content": "a"}), a_chunk(finish="stop", usage=USAGE)],
        [a_chunk({"content": "a"}), a_chunk(finish="stop", x_groq={"usage": USAGE})],
        [a_chunk({"content": "a"}, usage=USAGE), a_chunk(finish="stop", usage=None)],
    ],
)
def test_usage_is_read_wherever_it_rides_and_hidden_if_not_asked_for(chunks):
    ready, tail, facts = normalised(*chunks)

    assert facts.usage == Usage(7, 3)
    assert [c for c in [*ready, *tail] if "usage" in c] == []
    assert all(c["choices"] for c in [*ready, *tail])


def test_no_usage_is_invented():
    _, tail, facts = normalised(a_chunk({"content": "a"}), a_chunk(finish="stop"), wants_usage=True)

    assert facts.usage is None
    assert len(tail) == 1


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 3},
        {"prompt_tokens": "7", "completion_tokens": 3},
        {"prompt_tokens": 7.5, "completion_tokens": 3},
        {"prompt_tokens": 10**12, "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 3},
        {},
    ],
)
def test_absurd_usage_is_no_usage(usage):
    _, _, facts = normalised(a_chunk({"content": "a"}), a_chunk(finish="stop", usage=usage))

    assert facts.usage is None


def test_our_name_stands_for_the_providers():
    large, small = a_model("acme/large", upstream="l"), a_model("acme/small", upstream="l-mini")
    naming = Naming(large, {"l": large, "l-mini": small})
    said = [
        a_chunk({"content": "a"}, model="l-mini-2026"),
        a_chunk(finish="stop", model="l-mini-2026"),
    ]

    ready, tail, facts = normalised(*said, naming=naming)

    assert {c["model"] for c in [*ready, *tail]} == {"acme/small"}
    assert naming.answered(facts.answered_word) is small


def test_fields_that_nobody_knows_pass_through():
    ready, _, _ = normalised(
        a_chunk({"content": "a", "thing": [1]}, tomorrow={"x": 1}), a_chunk(finish="stop")
    )

    assert ready[0]["tomorrow"] == {"x": 1}
    assert ready[0]["choices"][0]["delta"]["thing"] == [1]


def test_an_empty_choice_list_is_passed_over():
    ready, _, _ = normalised(
        a_chunk(choices=[], prompt_filter_results=[]),
        a_chunk({"content": "a"}),
        a_chunk(finish="stop"),
    )

    assert len(ready) == 1


@pytest.mark.parametrize(
    ("chunks", "kind"),
    [
        ([], "garbage"),
        ([a_chunk(choices=[])], "garbage"),
        ([a_chunk({"content": ""}), a_chunk(finish="stop")], "garbage"),
        ([a_chunk({"content": " \n"}), a_chunk(finish="stop")], "garbage"),
        ([a_chunk({"content": "a"})], "truncated"),
        (
            [a_chunk({"content": "a"}), a_chunk({"content": "a"}, index=1, finish="stop")],
            "truncated",
        ),
        ([[]], "garbage"),
        ([7], "garbage"),
        ([{}], "garbage"),
        ([{"choices": 7}], "garbage"),
        ([{"choices": [7]}], "garbage"),
        ([a_chunk({"content": "a"}), {"error": {"message": "boom", "code": 502}}], "overloaded"),
        ([{"error": {"message": "Rate limit", "type": "rate_limit_error"}}], "rate_limited"),
    ],
)
def test_what_is_no_whole_answer_is_a_failure(chunks, kind):
    with pytest.raises(ProviderFailure) as caught:
        normalised(*chunks)

    assert caught.value.kind == kind


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls"])
def test_an_answer_that_was_cut_short_may_be_blank(reason):
    ready, tail, _ = normalised(a_chunk({"content": ""}), a_chunk(finish=reason))

    assert reasons(tail) == [reason]
    assert len(ready) == 1


def test_content_is_noticed_before_it_leaves():
    normaliser = ChunkNormaliser(Naming(LARGE), wants_usage=False)

    normaliser.add(a_chunk({"role": "assistant", "content": ""}))
    normaliser.add(a_chunk({"content": " "}))
    before = normaliser.has_content
    normaliser.add(a_chunk({"content": "a"}))

    assert (before, normaliser.has_content) == (False, True)
