"""Our gRPC: closed to strangers, clear about failures, graceful when it stops."""

import asyncio
import time

import grpc
import orjson
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from optimizer.metrics.v1 import metrics_pb2_grpc
from prometheus_client import REGISTRY

from common import errors, grpc_client, trace
from common.grpc_client import call, open_channel, ready
from common.grpc_server import remaining_s
from common.settings import MIB
from common.wire_errors import CONNECTION_LOST, NEVER_SENT, failure_of
from tests.integration.common.grpc_stack import SNAPSHOT, STREAM, Stack, settings_with


async def raises(failure):
    raise failure


async def test_an_answer_arrives(stack):
    stack.metrics.work = lambda _: asyncio.sleep(0, b"answer")

    assert b"answer" == await stack.ask()


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.Invalid, "INVALID_ARGUMENT"),
        (errors.TooLarge, "INVALID_ARGUMENT"),
        (errors.Unauthenticated, "UNAUTHENTICATED"),
        (errors.Denied, "PERMISSION_DENIED"),
        (errors.NotFound, "NOT_FOUND"),
        (errors.Conflict, "ALREADY_EXISTS"),
        (errors.OverBudget, "RESOURCE_EXHAUSTED"),
        (errors.Unavailable, "UNAVAILABLE"),
        (errors.AllFailed, "ABORTED"),
        (errors.TimedOut, "DEADLINE_EXCEEDED"),
    ],
)
async def test_a_failure_arrives_as_it_was_raised(stack, kind, code):
    raised = kind("was für ein Pech", code="c", param="p", retry_after_s=1.5, billed=True)
    stack.metrics.work = lambda _: raises(raised)

    with pytest.raises(kind) as caught:
        await stack.ask()

    assert type(raised) is type(caught.value)
    assert vars(raised) == vars(caught.value)
    assert code == caught.value.__cause__.code().name


async def test_the_neighbour_logs_as_the_same_request_and_no_other_call_does(stack):
    request_id, parent = "019372b1-2222-7333-8444-555566667777", f"00-{'4b' * 16}-{'00f0' * 4}-01"

    async def logged(_):
        return orjson.dumps([structlog.contextvars.get_contextvars(), trace.metadata()])

    stack.metrics.work = logged
    with trace.traced(request_id, parent.encode()):
        within = orjson.loads(await stack.ask())
    outside = orjson.loads(await stack.ask())

    assert {"request_id": request_id, "trace_id": "4b" * 16} == within[0]
    assert {"traceparent": parent, "x-request-id": request_id} == dict(within[1])
    assert [{}, []] == outside


async def test_a_bug_is_an_internal_error_that_says_nothing_more(stack):
    stack.metrics.work = lambda _: raises(RuntimeError("postgresql://router:secret@db"))

    with pytest.raises(errors.Failure) as caught:
        await stack.ask()

    assert errors.Failure is type(caught.value)
    assert "internal error" == caught.value.message
    assert grpc.StatusCode.INTERNAL == caught.value.__cause__.code()
    assert "internal error" == caught.value.__cause__.details()


METHODS = [
    "/optimizer.metrics.v1.MetricsService/GetSnapshot",
    "/optimizer.router.v1.RouterService/StreamComplete",
    "/no.such.Service/AtAll",
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("arity", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer wrong"),),
        (("authorization", "right"),),
        (("authorization", ""),),
        (("authorization-bin", b"Bearer right"),),
    ],
)
async def test_a_stranger_is_turned_away(stack, method, arity, metadata):
    async with grpc.aio.insecure_channel(stack.server.target) as channel:
        # A stream sends nothing: what is written to an ended call confuses gRPC's own client.
        said = () if arity.startswith("stream") else (b"",)
        made = getattr(channel, arity)(method)(*said, timeout=5, metadata=metadata)

        assert grpc.StatusCode.UNAUTHENTICATED == await made.code()


