"""The sample ratio test: quiet where shares are as planned, loud where users are lost."""

import random
from math import exp, lgamma, log

import pytest

from services.experiments.domain import srm


def smallest(users, shares, *, lost=0.0, seed=0):
    """Look after every tenth user; the last arm loses some."""
    draw = random.Random(seed)
    counts, found = [0] * len(shares), 1.0
    while sum(counts) < users:
        arm = draw.choices(range(len(shares)), shares)[0]
        if arm == len(shares) - 1 and draw.random() < lost:
            continue
        counts[arm] += 1
        if sum(counts) % 10:
            continue
        found = min(found, srm.p_value(counts, shares))
    return found


def test_nobody_yet_is_no_alarm():
    assert 1.0 == srm.p_value([0, 0], [0.5, 0.5])


def test_equal_shares_raise_no_alarm_though_looked_at_all_the_time():
    alarms = sum(smallest(1_000, [0.5, 0.5], seed=n) < srm.ALPHA for n in range(40))

    assert alarms <= 2


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.4, 0.3, 0.3]])
def test_a_loss_is_found(shares):
    assert smallest(4_000, shares, lost=0.4) < srm.ALPHA


def test_its_bayes_factor_is_that_of_a_beta_binomial():
    # B(50 + 60, 50 + 40) / (B(50, 50) · 0.5^100), from the definition of the beta function
    def log_beta(a, b):
        return lgamma(a) + lgamma(b) - lgamma(a + b)

    expected = exp(-(log_beta(110, 90) - log_beta(50, 50) - 100 * log(0.5)))

    assert min(1.0, expected) == pytest.approx(srm.p_value([60, 40], [0.5, 0.5]), rel=1e-12)
