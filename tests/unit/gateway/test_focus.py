"""Usage as CSV: exact to the nano, nothing that a spreadsheet would run, unpriced is not free."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.focus import COLUMNS, Usage, exact_usd, harmless, header, rows

USED = Usage(
    start=datetime(2026, 12, 31, 23, tzinfo=UTC),
    provider="acme",
    model="acme/small",
    tenant="a-key",
    attempts=2,
    input_tokens=10,
    output_tokens=5,
    cached_input_tokens=1,
    cost_nano_usd=100,
    estimated=0,
)


def read(*usage):
    return list(csv.DictReader(io.StringIO(header() + rows(usage))))


@given(st.integers(-(10**18), 10**18))
def test_money_is_exact(nano_usd):
    assert Decimal(nano_usd) == Decimal(exact_usd(nano_usd)) * 10**9


def test_what_is_unpriced_has_no_cost():
    [row] = read(replace(USED, cost_nano_usd=None))

    assert "" == row["BilledCost"] == row["EffectiveCost"]
    assert '"pricing": "unpriced"' in row["Tags"]


def test_periods_end_where_the_next_begin():
    [row] = read(USED)

    assert ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z") == (
        row["BillingPeriodStart"],
        row["BillingPeriodEnd"],
    )
    assert "2027-01-01T00:00:00Z" == row["ChargePeriodEnd"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "\uff1d1+1"])
def test_a_formula_is_text(text):
    assert f"'{text}" == harmless(text)
    [row] = read(replace(USED, model=text, tenant=text, provider=text))
    assert not any(row[column].startswith(text) for column in COLUMNS)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_whatever_a_name_is_it_stays_in_its_cell(name):
    [row] = read(replace(USED, model=name))

    assert harmless(name) == row["SkuId"]
    assert list(COLUMNS) == list(row)
