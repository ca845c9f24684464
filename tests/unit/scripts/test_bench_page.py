"""Each bench writes its own section of the performance page and leaves the others alone."""

import re

import pytest

from scripts.bench_page import TARGET, Promise, facts, filled, opening, table, write

PAGE = """# Page
<!-- measured: one -->

old
<!-- /measured -->
between
<!-- measured: two -->
kept
<!-- /measured -->
"""


def test_a_section_replaces_itself_and_nothing_else():
    page = filled(PAGE, "one", "new \\1\n")

    assert page == PAGE.replace("old\n", "new \\1\n\n")
    assert page == filled(page, "one", "new \\1\n")


def test_a_section_that_is_not_on_the_page_is_not_lost_silently():
    with pytest.raises(ValueError, match="three"):
        filled(PAGE, "three", "new")


def test_a_glance_elsewhere_leaves_the_page_alone(tmp_path):
    before = TARGET.read_text()

    write("live", "a glance", tmp_path / "new" / "page.md")

    assert "a glance" in (tmp_path / "new" / "page.md").read_text()
    assert before == TARGET.read_text()


def test_the_page_has_a_section_for_every_bench_that_writes_one():
    sections = re.findall(r"<!-- measured: (\w+) -->", TARGET.read_text())

    assert ["requests", "live", "follower", "history"] == sections


def test_a_section_says_where_and_when():
    assert {"date", "commit", "command", "machine", "load before", "system"} == facts("x").keys()


def test_a_missed_promise_stands_out():
    kept = Promise("speed", "≥ 2", "3", kept=True)
    lines = opening({"machine": "a box"}, [kept, Promise("size", "≤ 1", "2", kept=False)])

    assert "| machine | a box |" in lines
    assert "| speed | ≥ 2 | 3 | kept |" in lines
    assert "| size | ≤ 1 | 2 | **missed** |" in lines


def test_figures_stand_to_the_right():
    assert ["| a | b |", "|---|---:|", "| x | 1 |"] == table(("a", "b"), [("x", "1")])
