"""Fields on the wire: what is wrong is `Invalid` and named."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from common.errors import Invalid


def uuid_field(value: str, name: str) -> UUID:
    """Read a UUID in its usual form, with hyphens; other spellings would be other keys."""
    try:
        read = UUID(value)
    except ValueError:
        read = None
    if read is None or str(read) != value.lower():
        raise Invalid(f"{name} is no UUID", param=name)
    return read


def unix_ms(moment: datetime) -> int:
    """Return the Unix time in ms, as all messages have it; *moment* knows its zone."""
    return int(moment.timestamp() * 1000)


def json_field(value: bytes, name: str) -> dict[str, Any]:
    """Read a JSON object; no bytes are an empty one."""
    if not value:
        return {}
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"{name} is not valid JSON: {error.msg}", param=name) from None
    if not isinstance(read, dict):
        raise Invalid(f"{name} must be a JSON object", param=name)
    return read
