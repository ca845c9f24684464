"""What of a second answer may follow a first one that broke off."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.agreement import Agreement, Disagreement


def a_chunk(text=None, *, finish=None, identifier="second", **delta):
    content = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": {**content, **delta}, "finish_reason": finish}
    return orjson.dumps({"id": identifier, "choices": [choice]})


def texts(batch):
    return [orjson.loads(chunk)["choices"][0]["delta"].get("content") for chunk in batch]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["one ", "two ", "three"], ["three"]),
        (["one two three"], ["three"]),
        (["one", " two thr", "ee"], ["thr", "ee"]),
        (["o", "n", "e two ", "three"], ["three"]),
        (["one two "], []),
    ],
)
def test_only_what_is_new_is_let_through(pieces, expected):
    agreement = Agreement("one two ", "first")

    told = agreement.beyond([a_chunk(piece) for piece in pieces])

    assert expected == texts(told)
    assert agreement.complete


@pytest.mark.parametrize("pieces", [["two"], ["one", " too"], ["one ", "tw0 three"], [" one two "]])
def test_another_answer_is_never_let_through(pieces):
    with pytest.raises(Disagreement):
        Agreement("one two ", "first").beyond([a_chunk(piece) for piece in pieces])


@given(text=st.text(), cut=st.integers(0, 50), data=st.data())
def test_however_it_comes_in_pieces_nothing_is_lost_and_nothing_said_twice(text, cut, data):
    said, pieces, rest = text[:cut], [], text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces, rest = [*pieces, rest[:size]], rest[size:]
    agreement = Agreement(said, "first")

    told = agreement.beyond([a_chunk(piece) for piece in pieces])

    assert text == said + "".join(texts(told))


@given(said=st.text("ab", min_size=1), text=st.text("ab"))
def test_only_the_same_beginning_agrees(said, text):
    agreement = Agreement(said, "first")
    try:
        agreement.beyond([a_chunk(letter) for letter in text])
        agrees = agreement.complete
    except Disagreement:
        agrees = False

    assert text.startswith(said) == agrees


def test_something_else_than_text_is_another_answer():
    with pytest.raises(Disagreement):
        Agreement("one", "first").beyond([a_chunk(None, tool_calls=[{"index": 0}])])


def test_a_shorter_answer_is_not_complete():
    agreement = Agreement("one two ", "first")
    agreement.beyond([a_chunk("one")])

    assert not agreement.complete


def test_the_stream_keeps_its_name_and_says_its_role_once():
    agreement = Agreement("one ", "first")

    (new,) = agreement.beyond([a_chunk("", role="assistant"), a_chunk("one two")])

    assert "first" == orjson.loads(new)["id"]
    assert {"content": "two"} == orjson.loads(new)["choices"][0]["delta"]


def test_ends_and_usage_pass():
    agreement = Agreement("one", "first")
    usage = orjson.dumps({"id": "second", "choices": [], "usage": {"prompt_tokens": 1}})

    told = agreement.beyond([a_chunk("one"), a_chunk(finish="stop"), usage])

    assert ["stop", None] == [
        next((c["finish_reason"] for c in orjson.loads(chunk)["choices"]), None) for chunk in told
    ]
