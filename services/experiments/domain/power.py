"""How many users it takes to find an effect, and which effect so many users can show."""

import math
from dataclasses import dataclass

from scipy import special  # type: ignore[import-untyped]

from common.errors import Invalid
from services.experiments.domain.metrics import COST_PER_REQUEST, covariate_of
from services.experiments.domain.totals import ArmTotals

POWER = 0.8
ALPHA = 0.05
LOOKING_COSTS = 1.21  # the users it takes to look at any time, of those for one look at the end
USUAL_VARIATION = 1.4  # of LLM costs over users, before there is any traffic to learn it from
USUAL_REQUESTS = 5.0
LEAST_EFFECT = 1e-4  # smaller ones take more users than there are people
ENOUGH_USERS = 50  # below which nothing is learned from traffic


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a deployment's users are like."""

    variation: float = USUAL_VARIATION  # of a user's linearised cost per request, of its mean
    requests_per_user: float = USUAL_REQUESTS
    explained_ratio: float = 0.0  # of that variance, by the length of prompts: r²
    requests_per_day: float = 0.0
    measured: bool = False

    def users_to_find(self, effect_ratio: float, *, arms: int = 2) -> int:
        """
        Return the users each arm needs to find a relative change of *effect_ratio* 4 times of 5.

        Raises:
            Invalid: *effect_ratio* is not within [0.0001, 1).

        Source:
            n = 2 CV² (z_{1-alpha/2} + z_{power})² / ln(1 - MDE)²; van Belle, Martin (1993), The
            American Statistician 47, 165-167; times what looking costs, times 1 - r² (CUPED).
        """
        if not LEAST_EFFECT <= effect_ratio < 1:  # NaN fails this too
            raise Invalid(
                f"the effect must be within [{LEAST_EFFECT}, 1)", param="minimum_detectable_effect"
            )
        return max(2, math.ceil(self._work(arms) / math.log1p(-effect_ratio) ** 2))

    def effect_of(self, users: float, *, arms: int = 2) -> float:
        """Return the smallest relative change that *users* in each arm find 4 times of 5."""
        return -math.expm1(-math.sqrt(self._work(arms) / max(users, 1.0)))

    def _work(self, arms: int) -> float:
        alpha = ALPHA / (arms - 1)  # Holm's first step
        z = float(special.ndtri(1 - alpha / 2) + special.ndtri(POWER))
        left = 1 - self.explained_ratio
        return 2 * self.variation**2 * z**2 * LOOKING_COSTS * left


def traffic_of(users: ArmTotals, *, requests_per_day: float) -> Traffic | None:
    """Learn what users are like from what they did; None while they are too few to tell."""
    found = COST_PER_REQUEST.of(users) if users.users() >= ENOUGH_USERS else None
    if found is None or not found.value > 0 or not found.variance > 0:
        return None
    n, k = users.users(), found.users
    explained = 0.0
    if users.sum("measured") == users.sum("priced"):
        words = covariate_of(COST_PER_REQUEST, users)
        squares = found.variance * (k - 1) / k
        explained = words.joint**2 / (words.own * squares) if words.own else 0.0
    return Traffic(
        variation=math.sqrt(found.variance * n) / found.value,
        requests_per_user=users.sum("results") / n,
        explained_ratio=min(float(explained), 1.0),
        requests_per_day=requests_per_day,
        measured=True,
    )
