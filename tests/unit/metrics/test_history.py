"""Stretches of time: aligned, whole, bounded, and never with holes."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from common.errors import Invalid
from services.metrics.domain.history import Totals, window

NOW = datetime(2026, 1, 2, 12, 34, 56, tzinfo=UTC)


def test_the_last_step_contains_now_and_all_are_aligned():
    hour = window(NOW, window_s=3600, step_s=600)

    starts = [step.since for step in hour.fill([])]

    assert NOW.replace(hour=11, minute=30, second=0) == starts[0] <= NOW - timedelta(hours=1)
    assert NOW.replace(minute=30, second=0) == starts[-1]
    assert {timedelta(minutes=10)} == {b - a for a, b in itertools.pairwise(starts)}


def test_steps_without_requests_are_zeros():
    two = window(NOW, window_s=60, step_s=60)
    busy = Totals(NOW.replace(second=0), requests=3)

    assert [Totals(NOW.replace(minute=33, second=0)), busy] == two.fill([busy])


@pytest.mark.parametrize(
    ("step_s", "grain_s"),
    [
        (60, 60),
        (900, 900),
        (1800, 900),
        (5400, 900),
        (7200, 3600),
        (21_600, 21_600),
        (86_400, 21_600),
    ],
)
def test_steps_are_made_of_the_longest_grain_that_fits(step_s, grain_s):
    assert grain_s == window(NOW, window_s=max(3600, step_s), step_s=step_s).grain_s


def test_a_month_by_the_hour_is_not_too_much():
    month = window(NOW, window_s=30 * 86_400, step_s=3600)

    assert (721, NOW.replace(hour=13, minute=0, second=0)) == (month.count, month.end)


@pytest.mark.parametrize(("window_s", "step_s"), [(3600, 3600), (61, 60), (86_400, 86_400)])
def test_no_part_of_the_window_is_left_out(window_s, step_s):
    for now in (NOW, NOW.replace(minute=0, second=0), NOW.replace(hour=0, minute=1)):
        found = window(now, window_s=window_s, step_s=step_s)

        began = now - timedelta(seconds=window_s)
        assert found.start <= began < found.start + timedelta(seconds=step_s)
        assert found.end > now


@pytest.mark.parametrize(
    ("window_s", "step_s", "param"),
    [
        (59, 60, "window"),
        (30 * 86_400 + 1, 3600, "window"),
        (-1, 60, "window"),
        (3600, 0, "step"),
        (3600, -60, "step"),
        (3600, 90, "step"),
        (3600, 7200, "step"),
        (3600, 86_460, "step"),
        (30 * 86_400, 60, "step"),
        (751 * 60, 60, "step"),
    ],
)
def test_what_no_chart_can_show_is_refused(window_s, step_s, param):
    with pytest.raises(Invalid) as refused:
        window(NOW, window_s=window_s, step_s=step_s)

    assert param == refused.value.param
