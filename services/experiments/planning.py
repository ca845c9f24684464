"""How large an experiment must be, by what the deployment's own users are like."""

import math
from dataclasses import dataclass

from common.errors import Invalid
from services.experiments.domain.experiment import MAX_ARMS, MAX_SAMPLE_SIZE
from services.experiments.domain.power import Traffic
from services.experiments.store.traffic import TrafficStore


@dataclass(frozen=True, slots=True)
class Planned:
    users_per_arm: int
    arms: int
    requests: int
    days: float | None  # None: there is no traffic to tell by
    effect_ratio: float
    traffic: Traffic


class Planning:
    def __init__(self, store: TrafficStore) -> None:
        self._store = store

    async def plan(self, *, effect_ratio: float, sample_size: int, arms: int) -> Planned:
        """
        Say what an effect takes, or what a size can find: one of the two is given, the other 0.

        Raises:
            Invalid: neither or both are given, or a bound is broken.
        """
        if not 2 <= arms <= MAX_ARMS:  # noqa: PLR2004
            raise Invalid(f"an experiment has 2 to {MAX_ARMS} arms", param="arms")
        if bool(effect_ratio) == bool(sample_size):
            raise Invalid(
                "give the effect to be found or the size of the sample, one of them",
                param="minimum_detectable_effect",
            )
        if not 0 <= sample_size <= MAX_SAMPLE_SIZE:
            raise Invalid(f"sample_size must be within [1, {MAX_SAMPLE_SIZE}]", param="sample_size")
        traffic = await self._store.recent()
        if sample_size:
            users = math.ceil(sample_size / arms / traffic.requests_per_user)
            requests, effect_ratio = sample_size, traffic.effect_of(users, arms=arms)
        else:
            users = traffic.users_to_find(effect_ratio, arms=arms)
            requests = math.ceil(users * arms * traffic.requests_per_user)
        per_day = traffic.requests_per_day
        return Planned(
            users_per_arm=users,
            arms=arms,
            requests=requests,
            days=requests / per_day if per_day else None,
            effect_ratio=effect_ratio,
            traffic=traffic,
        )
