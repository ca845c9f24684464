"""The comparison itself: it must see every way in which ledger and bill can differ."""

from uuid import UUID

import pytest

from tests.e2e.books import CLOSED, CORRECTED, OPENED, SETTLED, Books

REQUEST, ATTEMPT, OTHER = (UUID(int=(0x01A2 << 112) + n) for n in (1, 2, 3))


def a_row(kind, *, attempt=ATTEMPT, **changed):
    return {
        "attempt_id": attempt,
        "kind": kind,
        "revision": 0,
        "request_id": REQUEST,
        "outcome": "ok",
        "model": "sandbox/tiny",
        "input_tokens": 10,
        "cached_input_tokens": 0,
        "output_tokens": 5,
        "cost_nano_usd": 1_500,
        "estimated": False,
        "cache_hit": False,
        "provider_response_id": "r1",
        **changed,
    }


def an_entry(**changed):
    return {
        "client_request_id": str(ATTEMPT),
        "response_id": "r1",
        "model": "tiny",
        "input_tokens": 10,
        "cached": 0,
        "output_tokens": 5,
        "cost_nano_usd": 1_500,
        **changed,
    }


def rows(**settled):
    cost = settled.get("cost_nano_usd", 1_500)
    return [
        a_row(OPENED, cost_nano_usd=9_999),
        a_row(SETTLED, **settled),
        a_row(CLOSED, attempt=REQUEST, cost_nano_usd=cost),
    ]


def test_sound_books_have_no_problems():
    assert [] == Books(rows(), [an_entry()]).problems()


def test_a_guess_need_not_equal_the_bill():
    guess = rows(outcome="unknown", estimated=True, cost_nano_usd=2_000, provider_response_id=None)

    assert [] == Books(guess, [an_entry()]).problems()
    assert [] == Books(guess, []).problems()


def test_a_corrected_guess_must_equal_it():
    guess = rows(outcome="unknown", estimated=True, cost_nano_usd=2_000, output_tokens=0)
    truth = a_row(
        CORRECTED,
        revision=1,
        input_tokens=0,
        output_tokens=5,
        cost_nano_usd=-500,
    )

    assert [] == Books([*guess, truth], [an_entry()]).problems()
    assert Books([*guess, {**truth, "cost_nano_usd": -400}], [an_entry()]).problems()


@pytest.mark.parametrize(
    ("ledger", "bill"),
    [
        (rows(), [an_entry(), an_entry()]),  # billed twice
        (rows(), []),  # paid, not billed
        (rows(), [an_entry(cost_nano_usd=1_501)]),  # a nano too much
        (rows(), [an_entry(output_tokens=6)]),
        (rows(), [an_entry(response_id="r2")]),
        (rows(), [an_entry(model="frontier")]),
        (rows(), [an_entry(), an_entry(client_request_id=str(OTHER))]),  # billed, not recorded
        (rows(), [an_entry(), an_entry(client_request_id=None)]),
        ([*rows(), a_row(SETTLED)], [an_entry()]),  # settled twice
        (rows()[:1] + rows()[2:], []),  # opened, never settled
        (rows()[1:], [an_entry()]),  # settled, never opened
        (rows()[:2], [an_entry()]),  # never closed
        ([*rows(), a_row(CLOSED, attempt=REQUEST)], [an_entry()]),  # closed twice
        ([*rows()[:2], a_row(CLOSED, attempt=REQUEST, cost_nano_usd=1)], [an_entry()]),
    ],
)
def test_unsound_books_are_found_out(ledger, bill):
    assert Books(ledger, bill).problems()
