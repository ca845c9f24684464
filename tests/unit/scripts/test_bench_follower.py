"""How fast rows are applied is told from looks at how many there are."""

from dataclasses import replace

import pytest

from scripts.bench_follower_report import CatchUp, Report, Trail, promises, render


def caught_up(*looks):
    return CatchUp.of(looks, 400, {"metrics": 0.02})


def test_the_clock_starts_with_the_first_rows_and_ends_with_the_last():
    assert 100 == caught_up((0, 0), (9, 0), (10, 100), (12, 300), (13, 400), (20, 400)).per_s


def test_too_few_rows_tell_nothing():
    with pytest.raises(ValueError, match="too few"):
        caught_up((0, 0), (1, 400))


def a_report(**changed):
    report = Report(CatchUp(200_000, 9_000, {"metrics": 4.0}), Trail(500, [0.1, 0.2, 0.5]))
    return replace(report, **changed)


def test_a_fast_machine_keeps_both_promises():
    assert [True, True] == [promise.kept for promise in promises(a_report())]


@pytest.mark.parametrize(
    "slow",
    [
        {"catch_up": CatchUp(200_000, 4_999, {}), "trail": Trail(500, [1.0])},
        {"catch_up": CatchUp(200_000, 10, {}), "trail": Trail(400, [0.1])},  # less was asked
    ],
)
def test_each_can_be_missed(slow):
    assert [False, False] == [promise.kept for promise in promises(a_report(**slow))]


def test_the_section_shows_every_figure():
    section = render(a_report(), {"machine": "a box"})

    assert "| 200,000 | 9,000 | 0.020 |" in section
    assert "| 500 | 3 | 0.20 | 0.50 | 0.50 |" in section
