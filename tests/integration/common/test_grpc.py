"""Our gRPC: closed to strangers, clear about failures, graceful when it stops."""

import asyncio
import os
import socket
import subprocess
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from optimizer.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from optimizer.router.v1 import router_pb2, router_pb2_grpc
from prometheus_client import REGISTRY

from common import errors
from common.grpc_client import call, open_channel, ready
from common.grpc_server import GrpcServer, remaining_s
from common.settings import MIB, ServiceSettings
from common.wire_errors import CONNECTION_LOST, NEVER_SENT, failure_of

SNAPSHOT = metrics_pb2.GetSnapshotRequest()
STREAM = router_pb2.StreamCompleteRequest()


class Metrics(metrics_pb2_grpc.MetricsServiceServicer):
    """Does what a test tells it to."""

    def __init__(self):
        self.work = self.nothing

    async def nothing(self, context):
        return b""

    async def GetSnapshot(self, request, context):  # noqa: N802
        return metrics_pb2.GetSnapshotResponse(json=await self.work(context))


class Router(router_pb2_grpc.RouterServiceServicer):
    def __init__(self):
        self.ended = asyncio.Event()
        self.failure = None

    async def StreamComplete(self, request, context):  # noqa: N802
        try:
            for _ in range(2):
                yield router_pb2.StreamCompleteResponse()
            if self.failure:
                raise self.failure
            await asyncio.Event().wait()
        finally:
            self.ended.set()


class Stack:
    def __init__(self, settings):
        self.settings = settings
        self.metrics, self.router = Metrics(), Router()

    async def start(self, **changed):
        settings = self.settings.model_copy(update=changed)
        self.server = GrpcServer(
            settings,
            [
                lambda s: metrics_pb2_grpc.add_MetricsServiceServicer_to_server(self.metrics, s),
                lambda s: router_pb2_grpc.add_RouterServiceServicer_to_server(self.router, s),
            ],
        )
        await self.server.start()
        return self.server.target

    def connect(self):
        self.channel = open_channel(self.server.target, self.settings)
        self.stub = metrics_pb2_grpc.MetricsServiceStub(self.channel)
        self.stream = router_pb2_grpc.RouterServiceStub(self.channel).StreamComplete

    async def ask(self, timeout_s=5):
        return (await call(self.stub.GetSnapshot, SNAPSHOT, timeout_s=timeout_s)).json


def settings_with(**other):
    usual = {
        "database_url": "postgresql://unused",
        "internal_token": "right",
        "grpc_listen": "127.0.0.1:0",
        "drain_s": 0,
    }
    return ServiceSettings(**usual | other)


@pytest.fixture
async def stack():
    made = Stack(settings_with())
    await made.start()
    made.connect()
    yield made
    await made.channel.close()
    await made.server.stop()


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
        made = getattr(channel, arity)(method)(
            iter([b""]) if arity.startswith("stream") else b"", timeout=5, metadata=metadata
        )

        assert grpc.StatusCode.UNAUTHENTICATED == await made.code()


async def test_a_stranger_who_sends_nothing_is_turned_away_too(stack):
    async with grpc.aio.insecure_channel(stack.server.target) as channel:
        silent = channel.stream_stream(METHODS[1])(timeout=5)

        assert grpc.StatusCode.UNAUTHENTICATED == await silent.code()


async def test_an_unknown_method_is_unimplemented_to_those_we_know(stack):
    with pytest.raises(errors.Unavailable, match="not served"):
        await call(stack.channel.unary_unary(METHODS[2]), b"", timeout_s=5)


async def test_services_with_different_tokens_do_not_blame_the_client(stack):
    other = open_channel(stack.server.target, settings_with(internal_token="other"))

    with pytest.raises(errors.Unavailable) as caught:
        await call(metrics_pb2_grpc.MetricsServiceStub(other).GetSnapshot, SNAPSHOT, timeout_s=5)

    assert "misconfigured" == caught.value.code
    await other.close()


