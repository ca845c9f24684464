"""Identifiers that sort by time (UUIDv7, RFC 9562): they are the key of the ledger's partitions."""

from datetime import UTC, datetime
from uuid import UUID

from uuid_utils.compat import uuid7

LAST = UUID(int=2**128 - 1)  # no identifier comes after it


def new_id() -> UUID:
    """Make a new UUIDv7."""
    return uuid7()


def time_of(identifier: UUID) -> datetime:
    """Return the millisecond a UUIDv7 was made in."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


def first_id_at(moment: datetime) -> UUID:
    """Return the smallest identifier of that millisecond: the bound of a time partition."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80))
