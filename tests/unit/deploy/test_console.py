"""The terminal shows whose line it is, and JSON in words."""

import io

import pytest

from deploy.embedded.console import Console, in_words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"event": "ready", "level": "info", "service": "router"}', "info: ready"),
        (
            '{"event": "late", "level": "warning", "after_s": 2, "why": "no answer"}',
            'warning: late  after_s=2 why="no answer"',
        ),
        ("LOG:  database system is ready", "LOG:  database system is ready"),
        ("{broken", "{broken"),
        ('{"no": "event"}', '{"no": "event"}'),
    ],
)
def test_json_is_told_in_words_and_anything_else_as_it_is(line, expected):
    assert expected == in_words(line)


def test_a_line_stands_behind_its_process_without_colours_in_a_file():
    out = io.StringIO()

    Console(out).say("router", "hello")

    assert "router      | hello\n" == out.getvalue()


def test_a_reader_that_went_away_stops_nothing():
    out = io.StringIO()
    console = Console(out)
    out.close()

    console.say("router", "hello")
