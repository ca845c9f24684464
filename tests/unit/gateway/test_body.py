"""Bodies: bounded while they arrive, strict when they are read."""

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from common.errors import Failure, Invalid, TooLarge
from services.gateway.api.body import (
    MAX_DEPTH,
    BodyReader,
    ClientGone,
    parse_form,
    parse_object,
)


class Form(BaseModel):
    name: str = Field(min_length=1)
    size: int = 1


def arriving(*messages):
    waiting = list(messages)

    async def receive():
        return waiting.pop(0)

    return receive


def piece(body: bytes, *, more: bool = False):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_pieces_is_put_together():
    receive = arriving(piece(b"a", more=True), piece(b"", more=True), piece(b"b"))

    assert await BodyReader(2, wait_s=5)(receive) == b"ab"


@pytest.mark.parametrize(
    "messages", [[piece(b"abc")], [piece(b"a", more=True), piece(b"bc", more=True)]]
)
async def test_a_body_is_bounded_while_it_arrives(messages):
    with pytest.raises(TooLarge):
        await BodyReader(2, wait_s=5)(arriving(*messages))


async def test_a_client_may_go_before_the_end():
    with pytest.raises(ClientGone):
        await BodyReader(2, wait_s=5)(arriving(piece(b"a", more=True), {"type": "http.disconnect"}))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_clear_failure(raw):
    with suppress(Invalid):
        assert isinstance(parse_object(raw), dict)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_a_nul_is_found_wherever_it_hides(value):
    raw = orjson.dumps({"x": value})
    hides = "\x00" in _texts(value)

    if not hides:
        assert parse_object(raw) == {"x": value}
        return
    with pytest.raises(Invalid, match="NUL"):
        parse_object(raw)


def _texts(value) -> str:
    if isinstance(value, dict):
        return "".join(key + _texts(child) for key, child in value.items())
    if isinstance(value, list):
        return "".join(map(_texts, value))
    return value if isinstance(value, str) else ""


def test_nesting_is_bounded():
    fine = b'{"x":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
    deep = b'{"x":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1)

    parse_object(fine)
    with pytest.raises(Invalid, match="levels deep"):
        parse_object(deep)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"{}", "name"),
        (b'{"name":""}', "name"),
        (b'{"name":5}', "name"),
        (b'{"name":"n","size":"1"}', "size"),
        (b'{"name":"n","size":true}', "size"),
        (b'{"name":"n","size":1.0}', "size"),
    ],
)
def test_a_form_turns_nothing_into_something_else(raw, param):
    with pytest.raises(Failure) as refused:
        parse_form(Form, raw)

    assert param == refused.value.param
    assert param in refused.value.message
