"""Made-up traffic whose truth is known: users who come back, and what their requests cost."""

from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special  # type: ignore[import-untyped]

from services.experiments.domain.power import Traffic

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]

# Requests of a user: P(n) falls with n^-1.6. Half of the users send one, one of a hundred 40.
COUNTS = np.arange(1, 51)
SHARES = COUNTS**-1.6 / (COUNTS**-1.6).sum()
REQUESTS_PER_USER = float(COUNTS @ SHARES)

ALIKE = 0.07  # correlation between two costs, or two lengths, of one user
TOKENS, PRICE_NANO_USD = 800.0, 600.0  # the median of a request, and the price of a token
WORDS, WORDS_SPREAD = 60.0, 1.2  # median, and the deviation of the logarithm
KNOWN = 0.72  # correlation of the logarithms of cost and of words, of users and of requests

FAIL = 0.01
SLOW = 0.04  # beyond 110 % of the control's 95th percentile
RATED = 0.3
STARS = (0.04, 0.05, 0.12, 0.27, 0.52)  # shares of 1 to 5 stars; on average 4.18
TASTE = 0.2  # correlation between what one user thinks of two answers
CUTS = special.ndtri(np.cumsum(STARS)[:-1])

GAP = 0.01  # of the experiment, between two requests of a user
ALL_HERE = 0.1  # of the experiment, until everybody of a closed base has come


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    spread: float = 1.2  # deviation of the logarithm of a request's cost
    closed: bool = False  # everybody comes early and keeps coming

    @property
    def user_spread(self) -> float:
        return _user_spread(self.spread)

    @property
    def mean_cost(self) -> float:
        """Nano-USD, of a request."""
        return TOKENS * PRICE_NANO_USD * float(np.exp(self.spread**2 / 2))


STAGGERED = Kind("users keep arriving")
CLOSED = Kind("closed user base", closed=True)
HEAVY = Kind("heavy tails", spread=1.6)
KINDS = (STAGGERED, CLOSED, HEAVY)


def _user_spread(spread: float) -> float:
    """Return what of *spread* is the user's, so that costs of one user correlate by ALIKE."""
    return float(np.sqrt(np.log1p(ALIKE * np.expm1(spread**2))))


@cache
def shift_of(quality: float) -> float:
    """Return by how much the cuts between stars move for the mean to change by *quality*."""
    mean = _mean_stars(0.0)
    if not quality:
        return 0.0
    return float(optimize.brentq(lambda by: _mean_stars(by) - mean * (1 + quality), -3, 3))


def _mean_stars(by: float) -> float:
    return 1 + float(special.ndtr(by - CUTS).sum())


def good_share(quality: float = 0.0) -> float:
    """Return the share of requests that neither failed nor were rated 1 or 2."""
    return (1 - FAIL) * (1 - RATED * float(special.ndtr(CUTS[1] - shift_of(quality))))


def truth(kind: Kind, lift: float = 0.0) -> tuple[float, float]:
    """Return the true cost per successful request of both arms."""
    cost = kind.mean_cost / good_share()
    return cost, cost * (1 + lift)


@cache
def planned(kind: Kind) -> Traffic:
    """Return what the planner would measure of such users, if it saw very many of them."""
    words_user = _user_spread(WORDS_SPREAD)
    good = good_share()
    ours, theirs = kind.spread, WORDS_SPREAD
    cost = _over_users(ours**2, kind.user_spread**2, (1 - good) / good)
    words = _over_users(theirs**2, words_user**2)
    both = _over_users(KNOWN * ours * theirs, KNOWN * kind.user_spread * words_user)
    return Traffic(
        variation=float(np.sqrt(cost)),
        requests_per_user=REQUESTS_PER_USER,
        explained_ratio=both**2 / (cost * words),
        measured=True,
    )


def _over_users(total: float, of_user: float, of_good: float = 0.0) -> float:
    """Return the covariance of users' centred sums of log-normals, of the product of means."""
    pairs = float((COUNTS * (COUNTS - 1)) @ SHARES)
    each = float(np.expm1(total)) + of_good
    return (REQUESTS_PER_USER * each + pairs * float(np.expm1(of_user))) / REQUESTS_PER_USER**2


