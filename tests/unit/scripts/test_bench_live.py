"""How late a push is, and whether the page of figures says so."""

from dataclasses import replace
from math import inf

import pytest

from scripts.bench_live_report import Hits, Pushes, Report, late_ms, promises, render, spread_ms


def pushes(name="every second", **changed):
    one = Pushes(name, 1, 2_000, 40_000, [0.0, 1.0, 90.0], [900.0, 1_010.0], 0.17, 180.0)
    return replace(one, **changed)


def a_report(**changed):
    report = Report(
        hits=[Hits("alone", 1, 100, 3_000, 0.3, 1.0), Hits("alone", 10, 100, 6_000, 1.5, 4.0)],
        paints_ms=[200.0, 250.0, 900.0],
        pushes=[pushes(), pushes("every second, 100 more stuck")],
        stuck=100,
        unread=20,
        kept=1,
    )
    return replace(report, **changed)


def kept(report):
    return [promise.kept for promise in promises(report)]


def test_a_push_is_late_against_the_most_punctual_of_its_socket():
    heard = [(10.02, 0), (11.0, 0), (12.5, 1), (13.5, 1)]

    assert pytest.approx([20, 0, 500, 500]) == late_ms(heard, 1)


def test_a_snapshot_is_everywhere_when_the_last_socket_has_it_or_a_newer_one():
    sockets = [[(1.2, 0), (2.2, 1), (3.2, 2)], [(1.9, 0), (3.9, 2)]]

    assert pytest.approx([900, 1_900]) == spread_ms([(1.0, 0), (2.0, 1)], sockets, until=9)


def test_a_snapshot_that_a_socket_never_had_is_not_forgotten():
    assert [inf] == spread_ms([(1.0, 5)], [[(2.0, 5)], [(2.0, 4)]], until=9)


def test_what_is_published_when_the_window_ends_is_not_judged():
    assert [] == spread_ms([(9.5, 0)], [[]], until=9)


def test_a_fast_machine_keeps_every_promise():
    assert [True] * 5 == kept(a_report())


@pytest.mark.parametrize(
    "slow",
    [
        {"late": [0.0, 1_000.0]},
        {"spread": [2_000.0]},
        {"spread": [inf]},
        {"processor_ratio": 0.4},
    ],
)
def test_each_promise_of_the_sockets_can_be_missed(slow):
    assert [True, True, True, True, False] == kept(a_report(pushes=[pushes(), pushes(**slow)]))


def test_each_other_promise_can_be_missed():
    hits = [Hits("alone", 1, 100, 400, 2.0, 3.0), Hits("alone", 10, 100, 999, 1.5, 4.0)]

    assert [False] * 3 == kept(a_report(hits=hits, paints_ms=[1_000.0], pushes=[]))


def test_a_page_that_was_not_opened_is_not_judged():
    report = a_report(paints_ms=[])

    assert [True] * 4 == kept(report)
    assert "paint" not in render(report, {})


def test_the_section_shows_every_row():
    section = render(a_report(), {"machine": "a box"})

    assert "| every second | 2,000 | 40,000 | 1.0 | 90.0 | 90.0 | 900 | 1,010 | 17 % |" in section
    assert "| alone | 10 | 100 | 6,000 | 1.50 | 4.00 |" in section
    assert "the median 250 ms" in section