async def test_an_unknown_method_is_unimplemented_to_those_we_know(stack):
    with pytest.raises(errors.Unavailable, match="not served"):
        await call(stack.channel.unary_unary(METHODS[2]), b"", timeout_s=5)


async def test_services_with_different_tokens_do_not_blame_the_client(stack):
    other = open_channel(stack.server.target, settings_with(internal_token="other"))

    with pytest.raises(errors.Unavailable) as caught:
        await call(metrics_pb2_grpc.MetricsServiceStub(other).GetSnapshot, SNAPSHOT, timeout_s=5)

    assert "misconfigured" == caught.value.code
    await other.close()


async def test_health_needs_no_token_and_tells_when_we_stop():
    stack = Stack(settings_with(drain_s=1))
    await stack.start()
    async with grpc.aio.insecure_channel(stack.server.target) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())

        assert health_pb2.HealthCheckResponse.SERVING == (await watch.read()).status

        stop = asyncio.create_task(stack.server.stop())
        assert health_pb2.HealthCheckResponse.NOT_SERVING == (await watch.read()).status
        watch.cancel()
        await stop


async def test_an_open_call_may_end_while_we_drain():
    stack = Stack(settings_with(drain_s=5))
    await stack.start()
    stack.connect()
    entered, leave = asyncio.Event(), asyncio.Event()

    async def work(_):
        entered.set()
        await leave.wait()
        return b"late"

    stack.metrics.work = work
    asked = asyncio.create_task(stack.ask())
    await entered.wait()
    stop = asyncio.create_task(stack.server.stop())
    await asyncio.sleep(0)
    leave.set()

    assert b"late" == await asked
    await asyncio.wait_for(stop, 2)
    await stack.channel.close()


async def test_a_call_that_outlasts_the_drain_is_cut(stack):
    entered = asyncio.Event()

    async def work(_):
        entered.set()
        await asyncio.Event().wait()

    stack.metrics.work = work
    asked = asyncio.create_task(stack.ask())
    await entered.wait()
    await stack.server.stop()

    with pytest.raises(errors.Unavailable) as caught:
        await asked
    assert CONNECTION_LOST == caught.value.code


async def test_the_server_keeps_a_tenth_of_the_callers_time(stack):
    async def work(context):
        return str(remaining_s(context)).encode()

    stack.metrics.work = work
    await stack.ask()  # connecting takes from the time as well

    assert 8 < float(await stack.ask(timeout_s=10)) < 9.5  # gRPC rounds deadlines
    assert 540 == float(await stack.ask(timeout_s=10_000))
    assert 60 == float((await stack.stub.GetSnapshot(SNAPSHOT)).json)


async def test_a_slow_answer_is_a_timeout(stack):
    stack.metrics.work = lambda _: asyncio.sleep(60)

    with pytest.raises(errors.TimedOut):
        await stack.ask(timeout_s=0.05)


async def test_a_message_above_the_limit_is_too_large(stack):
    await stack.server.stop()
    await stack.start(grpc_message_bytes=MIB)
    stack.connect()
    stack.metrics.work = lambda _: asyncio.sleep(0, b"x" * (MIB + 1))

    with pytest.raises(errors.TooLarge):
        await stack.ask()


async def test_a_stream_fails_with_our_failure_after_its_first_pieces(stack):
    stack.router.failure = errors.AllFailed("truncated", billed=True)
    pieces = 0

    with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 - the loop is the statement
        async for _ in stack.stream(STREAM, timeout=5):
            pieces += 1

    failure = failure_of(caught.value)
    assert 2 == pieces
    assert (errors.AllFailed, "truncated", True) == (
        type(failure),
        failure.message,
        failure.billed,
    )


async def test_a_stream_whose_client_goes_is_ended_at_once(stack):
    streamed = stack.stream(STREAM, timeout=60)
    await streamed.read()

    streamed.cancel()

    await asyncio.wait_for(stack.router.ended.wait(), 5)


