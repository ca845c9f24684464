"""What one experiment finds when it is looked at after every request, by ours and by others."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from scripts.experiments.running import Arm, costs, shares
from scripts.experiments.traffic import Floats, Ints, Kind, Stream, truth
from services.experiments.domain import srm
from services.experiments.domain.analysis import (
    Difference,
    Ratio,
    Values,
    adjusted,
    critical_t,
    difference,
    ratio,
)
from services.experiments.domain.metrics import (
    GUARDRAILS,
    MIN_RESULTS,
    MIN_USERS,
    SLOPE_FROM,
)
from services.experiments.domain.options import Margins
from services.experiments.domain.sequential import (
    ALPHA,
    EXPECTED_LIFT,
    critical_z,
    p_value,
    p_value_above,
)
from services.experiments.domain.verdict import PATIENCE

LEAST_HARM = 1.6  # deviations; one-sided, 5 % take more


class Found(NamedTuple):
    """Where an experiment stopped."""

    direction: int  # -1: the test arm is cheaper, 1: dearer, 0: no winner by the planned size
    at: int  # requests


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Two arms after each request, from *since* on, before which there is too little to say."""

    control: Ratio
    test: Ratio
    since: int
    done: Floats  # share of the planned results

    @property
    def difference(self) -> Difference:
        return difference(self.control, self.test)

    @property
    def scale(self) -> Values:
        return EXPECTED_LIFT * self.control.value

    def at(self, looks: Any) -> "Compared":
        """Take some of the looks."""
        return Compared(
            _some(self.control, looks), _some(self.test, looks), self.since, self.done[looks]
        )

    @property
    def boundary(self) -> Values:
        """Return the least z that ends an experiment, at each look; t is never below z."""
        return critical_z(self.difference.variance, done=self.done, scale=self.scale)

    def stopped(self, p_values: Callable[["Compared"], Floats], least_t: Values = 1.959) -> Found:
        """
        Stop at the first look that is significant, as an experiment does.

        Args:
            p_values: The test.
            least_t: Below this it is never significant, so that there is nothing to compute.
        """
        found = self.difference
        worth = np.flatnonzero(np.abs(found.t) > least_t * 0.999)
        begin, many = 0, 64
        while begin < len(worth):  # in growing blocks: most winners come early, or not at all
            block = worth[begin : begin + many]
            some = self.at(block)
            significant = np.flatnonzero(p_values(some) < ALPHA)
            if len(significant):
                first = significant[0]
                cheaper = some.test.value[first] < some.control.value[first]
                return Found(-1 if cheaper else 1, self.since + int(block[first]) + 1)
            begin, many = begin + many, 2 * many
        return Found(0, self.since + len(self.done))

    def covers(self, true_difference: float, found: Found) -> bool:
        """Whether the interval that is shown at the stop holds the truth."""
        last = self.at(slice(found.at - self.since - 1, found.at - self.since))
        gap = last.difference
        z = critical_z(gap.variance, done=last.done, scale=last.scale)
        wide = critical_t(gap.freedom, z) * np.sqrt(gap.variance)
        return bool(abs(gap.value - true_difference) <= wide)


def since_enough(arms: tuple[Arm, Arm]) -> int | None:
    """Return from which look on `Metric.enough` holds for both arms; None: it never does."""
    enough = np.ones(len(arms[0].users), bool)
    for arm in arms:
        enough &= (arm.users >= MIN_USERS) & (arm.sums["d"] >= MIN_RESULTS)
    return int(np.argmax(enough)) if enough.any() else None


def compare_costs(stream: Stream, arms: tuple[Arm, Arm]) -> tuple[Compared, Compared] | None:
    """Compare without and with CUPED; None: there is never enough to compare."""
    since = since_enough(arms)
    if since is None:
        return None
    done = np.arange(since + 1, len(stream.user) + 1) / len(stream.user)
    a, b = (arm.ratio("m", "d", since) for arm in arms)
    of_a, of_b = (arm.covariate("m", "d", "x", "k", since) for arm in arms)
    known = np.minimum(a.users, b.users) > SLOPE_FROM
    with np.errstate(all="ignore"):  # where they are too few to learn a slope from, none is used
        less = adjusted(a, b, of_a, of_b)
    less_a, less_b = (_where(known, one, raw) for one, raw in zip(less, (a, b), strict=True))
    return Compared(a, b, since, done), Compared(less_a, less_b, since, done)


def _where(known: Values, one: Ratio, other: Ratio) -> Ratio:
    names = [column.name for column in fields(one)]
    return Ratio(*(np.where(known, getattr(one, name), getattr(other, name)) for name in names))


def _some(found: Ratio, looks: Any) -> Ratio:
    return Ratio(*(getattr(found, column.name)[looks] for column in fields(found)))


def any_time(compared: Compared) -> Floats:
    """Return the p-values that an experiment goes by."""
    found: Floats = p_value(compared.difference, done=compared.done, scale=compared.scale)
    return found


def on_lift(compared: Compared) -> Floats:
    """Return the p-values that an experiment would go by if it asked for the lift in percent."""
    a, b = compared.control, compared.test
    variance = b.variance / a.value**2 + a.variance * b.value**2 / a.value**4
    gap = Difference(b.value / a.value - 1, variance, compared.difference.freedom)
    found: Floats = p_value(gap, done=compared.done, scale=np.float64(EXPECTED_LIFT))
    return found


def one_look(compared: Compared) -> Floats:
    """Return the p-values of a test that must be looked at once only."""
    found: Floats = compared.difference.p_value
    return found