async def test_health_needs_no_token_and_tells_when_we_stop(stack):
    async with grpc.aio.insecure_channel(stack.server.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())

        assert health_pb2.HealthCheckResponse.SERVING == (await watch.read()).status

        stop = asyncio.create_task(stack.server.stop())
        assert health_pb2.HealthCheckResponse.NOT_SERVING == (await watch.read()).status
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

    assert 0.85 < float(await stack.ask(timeout_s=1)) <= 0.9
    assert 539 < float(await stack.ask(timeout_s=10_000)) <= 540
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
    with pytest.raises(errors.Failure):
        await stack.ask(timeout_s=0.1)

    assert time.perf_counter() - started < 0.5


async def test_a_restart_within_a_second_is_bridged(stack):
    await stack.ask()
    address = stack.server.target
    await stack.server.stop()
    asked = [asyncio.create_task(stack.ask()) for _ in range(5)]
    await asyncio.sleep(0.3)

    await stack.start(grpc_listen=address)

    assert [b""] * 5 == await asyncio.gather(*asked)


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

    assert (before[0] + 1, before[1] + 1) == (count("OK"), count("NOT_FOUND"))


async def test_a_unix_socket_serves_and_belongs_to_us_alone(short_folder):
    path = short_folder / "a b.sock"
    stack = Stack(settings_with(grpc_listen=f"unix:{path}"))
    await stack.start()
    stack.connect()

    assert b"" == await stack.ask()
    assert 0o600 == path.stat().st_mode & 0o777
    await stack.channel.close()
    await stack.server.stop()


async def test_a_socket_that_a_crash_left_behind_is_replaced(short_folder):
    path = short_folder / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    stack = Stack(settings_with(grpc_listen=f"unix:{path}"))
    await stack.start()
    stack.connect()

    assert b"" == await stack.ask()
    await stack.channel.close()
    await stack.server.stop()


async def test_a_socket_in_use_is_not_taken_over(short_folder):
    path = short_folder / "live.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(errors.Unavailable, match="another process"):
            await Stack(settings_with(grpc_listen=f"unix:{path}")).start()


async def test_a_file_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")

    with pytest.raises(errors.Invalid, match="no socket"):
        await Stack(settings_with(grpc_listen=f"unix:{path}")).start()

    assert "precious" == path.read_text()


@pytest.mark.parametrize("name", ["x" * 108, "ü" * 54])
async def test_a_path_that_no_socket_can_have_is_refused(name):
    with pytest.raises(errors.Invalid, match="107 bytes"):
        await Stack(settings_with(grpc_listen=f"unix:/{name}")).start()


async def test_a_taken_port_is_refused(stack):
    with pytest.raises(errors.Unavailable, match="taken"):
        await Stack(settings_with(grpc_listen=stack.server.target)).start()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(  # noqa: S603 - nobody else's words
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


async def test_with_a_certificate_the_wire_is_closed_to_plain_text(certificate):
    stack = Stack(
        settings_with(
            grpc_tls_cert_path=certificate / "cert.pem",
            grpc_tls_key_path=certificate / "key.pem",
            grpc_tls_ca_path=certificate / "cert.pem",
        )
    )
    await stack.start()
    stack.connect()

    assert b"" == await stack.ask()

    plain = open_channel(stack.server.target, settings_with())
    with pytest.raises(errors.Unavailable):
        await call(metrics_pb2_grpc.MetricsServiceStub(plain).GetSnapshot, SNAPSHOT, timeout_s=2)
    await plain.close()
    await stack.channel.close()
    await stack.server.stop()


async def test_a_certificate_that_is_not_there_is_named(tmp_path):
    missing = settings_with(grpc_tls_cert_path=tmp_path / "c", grpc_tls_key_path=tmp_path / "k")

    with pytest.raises(errors.Invalid, match=os.fspath(tmp_path / "k")):
        await Stack(missing).start()


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