async def test_a_call_to_nobody_waits_a_second_and_was_never_sent(stack):
    await stack.server.stop()

    for _ in range(2):
        started = time.perf_counter()
        with pytest.raises(errors.Unavailable) as caught:
            await stack.ask(timeout_s=60)

        assert NEVER_SENT == caught.value.code
        assert time.perf_counter() - started < 2


async def test_nobody_waits_longer_than_he_said(stack):
    await stack.server.stop()
    with pytest.raises(errors.Failure):
        await stack.ask(timeout_s=60)

    started = time.perf_counter()
    with pytest.raises(errors.Unavailable) as caught:
        await stack.ask(timeout_s=0.1)

    assert NEVER_SENT == caught.value.code
    assert time.perf_counter() - started < 0.5


async def test_a_restart_is_bridged(stack, monkeypatch):
    monkeypatch.setattr(grpc_client, "BRIDGE_S", 4)  # a slow machine restarts slowly
    await stack.ask()
    address = stack.server.target
    await stack.server.stop()
    asked = [asyncio.create_task(stack.ask()) for _ in range(5)]
    await asyncio.sleep(0.3)

    await stack.start(grpc_listen=address)

    assert [b""] * 5 == await asyncio.gather(*asked)


async def test_a_restart_is_bridged_that_nobody_had_noticed(stack, monkeypatch):
    monkeypatch.setattr(grpc_client, "BRIDGE_S", 4)
    told = iter([grpc.ChannelConnectivity.READY])
    state = stack.channel.get_state
    monkeypatch.setattr(
        stack.channel, "get_state", lambda try_to_connect: next(told, state(try_to_connect))
    )
    address = stack.server.target
    await stack.server.stop()
    asked = asyncio.create_task(stack.ask())
    await asyncio.sleep(0.1)

    await stack.start(grpc_listen=address)

    assert b"" == await asked


async def test_what_a_neighbour_refused_is_not_asked_again(stack):
    asked = []

    async def refuse(_):
        asked.append(1)
        raise errors.Unavailable("failed to connect to the database")

    stack.metrics.work = refuse
    with pytest.raises(errors.Unavailable, match="database"):
        await stack.ask()

    assert [1] == asked


async def test_waiting_for_a_stream_to_be_possible_is_bounded(stack):
    await stack.server.stop()
    with pytest.raises(errors.Failure):
        await stack.ask(timeout_s=0.1)

    assert not await ready(stack.channel, within_s=0.05)


async def test_calls_are_measured_by_method_and_code(stack):
    def count(code):
        return REGISTRY.get_sample_value(
            "optimizer_rpc_duration_seconds_count", {"method": METHODS[0], "code": code}
        )

    before = count("OK") or 0, count("NOT_FOUND") or 0
    await stack.ask()
    stack.metrics.work = lambda _: raises(errors.NotFound("x"))
    with pytest.raises(errors.NotFound):
        await stack.ask()

    async with asyncio.timeout(5):  # they are counted after the answer has gone
        while (before[0] + 1, before[1] + 1) != (count("OK"), count("NOT_FOUND")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_calls_are_spread_over_replicas():
    stacks = [Stack(settings_with()) for _ in range(2)]
    for number, stack in enumerate(stacks):
        await stack.start()
        stack.metrics.work = lambda _, n=number: asyncio.sleep(0, str(n).encode())
    addresses = ",".join(stack.server.target for stack in stacks)
    channel = open_channel(f"ipv4:{addresses}", stacks[0].settings)
    stub = metrics_pb2_grpc.MetricsServiceStub(channel)
    await ready(channel)

    async with asyncio.timeout(5):
        heard = set()
        while heard != {b"0", b"1"}:
            heard.add((await call(stub.GetSnapshot, SNAPSHOT, timeout_s=5)).json)

    await channel.close()
    for stack in stacks:
        await stack.server.stop()
