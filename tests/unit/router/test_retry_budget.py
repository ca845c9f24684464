"""Asking again is bounded to a share of what is asked."""

import pytest

from services.router.providers.retry_budget import RetryBudget


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def granted(budget, wanted, provider="acme"):
    return sum(budget.take(provider) for _ in range(wanted))


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (0, 3),  # a quiet deployment may retry too
        (10, 3),
        (100, 30),
        (1_000, 300),
    ],
)
def test_a_share_of_the_calls_may_be_repeated(calls, expected):
    budget = RetryBudget(free=3)
    for _ in range(calls):
        budget.called("acme")

    assert expected == granted(budget, calls + 10)


def test_each_provider_has_its_own():
    budget = RetryBudget(free=3)
    granted(budget, 5, "acme")

    assert 3 == granted(budget, 5, "beta")


def test_what_is_a_minute_old_is_forgotten():
    clock = Clock()
    budget = RetryBudget(free=3, now=clock)
    for _ in range(100):
        budget.called("acme")
    at_once = granted(budget, 100)

    clock.now += 30
    later = granted(budget, 100)
    clock.now += 31

    assert (30, 0) == (at_once, later)
    assert 3 == granted(budget, 100)  # the calls are forgotten as well
