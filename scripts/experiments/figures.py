"""Figures with what chance leaves open of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

Z = 1.959964  # 95 %


@dataclass(frozen=True, slots=True)
class Share:
    """How often something happened."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        return self.hits / self.of

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the 95 % interval of E. B. Wilson (1927), J. Am. Stat. Assoc. 22."""
        n, p = self.of, self.value
        middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        low, high = self.bounds
        return f"{self.value:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def share(happened: Iterable[bool]) -> Share:
    every = list(happened)
    return Share(sum(every), len(every))


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with the 95 % interval of the normal approximation, and the median beside it."""

    value: float
    half: float
    median: float

    def __str__(self) -> str:
        low, high = self.value - self.half, self.value + self.half
        return f"{self.value:.2f} [{low:.2f}, {high:.2f}]"


def mean(values: Iterable[float]) -> Mean:
    every = sorted(values)
    n = len(every)
    middle = sum(every) / n
    deviation = sqrt(sum((one - middle) ** 2 for one in every) / (n - 1))
    return Mean(middle, Z * deviation / sqrt(n), (every[(n - 1) // 2] + every[n // 2]) / 2)
