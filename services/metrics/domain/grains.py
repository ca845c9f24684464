"""
The stretches of time that are summed up ahead, and how any longer one is made of them. Pure.

They are the usual steps of `GET /metrics/history`: a month is read as 120 quarters of a day instead
of 43,200 minutes. All are aligned to the Unix epoch, so each begins where a shorter one does.
"""

from datetime import UTC, datetime, timedelta

MINUTE_S, QUARTER_S, HOUR_S, QUARTER_DAY_S = 60, 900, 3600, 21_600
GRAINS_S = (MINUTE_S, QUARTER_S, HOUR_S, QUARTER_DAY_S)


def start_of(moment: datetime, grain_s: int) -> datetime:
    """Return where the stretch that contains *moment* begins."""
    return datetime.fromtimestamp(int(moment.timestamp()) // grain_s * grain_s, UTC)


def longest(step_s: int) -> int:
    """Return the longest grain that steps of whole minutes are made of."""
    return max(grain_s for grain_s in GRAINS_S if step_s % grain_s == 0)


def starts(since: datetime) -> list[datetime]:
    """
    Return where to begin reading each grain for everything since the minute *since*.

    Each is read up to where the next longer one begins; the longest to its end.
    """
    found = [since]
    for grain_s in GRAINS_S[1:]:
        found.append(start_of(found[-1] + timedelta(seconds=grain_s - 1), grain_s))
    return found
