"""What feedback says about an answer, as a number from 0 to 1."""

from collections.abc import Mapping
from typing import Any

WEIGHT = 1.0  # of one rating, in outcomes
MOST_STARS = 5


def outcome_of(details: Mapping[str, Any]) -> float | None:
    """Read one to five stars as 0 to 1; None if there are none."""
    stars = details.get("quality_score")
    if isinstance(stars, bool) or not isinstance(stars, int) or not 1 <= stars <= MOST_STARS:
        return None
    return (stars - 1) / (MOST_STARS - 1)
