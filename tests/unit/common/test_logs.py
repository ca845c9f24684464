"""Logs: JSON lines, with the request's id, without secrets, and never an exception."""

import json
import subprocess
import sys

import pytest
from pydantic import SecretStr

from common.logs import redact, setup_logs

PROGRAM = """
import logging, structlog
from common.logs import setup_logs

setup_logs("router", "info")
log = structlog.get_logger()
structlog.contextvars.bind_contextvars(request_id="r1")
log.debug("unheard")
log.info("heard", tokens=3, odd={1: object}, lone="\\ud800", big=2**70)
logging.getLogger("asyncpg").warning("from %s", "postgresql://a:hush@b/c")
try:
    raise ValueError("Bearer hush")
except ValueError:
    log.exception("caught")
"""


@pytest.fixture(scope="module")
def lines():
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert "" == done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_line_is_one_event_with_its_service_and_request(lines):
    assert ["heard", "from postgresql://a:[hidden]@b/c", "caught"] == [x["event"] for x in lines]
    assert {"router"} == {line["service"] for line in lines}
    assert {"r1"} == {line["request_id"] for line in lines}
    assert ["info", "warning", "error"] == [line["level"] for line in lines]


def test_libraries_are_named(lines):
    assert "asyncpg" == lines[1]["logger"]


def test_a_traceback_is_kept_and_cleaned(lines):
    assert "ValueError: Bearer [hidden]" in lines[2]["exception"]
    assert "Traceback" in lines[2]["exception"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"api_key": "abc"}, {"api_key": "[hidden]"}),
        ({"internal_token": "abc"}, {"internal_token": "[hidden]"}),
        ({"Authorization": "abc"}, {"Authorization": "[hidden]"}),
        ({"headers": {"x-api-key": "abc"}}, {"headers": {"x-api-key": "[hidden]"}}),
        ({"url": "redis://:abc@r:1/0"}, {"url": "redis://:[hidden]@r:1/0"}),
        ({"said": "key sk-abcdef123 is wrong"}, {"said": "key sk-[hidden] is wrong"}),
        ({"said": ["bearer abc"]}, {"said": ["bearer [hidden]"]}),
        ({"why": ValueError("Bearer abc")}, {"why": "ValueError('Bearer [hidden]')"}),
        ({"anything": SecretStr("abc")}, {"anything": "[hidden]"}),
        ({"password": None}, {"password": None}),
    ],
)
def test_a_secret_is_hidden(given, expected):
    assert expected == redact(None, "", given)


@pytest.mark.parametrize(
    "harmless",
    [{"input_tokens": 3}, {"event": "ask-me sk-"}, {"url": "http://a:1/b@c"}, {"n": 1.5}],
)
def test_what_is_harmless_stays(harmless):
    assert harmless == redact(None, "", harmless)


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="loud"):
        setup_logs("router", "loud")
