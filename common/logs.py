"""Logs are JSON lines on stdout, with the request's id, without secrets."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, WrappedLogger

HIDDEN = "[hidden]"
_SECRET_NAME = re.compile(
    r"(secret|password|passwd|token|api[_-]?key|authorization|cookie)$", re.IGNORECASE
)
_SECRET_TEXT = re.compile(
    r"(?P<scheme>://[^\s/:@]*:)[^\s@/]+(?=@)"  # postgresql://role:password@
    r"|(?P<bearer>\bbearer\s+)[^\s\"',]+"
    r"|\b(?P<key>sk-)[A-Za-z0-9_-]{6,}",  # the shape of most providers' keys
    re.IGNORECASE,
)


def setup_logs(service: str, level: str) -> None:
    """Send structlog and the standard library's loggers to stdout as JSON lines."""
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"unknown log level {level!r}")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _named(service),
            redact,
            _to_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=threshold, force=True)
    # It tells of every connection that a client drops; we count what matters ourselves.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def redact(_: WrappedLogger | None, __: str, event: EventDict) -> EventDict:
    """Hide what is named like a secret, and what looks like one inside a text."""
    return {name: _hidden(name, value) for name, value in event.items()}


def _hidden(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr) or (value and _SECRET_NAME.search(name)):
        return HIDDEN
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {key: _hidden(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden("", item) for item in value]
    if isinstance(value, BaseException):
        return without_secrets(repr(value))
    return value


def without_secrets(text: str) -> str:
    """Hide passwords in URLs, bearer tokens and provider keys."""
    return _SECRET_TEXT.sub(lambda m: (m["scheme"] or m["bearer"] or m["key"] or "") + HIDDEN, text)


def _named(service: str) -> Any:
    def add(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return add


def _to_json(_: WrappedLogger, __: str, event: EventDict) -> bytes:
    try:
        return _dumps(event)
    except (TypeError, ValueError):  # such as lone surrogates: what can be said is said
        return _dumps({name: _sayable(value) for name, value in event.items()})


def _sayable(value: Any) -> Any:
    try:
        _dumps(value)
    except (TypeError, ValueError):
        return ascii(value)
    return value


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)


class _ToStructlog(logging.Handler):
    """What libraries say through the standard library joins our lines."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            structlog.get_logger().log(
                record.levelno,
                record.getMessage(),
                logger=record.name,
                exc_info=record.exc_info,
            )
        except Exception:  # noqa: BLE001 - the contract of Handler.emit
            self.handleError(record)
