"""Quality of answers, 0 to 1, of several sources together. Pure."""

from collections.abc import Iterable


def mean_quality(parts: Iterable[tuple[float, float]]) -> float | None:
    """
    Return the weighted mean of *parts*; None where nothing has weight.

    Args:
        parts: Quality, 0 to 1, and its weight, at least 0, each.
    """
    known = [(quality, weight) for quality, weight in parts if weight > 0]
    total = sum(weight for _, weight in known)
    return sum(quality * weight for quality, weight in known) / total if known else None
