"""Sending to a collector: what is kept, what is dropped, and that a bad one costs little."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from aiohttp import web

from common import otlp, telemetry
from common.errors import Invalid
from common.telemetry import SPANS, exporting
from tests.otlp_receiver import otlp_receiver

TRACE = "4b" * 16
CALLER = "00f0" * 4
KEPT, UNKEPT = f"00-{TRACE}-{CALLER}-01", f"00-{'5c' * 16}-{CALLER}-00"


@pytest.fixture(autouse=True)
def no_thread_goes_on(monkeypatch):
    """Wait for what a bounded end leaves behind: it counts, and draws numbers, in later tests."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("Otel"):
            thread.join(10)
            assert not thread.is_alive(), thread.name


@pytest.fixture
async def receiver(monkeypatch):
    async with otlp_receiver() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


@pytest.fixture
def said(monkeypatch):
    """What the log is told, in order."""
    lines = []

    class Log:
        def info(self, event, **_):
            lines.append(event)

        def warning(self, event, *, reason, **_):
            lines.append((event, bool(reason)))

    monkeypatch.setattr(otlp, "log", Log())
    return lines


def counted(result):
    return SPANS.labels(result)._value.get()


def tell(parent=KEPT, **about):
    span = telemetry.listening().begin("work", parent=parent, attributes=about)
    span.end({}, error="broken" if "error" in about else "")
    return span


async def test_what_waits_is_sent_at_the_end_in_the_caller_s_trace(receiver):
    async with exporting("router"):
        below = tell()
        root = tell(parent="")
        telemetry.listening().observe("gen_ai.client.operation.duration", 2, {"model": "m"})

    first, second = receiver.spans
    assert ("router", TRACE, CALLER) == (first.service, first.trace_id, first.parent)
    assert below.traceparent == f"00-{TRACE}-{first.span_id}-01"
    assert ("", root.trace_id) == (second.parent, second.trace_id)
    assert [{"model": "m", "unit": "s", "sum": 2}] == receiver.metrics[
        "gen_ai.client.operation.duration"
    ]
    assert telemetry.listening() is None


async def test_a_trace_that_its_caller_does_not_keep_goes_on_unkept(receiver):
    async with exporting("router"):
        span = tell(parent=UNKEPT)

    assert [] == receiver.spans
    assert UNKEPT.startswith(f"00-{span.trace_id}-")
    assert span.traceparent.endswith("-00")


async def test_a_process_may_have_a_name_of_its_own(receiver, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")

    async with exporting("router"):
        tell()

    assert ["mine"] == [span.service for span in receiver.spans]


async def test_one_that_is_stuck_costs_what_does_not_fit_and_a_bounded_end(
    receiver, monkeypatch, said
):
    monkeypatch.setattr(otlp, "FLUSH_S", 0.2)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "512")
    stuck = asyncio.Event()

    async def hangs():
        await stuck.wait()
        return web.Response()

    receiver.answer = hangs
    dropped = counted("dropped")
    async with exporting("router"):
        for _ in range(2_000):
            tell()
        left = time.monotonic()

    assert 2_000 - 2 * 512 <= counted("dropped") - dropped <= 2_000 - 512
    assert time.monotonic() - left < 1
    stuck.set()


async def test_one_that_is_away_is_said_once_and_so_is_its_return(receiver, monkeypatch, said):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    refused = counted("refused")

    async def refuses():
        return web.Response(status=500, body=b"\0\xff garbage")

    receiver.answer = refuses
    async with exporting("router"):
        for n in range(1, 4):
            tell()
            await receiver.until(lambda n=n: len(receiver.bodies) >= n)
        receiver.answer = None
        tell()
        await receiver.until(lambda: receiver.spans)

    assert 3 == counted("refused") - refused
    assert [("otlp_fails", True), "otlp_works_again"] == said


async def test_nobody_there_at_all_does_not_keep_a_service_from_ending(monkeypatch, said):
    monkeypatch.setattr(otlp, "FLUSH_S", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")

    async with exporting("router"):
        tell()
        left = time.monotonic()

    assert time.monotonic() - left < 1


@pytest.mark.parametrize(
    ("endpoint", "disabled"), [(None, "false"), ("", "false"), ("http://127.0.0.1:1", "true")]
)
async def test_who_asks_for_nothing_gets_nothing(endpoint, disabled, monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    if endpoint is not None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_SDK_DISABLED", disabled)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")  # of no interest then

    async with exporting("router"):
        assert telemetry.listening() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXPORTER_OTLP_ENDPOINT", "hush:4318"),
        ("EXPORTER_OTLP_PROTOCOL", "hush"),
        ("BSP_MAX_QUEUE_SIZE", "1"),
    ],
)
async def test_a_wrong_variable_is_refused_at_start_by_name(receiver, monkeypatch, name, value):
    monkeypatch.setenv(f"OTEL_{name}", value)

    with pytest.raises(Invalid, match=f"OTEL_{name}") as refused:
        async with exporting("router"):
            pass

    assert "hush" not in str(refused.value)


def test_what_few_ask_for_is_imported_when_they_do():
    few = (
        "common.otlp",
        "requests",
        "opentelemetry.exporter",
        "opentelemetry.sdk.trace",
        "pyarrow",
    )
    code = (
        "import sys, services.gateway.__main__, services.router.__main__\n"
        f"print([m for m in sys.modules if (m + '.').startswith({tuple(f'{m}.' for m in few)})])"
    )

    told = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, check=True
    )

    assert b"[]" == told.stdout.strip()
