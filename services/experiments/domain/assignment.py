"""Which arm is a user in? Fixed for ever: the same user, the same experiment, the same arm."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_BITS = 2**32


def bucket(experiment_id: int, user_id: str) -> int:
    """Return the first 32 bits of the MD5 of "experiment:user": even for all practical purposes."""
    return int(_digest(f"{experiment_id}:{user_id}")[:8], 16)


def assign(experiment_id: int, user_id: str, arms: Sequence[T], weights: Sequence[float] = ()) -> T:
    """
    Return the user's arm.

    Args:
        experiment_id: Its number.
        user_id: As the client calls its user.
        arms: The control first.
        weights: One for each arm, or none. While all are equal the bucket decides by its
            remainder (of two arms: even is the control); else bits that the bucket does not use
            decide, as a fraction of the sum of weights.
    """
    if len(set(weights)) <= 1:
        return arms[bucket(experiment_id, user_id) % len(arms)]
    point = int(_digest(f"{experiment_id}:{user_id}")[8:16], 16) / _BITS * sum(weights)
    for arm, weight in zip(arms, weights, strict=True):
        point -= weight
        if point < 0:
            return arm
    return arms[-1]


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