@dataclass(frozen=True, slots=True)
class Run:
    """One experiment, seen by each method on the same requests."""

    ours: Found
    plain: Found  # without CUPED
    fixed: int  # directions: Welch on users, one look at the planned size
    peeked: int  # the same test after every request
    naive: int  # Welch on requests after every request
    users: int  # in the experiment when ours stopped
    users_plain: int
    covered: bool
    covered_plain: bool


def run(kind: Kind, stream: Stream, lift: float) -> Run | None:
    """Look at one experiment after every request."""
    arms = costs(stream)
    compared = compare_costs(stream, arms)
    if compared is None:
        return None
    plain, ours = compared
    control, test = truth(kind, lift)
    users = arms[0].users + arms[1].users
    stops = [waits(one.stopped(any_time, one.boundary), len(stream.user)) for one in (ours, plain)]
    return Run(
        ours=stops[0],
        plain=stops[1],
        fixed=plain.at(slice(-1, None)).stopped(one_look).direction,
        peeked=plain.stopped(one_look).direction,
        naive=_by_request(stream, plain).direction,
        users=int(users[stops[0].at - 1]),
        users_plain=int(users[stops[1].at - 1]),
        covered=ours.covers(test - control, stops[0]),
        covered_plain=plain.covers(test - control, stops[1]),
    )


def waits(found: Found, size: int) -> Found:
    """A cheaper arm waits for what is said of its answers; here somebody always says something."""
    if found.direction != -1:
        return found
    return Found(-1, max(found.at, math.ceil(PATIENCE * size)))


def direction_on_lift(stream: Stream) -> int:
    """Return who wins by the same boundaries on the lift in percent, without CUPED."""
    compared = compare_costs(stream, costs(stream))
    return compared[0].stopped(on_lift, least_t=0.0).direction if compared else 0


def _by_request(stream: Stream, plain: Compared) -> Found:
    """Pretend that every request is another user's."""
    found = []
    for within in (~stream.test, stream.test):
        n = np.cumsum(within)[plain.since :].astype(float)
        total = np.cumsum(stream.cost * within)[plain.since :]
        squares = np.cumsum(stream.cost**2 * within)[plain.since :]
        found.append(ratio(total, n, mm=squares, md=total, dd=n))
    by_request = Compared(found[0], found[1], plain.since, plain.done)
    return by_request.stopped(one_look)


def guardrails(stream: Stream, margins: Margins) -> int | None:
    """Return after how many requests a guardrail stops the test arm; None: never."""
    every = np.ones(len(stream.user))
    done = np.arange(1, len(every) + 1) / len(every)
    happened = {
        "quality": (stream.stars, stream.rated),
        "latency": (stream.slow, every),
        "failures": (stream.failed, every),
    }
    p_values = []
    for guardrail in GUARDRAILS:
        arms = shares(stream, *happened[guardrail.name])
        p_values.append(_harm(guardrail.name, arms, done, margins))
    # Holm: the smallest counts threefold. The smallest of all looks so far counts as well.
    smallest = len(GUARDRAILS) * np.minimum.reduce(p_values)
    beyond = np.flatnonzero(smallest < ALPHA)
    return int(beyond[0]) + 1 if len(beyond) else None


def _harm(name: str, arms: tuple[Arm, Arm], done: Floats, margins: Margins) -> Floats:
    """Return the p-value of "not beyond its margin", after each request: `metrics.Guardrail`."""
    p_values = np.ones(len(done))
    since = since_enough(arms)
    if since is None:
        return p_values
    control, test = (arm.ratio("m", "d", since) for arm in arms)
    if name == "quality":
        beyond = difference(control, test, times=1 - margins.quality_ratio)
        beyond = Difference(-beyond.value, beyond.variance, beyond.freedom)
        scale = 0.1 * control.value
    else:
        control, test = (
            _careful(one, arm.sums["m"][since:], arm.sums["d"][since:])
            for one, arm in zip((control, test), arms, strict=True)
        )
        beyond, scale = difference(control, test), np.full(len(done) - since, 0.05)
        if name == "failures":
            beyond = Difference(beyond.value - margins.failures, beyond.variance, beyond.freedom)
    # Of a difference below this nothing else is significant: there is nothing to compute.
    worth = np.flatnonzero(beyond.value > LEAST_HARM * np.sqrt(beyond.variance))
    some = Difference(beyond.value[worth], beyond.variance[worth], beyond.freedom[worth])
    p_values[since + worth] = p_value_above(some, done=done[since + worth], scale=scale[worth])
    return p_values


def _careful(found: Ratio, m: Floats, d: Floats) -> Ratio:
    """Do as `Metric.of`: a share that was never seen to happen may happen."""
    share = (m + 1) / (d + 2)
    return replace(found, variance=np.maximum(found.variance, share * (1 - share) / d))


def mismatched_at(test: Ints, shares: tuple[float, float] = (0.5, 0.5)) -> int | None:
    """Return after how many users `srm.p_value` says that the arms are not as planned."""
    came = np.cumsum(test)
    users = np.arange(1, len(test) + 1) - came, came
    prior = [srm.CONCENTRATION * share for share in shares]
    log_odds = (
        special.gammaln(prior[0] + users[0])
        + special.gammaln(prior[1] + users[1])
        - special.gammaln(srm.CONCENTRATION + users[0] + users[1])
        - special.gammaln(prior[0])
        - special.gammaln(prior[1])
        + special.gammaln(srm.CONCENTRATION)
        - users[0] * np.log(shares[0])
        - users[1] * np.log(shares[1])
    )
    beyond = np.flatnonzero(-log_odds < np.log(srm.ALPHA))
    return int(beyond[0]) + 1 if len(beyond) else None
