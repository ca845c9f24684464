"""Usage as Parquet: what the CSV says, with types, and nothing that looks whole before its end."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.gateway.domain import focus
from services.gateway.domain.focus import COLUMNS, harmless
from services.gateway.parquet import GROUP_ROWS, ParquetFile
from tests.unit.gateway.test_focus import USED

HOURS = [
    [USED, replace(USED, model="=1+1", tenant="@who", cost_nano_usd=None)],
    [replace(USED, start=USED.start + timedelta(hours=1), cost_nano_usd=cost) for cost in (0, -1)],
    [replace(USED, provider="", cost_nano_usd=2**63 - 1, input_tokens=2**62, estimated=1)],
]


def written(*hours):
    file = ParquetFile()
    return b"".join([*map(file.add, hours), file.finish()])


def read(data):
    return pq.read_table(io.BytesIO(data))


def as_text(value):
    """Write a value as the CSV does."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return "" if value is None else f"{value:f}" if isinstance(value, Decimal) else harmless(value)


def test_it_says_what_the_csv_says_row_for_row():
    table = read(written(*HOURS))

    text = focus.header() + "".join(map(focus.rows, HOURS))
    assert list(csv.reader(io.StringIO(text))) == [
        table.column_names,
        *([as_text(row[column]) for column in COLUMNS] for row in table.to_pylist()),
    ]


def test_costs_are_exact_and_what_is_unpriced_is_null():
    cost = read(written(*HOURS))["BilledCost"]

    assert [100, None, 0, -1, 2**63 - 1] == [one and int(one * 10**9) for one in cost.to_pylist()]
    assert pa.types.is_decimal(cost.type)


def test_times_are_of_utc():
    table = read(written([USED]))

    assert pa.timestamp("ms", tz="UTC") == table.schema.field("ChargePeriodStart").type
    assert [USED.start] == table["ChargePeriodStart"].to_pylist()


def test_a_day_without_usage_has_its_columns_and_no_rows():
    table = read(written())

    assert (list(COLUMNS), 0) == (table.column_names, table.num_rows)


def test_a_large_day_is_written_in_groups_and_in_order():
    usage = [replace(USED, cost_nano_usd=n) for n in range(2 * GROUP_ROWS + 1)]
    file = ParquetFile()

    first = file.add(usage)

    data = first + file.add(usage[:1]) + file.finish()
    found = pq.ParquetFile(io.BytesIO(data))
    assert first
    assert [GROUP_ROWS, GROUP_ROWS, 2] == [
        found.metadata.row_group(n).num_rows for n in range(found.num_row_groups)
    ]
    costs = [int(one * 10**9) for one in found.read()["BilledCost"].to_pylist()]
    assert [*range(2 * GROUP_ROWS + 1), 0] == costs


def test_what_has_no_end_is_no_file():
    started = ParquetFile().add([USED] * GROUP_ROWS)

    with pytest.raises(pa.ArrowInvalid):
        read(started)
