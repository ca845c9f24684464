"""
What is said or seen of an answer, as a number from 0 to 1 with a weight.

Said: stars, votes. Seen: it failed, was empty, refused, not the JSON that was asked for, or its
user asked the same again. What is seen is only ever bad news: put among few ratings, it would drag
every model to 0. So it is learned apart, as the share of answers with a fault, of all answers
whether rated or not:

    quality = P(no fault) · P(good | no fault)
"""

from collections.abc import Mapping
from typing import Any, Literal

from services.router.domain.learning import PRIOR_LEVEL

Source = Literal["stars", "votes", "failed", "empty", "refused", "invalid_json", "regenerated"]

MOST_STARS = 5
SAID: frozenset[str] = frozenset({"stars", "votes"})
SIGNS: frozenset[str] = frozenset({"empty", "refused", "invalid_json"})
# By source: outcome and weight of what is seen.
SEEN: Mapping[Source, tuple[float, float]] = {
    "failed": (0.0, 1.0),
    "empty": (0.0, 1.0),
    "refused": (0.0, 1.0),
    "invalid_json": (0.0, 1.0),
    "regenerated": (0.2, 0.3),
}
SAID_WEIGHT = 1.0
MOST_OF_ONE_USER = 0.2  # of a model's evidence
LEAST_WEIGHT = 0.01  # of an outcome: less would only make others fade


def outcome_of(details: Mapping[str, Any]) -> tuple[Source, float] | None:
    """
    Read what a feedback row says: one to five stars as 0 to 1, else the share of votes that are up.

    None: it says neither.
    """
    stars = details.get("quality_score")
    if isinstance(stars, int) and not isinstance(stars, bool) and 1 <= stars <= MOST_STARS:
        return "stars", (stars - 1) / (MOST_STARS - 1)
    votes = details.get("votes")
    if not isinstance(votes, Mapping):
        return None
    up, down = _count(votes.get("up")), _count(votes.get("down"))
    return ("votes", up / (up + down)) if up + down else None


def capped(weight: float, *, own: float, everyone: float) -> float:
    """
    Return the weight that an outcome may have, so that one user stays one of many.

    Solves own + w <= MOST_OF_ONE_USER (everyone + prior + w) for w.

    Args:
        weight: That it would have.
        own: Of the same user's outcomes of this model, faded.
        everyone: Of all outcomes of this model, faded.
    """
    room = MOST_OF_ONE_USER * (everyone + PRIOR_LEVEL) - own
    return max(0.0, min(weight, room / (1 - MOST_OF_ONE_USER)))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
