"""Failures keep their meaning on every wire."""

import grpc
import orjson
import pytest
from grpc.aio import AioRpcError, Metadata

from common import errors
from common.wire_errors import (
    CONNECTION_LOST,
    FAILURE_METADATA,
    NEVER_SENT,
    failure_of,
    grpc_status,
    http_status,
)

KINDS = [
    (errors.Invalid, "INVALID_ARGUMENT", 400),
    (errors.TooLarge, "INVALID_ARGUMENT", 413),
    (errors.Unauthenticated, "UNAUTHENTICATED", 401),
    (errors.Denied, "PERMISSION_DENIED", 403),
    (errors.NotFound, "NOT_FOUND", 404),
    (errors.Conflict, "ALREADY_EXISTS", 409),
    (errors.OverBudget, "RESOURCE_EXHAUSTED", 429),
    (errors.Unavailable, "UNAVAILABLE", 503),
    (errors.AllFailed, "ABORTED", 502),
    (errors.TimedOut, "DEADLINE_EXCEEDED", 504),
    (errors.Failure, "INTERNAL", 500),
]


def rpc_error(code, details="10.0.0.7:50051 said so", trailing=()):
    return AioRpcError(code, Metadata(), Metadata(*trailing), details)


@pytest.mark.parametrize(("kind", "code", "status"), KINDS)
def test_every_kind_has_its_code_and_status(kind, code, status):
    assert code == grpc_status(kind("m"))[0].name
    assert status == http_status(kind("m"), openai=True) == http_status(kind("m"), openai=False)


@pytest.mark.parametrize(("kind", "code", "status"), KINDS)
@pytest.mark.parametrize(
    "details", [{}, {"code": "c", "param": "p", "retry_after_s": 2.5, "billed": True}]
)
def test_a_failure_survives_the_wire(kind, code, status, details):
    sent = kind("message", **details)
    status_code, trailing = grpc_status(sent)

    received = failure_of(rpc_error(status_code, sent.message, trailing))

    assert kind is type(received)
    assert vars(sent) == vars(received)


def test_a_kind_of_a_kind_travels_as_its_parent():
    class Special(errors.NotFound):
        pass

    code, trailing = grpc_status(Special("m"))

    assert grpc.StatusCode.NOT_FOUND == code
    assert errors.NotFound is type(failure_of(rpc_error(code, "m", trailing)))


def test_a_field_out_of_bounds_is_422_outside_the_openai_wire():
    failure = errors.Invalid("too long", param="prompt")

    assert 422 == http_status(failure, openai=False)
    assert 400 == http_status(failure, openai=True)
    assert 413 == http_status(errors.TooLarge("m", param="p"), openai=False)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.TimedOut),
        (grpc.StatusCode.CANCELLED, errors.Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.TooLarge),
        (grpc.StatusCode.UNIMPLEMENTED, errors.Unavailable),
        (grpc.StatusCode.UNAUTHENTICATED, errors.Unavailable),
        (grpc.StatusCode.INTERNAL, errors.Failure),
        (grpc.StatusCode.UNKNOWN, errors.Failure),
    ],
)
def test_what_the_transport_says_is_translated_and_not_repeated(code, kind):
    failure = failure_of(rpc_error(code))

    assert kind is type(failure)
    assert "10.0.0.7" not in failure.message


@pytest.mark.parametrize(
    ("details", "code"),
    [
        ("failed to connect to all addresses; last error: ...", NEVER_SENT),
        ("DNS resolution failed for router", NEVER_SENT),
        ("Socket closed", CONNECTION_LOST),
        ("recvmsg:Connection reset by peer", CONNECTION_LOST),
        ("keepalive timeout", CONNECTION_LOST),
        ("", CONNECTION_LOST),
    ],
)
def test_a_call_that_may_have_arrived_is_told_from_one_that_cannot(details, code):
    assert code == failure_of(rpc_error(grpc.StatusCode.UNAVAILABLE, details)).code


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"null"])
def test_details_that_cannot_be_read_are_left(garbage):
    error = rpc_error(grpc.StatusCode.UNAVAILABLE, "x", [(FAILURE_METADATA, garbage)])

    assert errors.Unavailable is type(failure_of(error))


def test_details_of_a_newer_neighbour_are_an_internal_error_with_its_message():
    details = orjson.dumps({"kind": "Tomorrow", "code": "new", "retry_after_s": "soon"})
    error = rpc_error(grpc.StatusCode.ABORTED, "said", [(FAILURE_METADATA, details)])

    failure = failure_of(error)

    assert (errors.Failure, "said", "new", None) == (
        type(failure),
        failure.message,
        failure.code,
        failure.retry_after_s,
    )
