"""Whether the arms got the users they were meant to get; if not, nothing else is to be believed."""

import math
from collections.abc import Sequence

from scipy import special  # type: ignore[import-untyped]

CONCENTRATION = 100.0  # users' worth of belief that the shares are as planned
ALPHA = 0.01


def p_value(users: Sequence[int], shares: Sequence[float]) -> float:
    """
    Return the p-value of this look; the smallest of all looks so far is valid at any time.

    Args:
        users: In each arm, so far.
        shares: What each arm was meant to get; they sum to 1.

    Source:
        Lindon, Malek (2022), "Anytime-Valid Inference for Multinomial Count Data", NeurIPS:
        1 / Bayes factor of a Dirichlet prior around the planned shares against the shares.
    """
    prior = [CONCENTRATION * share for share in shares]
    log_odds = (
        _log_beta([a + n for a, n in zip(prior, users, strict=True)])
        - _log_beta(prior)
        - sum(n * math.log(share) for n, share in zip(users, shares, strict=True))
    )
    return math.exp(min(0.0, -log_odds))


def _log_beta(a: Sequence[float]) -> float:
    return float(sum(special.gammaln(one) for one in a) - special.gammaln(sum(a)))