def sample_size(kind: Kind, effect_ratio: float) -> int:
    """Return the planned results of both arms together, without counting on CUPED."""
    traffic = planned(kind)
    plain = Traffic(traffic.variation, traffic.requests_per_user)
    return round(2 * plain.users_to_find(effect_ratio) * plain.requests_per_user)


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Requests in the order in which they came; columns of numbers, one a request."""

    user: Ints
    test: Flags  # in the test arm
    cost: Floats  # nano-USD
    words: Floats
    good: Floats  # 0 or 1, as are the next ones
    failed: Floats
    slow: Floats
    rated: Floats
    stars: Floats  # 0: not rated


def stream(
    kind: Kind,
    size: int,
    dice: np.random.Generator,
    *,
    lift: float = 0.0,
    quality: float = 0.0,
) -> Stream:
    """
    Draw the first *size* requests of an experiment.

    Args:
        kind: Of traffic.
        size: Requests, both arms together.
        dice: Where chance comes from.
        lift: Change of the test arm's cost, relative.
        quality: Change of the test arm's mean rating, relative.
    """
    user = (_closed if kind.closed else _staggered)(size, dice)
    many = int(user.max()) + 1
    test = (dice.random(many) < 0.5)[user]  # noqa: PLR2004 - a fair coin a user
    cost, words = _costs(kind, user, many, dice)
    taste = np.sqrt(TASTE) * dice.standard_normal(many)[user]
    taste += np.sqrt(1 - TASTE) * dice.standard_normal(size) + test * shift_of(quality)
    rated = dice.random(size) < RATED
    stars = rated * (1.0 + np.searchsorted(CUTS, taste))
    failed = dice.random(size) < FAIL
    bad = failed | (rated & (stars <= 2))  # noqa: PLR2004 - stars
    return Stream(
        user=user,
        test=test,
        cost=np.rint(cost * np.where(test, 1 + lift, 1.0)),
        words=np.rint(words),
        good=(~bad).astype(float),
        failed=failed.astype(float),
        slow=(dice.random(size) < SLOW).astype(float),
        rated=rated.astype(float),
        stars=stars,
    )


def _costs(kind: Kind, user: Ints, many: int, dice: np.random.Generator) -> tuple[Floats, Floats]:
    size = len(user)
    words, cost = np.zeros(size), np.zeros(size)
    words_user = _user_spread(WORDS_SPREAD)
    for ours, theirs, drawn in (
        (kind.user_spread, words_user, dice.standard_normal((2, many))[:, user]),
        (
            np.sqrt(kind.spread**2 - kind.user_spread**2),
            np.sqrt(WORDS_SPREAD**2 - words_user**2),
            dice.standard_normal((2, size)),
        ),
    ):
        cost += ours * drawn[0]
        words += theirs * (KNOWN * drawn[0] + np.sqrt(1 - KNOWN**2) * drawn[1])
    return TOKENS * PRICE_NANO_USD * np.exp(cost), WORDS * np.exp(words)


def _staggered(size: int, dice: np.random.Generator) -> Ints:
    """Users arrive all the time, at one rate, and send their requests from then on."""
    rate = size / REQUESTS_PER_USER
    many = int(1.5 * rate) + 120
    counts = dice.choice(COUNTS, many, p=SHARES)
    user = np.repeat(np.arange(many), counts)
    gaps = dice.exponential(GAP, len(user))
    starts = np.cumsum(counts) - counts
    gaps[starts] = 0
    waited = np.cumsum(gaps)
    arrived = dice.random(many) * many / rate
    times = waited - np.repeat(waited[starts] - arrived, counts)
    return _numbered(user[np.argsort(times)[:size]])


def _closed(size: int, dice: np.random.Generator) -> Ints:
    """Everybody comes early; their requests are spread over the experiment."""
    counts = dice.choice(COUNTS, int(1.5 * size / REQUESTS_PER_USER) + 120, p=SHARES)
    user = np.repeat(np.arange(len(counts)), counts)[:size]
    arrived = dice.random(len(counts))[user] * ALL_HERE
    times = arrived + dice.random(size) * (1 - arrived)
    first = np.r_[True, user[1:] != user[:-1]]
    times[first] = arrived[first]
    return _numbered(user[np.argsort(times)])


def _numbered(user: Ints) -> Ints:
    """Number users from 0, so that a column of users is as long as there are users."""
    return np.unique(user, return_inverse=True)[1].astype(np.int64)
