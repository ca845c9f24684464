"""Which requests are compared: a share of them, texts about texts only, at a known price."""

import pytest

from services.gateway.domain.comparing import (
    Price,
    dearest_of,
    is_comparable,
    is_drawn,
    most_nano_usd,
)

ASKED = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_share_is_drawn(share):
    drawn = sum(is_drawn(7, f"request-{number}", share) for number in range(4_000))

    assert drawn / 4_000 == pytest.approx(share, abs=0.03)


def test_all_or_nothing_can_be_drawn():
    ids = [f"request-{number}" for number in range(500)]

    assert all(is_drawn(7, one, 1.0) for one in ids)
    assert not any(is_drawn(7, one, share) for one in ids for share in (0.0, -1.0, float("nan")))


def test_a_draw_is_the_same_everywhere_and_another_for_another_experiment():
    ids = [f"request-{number}" for number in range(200)]
    draws = [[is_drawn(experiment, one, 0.5) for one in ids] for experiment in (1, 1, 2)]

    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n": 1, "tools": [], "modalities": ["text"], "max_tokens": 5},
        {"n": None, "tools": None, "modalities": None},
        {"messages": [{"role": "system", "content": "x"}, *ASKED]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [*ASKED, {"role": "assistant", "content": None}, *ASKED]},
    ],
    ids=str,
)
def test_texts_about_texts_are_compared(changes):
    assert is_comparable({"messages": ASKED, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 2},
        {"tools": [{"type": "function"}]},
        {"functions": [{"name": "f"}]},
        {"web_search_options": {}},
        {"modalities": ["text", "audio"]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"messages": [{"role": "user", "content": ["text"]}]},
        {"messages": [*ASKED, {"role": "tool", "content": "4"}]},
        {"messages": [*ASKED, {"role": "assistant", "tool_calls": [{"id": "1"}]}]},
    ],
    ids=str,
)
def test_what_a_judge_of_texts_cannot_see_is_not(changes):
    assert not is_comparable({"messages": ASKED, **changes})


def estimate(**changes):
    fields = {
        "body_bytes": 3_000,
        "limit_tokens": None,
        "served_tokens": 100,
        "dearest": Price(1_000_000, 0),
        "judge": Price(0, 0),
        **changes,
    }
    return most_nano_usd(**fields)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 2 * 1_001),  # a token of three bytes, two calls
        ({"dearest": Price(0, 1_000_000)}, 2 * 1_024),
        ({"dearest": Price(0, 1_000_000), "served_tokens": 1_000}, 2 * 4_000),
        ({"dearest": Price(0, 1_000_000), "limit_tokens": 50}, 2 * 50),
        ({"dearest": Price(0, 0), "judge": Price(0, 1_000_000)}, 2 * 16),
        (
            {"dearest": Price(0, 0), "judge": Price(1_000_000, 0), "limit_tokens": 50},
            2 * (400 + 1_001 + 2 * 50),
        ),
        (
            {
                "dearest": Price(0, 0),
                "judge": Price(1_000_000, 0),
                "body_bytes": 10**6,
                "served_tokens": 10**6,
            },
            2 * (400 + 4_001 + 2 * 2_667),  # what a judge is shown has a bound
        ),
    ],
    ids=str,
)
def test_a_comparison_is_estimated_from_above(changes, expected):
    assert expected == estimate(**changes)


def test_the_dearest_is_dear_in_everything():
    assert Price(5, 9) == dearest_of([Price(5, 1), Price(2, 9)])
    assert dearest_of([]) is None
