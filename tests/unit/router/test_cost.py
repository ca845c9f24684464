"""Tokens times price: exact, rounded once, and never a price that is not there."""

import pytest

from services.router.domain.catalog import Price
from services.router.domain.cost import MOST_TOKENS, cost_of, plausible
from services.router.domain.request import Usage

PRICE = Price(input=3_000_000_000, cached_input=300_000_000, output=15_000_000_000, version=1)


def test_cached_tokens_cost_the_cached_price():
    usage = Usage(input_tokens=1000, output_tokens=100, cached_input_tokens=400)

    assert 600 * 3_000 + 400 * 300 + 100 * 15_000 == cost_of(usage, PRICE)


def test_what_has_no_price_is_not_free():
    assert None is cost_of(Usage(1, 1), None)
    assert 0 == cost_of(Usage(1, 1), Price(0, 0, 0, version=1))


@pytest.mark.parametrize(
    ("absurd", "expected"),
    [
        (Usage(-5, 10), Usage(0, 10, estimated=True)),
        (Usage(10, 10**12), Usage(10, MOST_TOKENS, estimated=True)),
        (Usage(10, 1, cached_input_tokens=11), Usage(10, 1, 10, estimated=True)),
    ],
)
def test_absurd_usage_is_clamped_and_flagged(absurd, expected):
    assert expected == plausible(absurd)


def test_plausible_usage_stays_as_it_is():
    usage = Usage(MOST_TOKENS, 0, MOST_TOKENS)

    assert usage is plausible(usage)
