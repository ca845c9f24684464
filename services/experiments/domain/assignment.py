"""Which arm is a user in? Fixed for ever: the same user, the same experiment, the same arm."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def bucket(experiment_id: int, user_id: str) -> int:
    """Return the first 32 bits of the MD5 of "experiment:user": even for all practical purposes."""
    digest = hashlib.md5(f"{experiment_id}:{user_id}".encode(), usedforsecurity=False)
    return int(digest.hexdigest()[:8], 16)


def assign(experiment_id: int, user_id: str, arms: Sequence[T]) -> T:
    """Return the user's arm; of two, even buckets get the first (the control), odd the second."""
    return arms[bucket(experiment_id, user_id) % len(arms)]
