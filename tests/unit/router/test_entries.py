"""How one ledger row follows from another: guesses, corrections, sums."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.router.domain.entries import (
    Kind,
    Row,
    clean_ms,
    clean_text,
    correction,
    finish,
    guess,
    total,
)
from tests.ledger_builders import a_row, an_opened

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def settled(cost: int | None = 100, **changes: object) -> Row:
    pricing = "unpriced" if cost is None else "priced"
    return a_row(Kind.SETTLED, cost_nano_usd=cost, pricing=pricing, outcome="ok", **changes)


def test_a_guess_owes_what_was_expected():
    opened = an_opened(cost_nano_usd=700)

    row = guess(opened, recorded_at=NOW)

    assert (Kind.SETTLED, opened.attempt_id, "unknown", 700, "priced", True) == (
        row.kind,
        row.attempt_id,
        row.outcome,
        row.cost_nano_usd,
        row.pricing,
        row.estimated,
    )


def test_a_guess_on_an_unpriced_model_is_unpriced():
    row = guess(an_opened(cost_nano_usd=None), recorded_at=NOW)

    assert (None, "unpriced") == (row.cost_nano_usd, row.pricing)


@pytest.mark.parametrize(
    ("guessed", "true", "difference", "together"),
    [
        (700, 1000, 300, (1000, "priced")),
        (700, 200, -500, (200, "priced")),
        (None, 1000, 1000, (1000, "priced")),
        (700, None, -700, (None, "unpriced")),
        (None, None, None, (None, "unpriced")),
    ],
)
def test_guess_and_correction_add_up_to_the_truth(guessed, true, difference, together):
    wrong = guess(an_opened(cost_nano_usd=guessed), recorded_at=NOW)
    truth = settled(true, attempt_id=wrong.attempt_id, input_tokens=9)

    corrected = correction(wrong, truth)

    assert (difference, 9) == (corrected.cost_nano_usd, corrected.input_tokens)
    assert together == total([wrong, corrected])


def test_a_guess_that_was_right_needs_no_correction():
    wrong = guess(an_opened(), recorded_at=NOW)

    assert None is correction(wrong, replace(wrong, recorded_at=NOW))


def test_the_truth_is_not_corrected():
    assert None is correction(settled(1), settled(2))


def test_one_unpriced_attempt_makes_the_sum_unpriced():
    assert (None, "unpriced") == total([settled(1), settled(None)])
    assert (3, "priced") == total([settled(1), settled(2)])
    assert (0, "priced") == total([])


def test_an_abandoned_request_is_closed_with_what_is_known_and_what_is_guessed():
    first = an_opened(cost_nano_usd=10)
    second = an_opened(cost_nano_usd=20, request_id=first.request_id)
    known = settled(11, attempt_id=first.attempt_id, request_id=first.request_id)

    guessed, closed = finish([first, second, known], recorded_at=NOW)

    assert (second.attempt_id, "unknown", 20) == (
        guessed.attempt_id,
        guessed.outcome,
        guessed.cost_nano_usd,
    )
    assert (Kind.CLOSED, first.request_id, "unknown", 31, True) == (
        closed.kind,
        closed.attempt_id,
        closed.outcome,
        closed.cost_nano_usd,
        closed.estimated,
    )


@pytest.mark.parametrize(("cost", "baseline"), [(5, 0), (0, None), (None, None)])
def test_what_an_abandoned_request_cost_is_a_loss(cost, baseline):
    [_, closed] = finish([an_opened(cost_nano_usd=cost)], recorded_at=NOW)

    assert (cost, baseline) == (closed.cost_nano_usd, closed.baseline_cost_nano_usd)


def test_a_finished_request_stays_as_it_is():
    opened = an_opened()
    known = settled(attempt_id=opened.attempt_id)
    closed = a_row(attempt_id=opened.request_id)

    assert [] == finish([opened, known, closed], recorded_at=NOW)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        (None, None),
        ("plain", "plain"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("lone \ud800", "lone ?"),
        ("ü\0", "ü\N{REPLACEMENT CHARACTER}"),
        ("x" * 501, "x" * 500),
    ],
    ids=ascii,
)
def test_text_becomes_what_a_database_can_hold(dirty, clean):
    assert clean == clean_text(dirty)


@pytest.mark.parametrize("absurd", [float("nan"), float("inf"), -1.0, None])
def test_a_duration_that_cannot_be_summed_is_not_known(absurd):
    assert None is clean_ms(absurd)
