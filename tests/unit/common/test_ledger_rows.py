"""Reading rows without trusting them."""

import math
from datetime import UTC, datetime

import asyncpg
import pytest
from optimizer.router.v1.ledger_pb2 import LedgerRow
from prometheus_client import REGISTRY

from common.errors import Invalid
from common.ledger_rows import Skips, apply_surely, count, difference, duration_ms, moment, text

ROWS = [LedgerRow(revision=n) for n in range(4)]


class Savepoint:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return False


class Connection:
    def transaction(self):
        return Savepoint()


def skipped(consumer, reason):
    labels = {"consumer": consumer, "reason": reason}
    return REGISTRY.get_sample_value("optimizer_ledger_rows_skipped_total", labels) or 0


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (text, "a\x00b"),
        (text, "x" * 501),
        (count, -1),
        (count, 10**15 + 1),
        (difference, -(10**15) - 1),
        (duration_ms, -0.1),
        (duration_ms, math.nan),
        (duration_ms, math.inf),
        (moment, -1),
        (moment, 2**62),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(read, value):
    with pytest.raises(Invalid, match="field"):
        read(value, "field")


def test_what_makes_sense_is_passed_on():
    assert "ü" == text("ü", "x")
    assert 0 == count(0, "x")
    assert -5 == difference(-5, "x")
    assert 0.5 == duration_ms(0.5, "x")
    assert datetime(2026, 1, 2, tzinfo=UTC) == moment(1_767_312_000_000, "x")


async def test_one_row_that_postgres_refuses_does_not_keep_out_the_others():
    applied = []

    async def apply(_, rows):
        if any(row.revision == 2 for row in rows):
            raise asyncpg.NumericValueOutOfRangeError("too big")
        applied.extend(row.revision for row in rows)

    before = skipped("x", "refused")
    await apply_surely(Connection(), ROWS, apply, consumer="x")

    assert [0, 1, 3] == applied
    assert before + 1 == skipped("x", "refused")


async def test_trouble_that_is_no_rows_fault_is_raised():
    async def apply(_, rows):
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await apply_surely(Connection(), ROWS, apply, consumer="x")


def test_what_is_skipped_is_counted_once_reported():
    before = skipped("y", "invalid")
    skips = Skips("y")
    for row in ROWS:
        skips.add(row, "invalid", "no such thing")

    skips.report()

    assert before + len(ROWS) == skipped("y", "invalid")
