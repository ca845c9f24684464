"""Today's spend: what is applied plus what was answered since, each cent once."""

from datetime import UTC, datetime, timedelta

from services.gateway.domain.spend import CLOCK_SLACK, FORGET_AFTER, MAX_ANSWERED, Today

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
DAY = NOON.date()


def applied(today: Today, totals, *, ids=(), latest_at=None, now=NOON) -> None:
    today.applied(now.date(), totals, request_ids=ids, latest_at=latest_at, now=now)


def test_an_answer_counts_at_once():
    today = Today()
    today.expect("a", "t", NOON)
    today.answered("a", 5, NOON)

    assert today.total("t", DAY) == today.total(None, DAY) == 5
    assert today.total("other", DAY) == 0


def test_what_is_applied_counts_once():
    today = Today()
    today.expect("a", "t", NOON)
    today.answered("a", 5, NOON)
    applied(today, {"t": 5}, ids=["a"])

    assert today.total("t", DAY) == 5


def test_a_row_may_be_faster_than_its_answer():
    today = Today()
    today.expect("a", "t", NOON)
    applied(today, {"t": 5}, ids=["a"])
    today.answered("a", 5, NOON)

    assert today.total("t", DAY) == 5


def test_what_failed_or_has_no_price_counts_nothing_here():
    today = Today()
    today.expect("failed", "t", NOON)
    today.give_up("failed")
    today.expect("unpriced", "t", NOON)
    today.answered("unpriced", None, NOON)

    assert (today.total("t", DAY), today.waits, today.known("failed")) == (0, False, False)


def test_what_another_replica_applied_is_known_by_its_time():
    today = Today()
    today.expect("a", "t", NOON)
    today.answered("a", 5, NOON)
    newer = NOON + CLOCK_SLACK + timedelta(milliseconds=1)
    applied(today, {"t": 5}, latest_at=NOON, now=newer)
    before = today.total("t", DAY)
    applied(today, {"t": 5}, latest_at=newer, now=newer)

    assert (before, today.total("t", DAY)) == (10, 5)


def test_without_traffic_an_old_answer_is_taken_for_applied():
    today = Today()
    today.expect("a", "t", NOON)
    today.answered("a", 5, NOON)
    applied(today, {"t": 5}, now=NOON + FORGET_AFTER + timedelta(seconds=1))

    assert (today.total("t", DAY), today.waits) == (5, False)


def test_a_new_day_begins_at_zero():
    today = Today()
    today.expect("a", "t", NOON)
    today.answered("a", 5, NOON)
    applied(today, {"t": 7})
    tomorrow = DAY + timedelta(days=1)

    assert (today.total("t", DAY), today.total("t", tomorrow), today.total(None, tomorrow)) == (
        12,
        0,
        0,
    )


def test_everyone_is_all_tenants():
    today = Today()
    applied(today, {"t": 1, "u": 2})
    today.expect("a", "v", NOON)
    today.answered("a", 4, NOON)

    assert today.total(None, DAY) == 7


def test_what_waits_long_costs_no_memory_and_is_not_forgotten():
    today = Today()
    for number in range(MAX_ANSWERED + 50):
        today.expect(str(number), "t", NOON)
        today.answered(str(number), 2, NOON)
    waiting = today.total("t", DAY)
    known = sum(today.known(str(number)) for number in range(MAX_ANSWERED + 50))
    everything = 2 * (MAX_ANSWERED + 50)
    applied(today, {"t": everything}, now=NOON + FORGET_AFTER + timedelta(seconds=1))

    assert (waiting, known) == (everything, MAX_ANSWERED)
    assert (today.total("t", DAY), today.waits) == (everything, False)
