"""
How often a provider may be asked the same thing again.

When a provider fails, every client that retries makes it worse: what is asked again is bounded to
a share of what is asked, over the last minute. A fallback on another provider is no retry: there
it is a call like any other.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from services.router.providers.metrics import REPEATS

RATIO = 0.3  # of the calls: a provider sees at most 1.3 times what is asked of it
FREE = 5  # in a window, whatever was asked: a quiet deployment may retry too
WINDOW_S = 60.0
_SLICES = 12


@dataclass(slots=True)
class _Slice:
    number: int
    calls: int = 0
    repeats: int = 0


@dataclass(slots=True)
class _Window:
    slices: deque[_Slice] = field(default_factory=deque)
    calls: int = 0
    repeats: int = 0


@dataclass(slots=True)
class RetryBudget:
    """
    Told of every call, asked before every repeat.

    Args:
        ratio: Repeats allowed for each call.
        free: Repeats allowed in any case.
        window_s: Over how long both are counted.
        now: A monotonic clock.
    """

    ratio: float = RATIO
    free: int = FREE
    window_s: float = WINDOW_S
    now: Callable[[], float] = time.monotonic
    _windows: dict[str, _Window] = field(default_factory=dict)

    def called(self, provider: str) -> None:
        """Count a call that is no repeat."""
        window = self._window(provider)
        window.slices[-1].calls += 1
        window.calls += 1

    def take(self, provider: str) -> bool:
        """Return whether *provider* may be asked once more, and count it if so."""
        window = self._window(provider)
        allowed = window.repeats + 1 <= max(self.free, self.ratio * window.calls)
        REPEATS.labels(provider, "granted" if allowed else "refused").inc()
        if not allowed:
            return False
        window.slices[-1].repeats += 1
        window.repeats += 1
        return True

    def _window(self, provider: str) -> _Window:
        """Return the window as of now: slices that have left it are forgotten."""
        window = self._windows.setdefault(provider, _Window())
        number = int(self.now() * _SLICES / self.window_s)
        if not window.slices or window.slices[-1].number != number:
            window.slices.append(_Slice(number))
            while window.slices[0].number <= number - _SLICES:
                gone = window.slices.popleft()
                window.calls -= gone.calls
                window.repeats -= gone.repeats
        return window
