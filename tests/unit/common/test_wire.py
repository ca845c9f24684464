"""Reading fields off the wire."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Invalid
from common.wire import json_field, uuid_field

SOME = "0198c0de-0000-7000-8000-000000000001"


def test_a_uuid_is_read_in_either_case():
    assert UUID(SOME) == uuid_field(SOME, "id") == uuid_field(SOME.upper(), "id")


@pytest.mark.parametrize(
    "value",
    ["", "x", SOME.replace("-", ""), f"{{{SOME}}}", f"urn:uuid:{SOME}", SOME + "0", "é" * 36],
)
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(Invalid, match="request_id") as caught:
        uuid_field(value, "request_id")

    assert "request_id" == caught.value.param


def test_a_json_object_is_read_and_nothing_is_an_empty_one():
    assert {"a": [1]} == json_field(b'{"a": [1]}', "parameters")
    assert {} == json_field(b"", "parameters")


@given(st.binary(min_size=1, max_size=50))
def test_any_other_bytes_are_an_object_or_refused_by_name(value):
    try:
        assert isinstance(json_field(value, "parameters"), dict)
    except Invalid as refusal:
        assert "parameters" == refusal.param  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    "value", [b"[]", b"null", b"1", b"{", b"\xff", b'{"a": NaN}', b"[" * 5000, b'"\\ud800"']
)
def test_what_is_no_object_is_refused(value):
    with pytest.raises(Invalid, match="parameters"):
        json_field(value, "parameters")
