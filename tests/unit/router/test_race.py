"""One after another, and side by side while one is merely slow."""

import asyncio

import pytest

from common.errors import Invalid
from services.router.race import Race, Turn

QUICK, SLOW = 0.01, 30


class Course:
    """Turns from a list; each is (seconds, result), an exception or None being a result too."""

    def __init__(self, *runners, patience_s=0.05):
        self.waiting = list(enumerate(runners))
        self.patience_s = patience_s
        self.begun, self.slow, self.called_off, self.discarded = [], [], [], []

    async def run(self):
        return await Race(first=self.next, beside=self.next, discard=self.discarded.append).run()

    def next(self):
        if not self.waiting:
            return None
        number, (seconds, result) = self.waiting.pop(0)
        return Turn(
            work=self.work(number, seconds, result),
            patience_s=self.patience_s if self.waiting else None,
            on_slow=lambda: self.slow.append(number),
        )

    async def work(self, number, seconds, result):
        self.begun.append(number)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.called_off.append(number)
            raise
        if isinstance(result, Exception):
            raise result
        return result


async def test_the_next_is_asked_when_one_fails():
    course = Course((QUICK, None), (QUICK, "b"), (QUICK, "c"))

    assert "b" == await course.run()
    assert ([0, 1], []) == (course.begun, course.slow)


async def test_nobody_left_is_nothing():
    assert None is await Course((QUICK, None), (QUICK, None)).run()


async def test_a_slow_one_is_called_off_when_another_answers():
    course = Course((SLOW, "a"), (QUICK, "b"))

    assert "b" == await course.run()
    assert ([0], [0]) == (course.slow, course.called_off)


async def test_a_slow_one_may_still_win():
    course = Course((0.1, "a"), (SLOW, "b"))

    assert "a" == await course.run()
    assert ([0, 1], [1]) == (course.begun, course.called_off)


async def test_of_two_slow_ones_the_older_makes_room_for_a_third():
    course = Course((SLOW, "a"), (SLOW, "b"), (QUICK, "c"))

    assert "c" == await course.run()
    assert [0, 1] == course.called_off


async def test_who_may_not_be_asked_now_is_asked_a_little_later():
    course = Course((SLOW, "a"), (QUICK, "b"))
    refusals = [None, None]
    race = Race(
        first=course.next,
        beside=lambda: refusals.pop() if refusals else course.next(),
        discard=course.discarded.append,
    )

    assert "b" == await race.run()
    assert [0] == course.slow


async def test_a_slow_one_is_waited_for_when_the_others_fail():
    course = Course((0.2, "a"), (QUICK, None))

    assert "a" == await course.run()


async def test_a_refusal_counts_once_nobody_else_is_under_way():
    with pytest.raises(Invalid):
        await Course((QUICK, Invalid("no")), (QUICK, "b")).run()

    assert "b" == await Course((0.1, Invalid("no")), (0.2, "b")).run()


async def test_a_race_that_is_called_off_calls_off_its_runners():
    course = Course((SLOW, "a"), (SLOW, "b"))
    race = asyncio.create_task(course.run())
    await asyncio.sleep(0.1)

    race.cancel()
    await asyncio.gather(race, return_exceptions=True)

    assert [0, 1] == course.called_off


async def test_a_result_that_comes_with_another_is_discarded():
    class Late(Course):
        async def work(self, number, seconds, result):
            try:
                return await super().work(number, seconds, result)
            except asyncio.CancelledError:
                return result  # it was here already

    course = Late((SLOW, "a"), (QUICK, "b"))

    assert "b" == await course.run()
    assert ["a"] == course.discarded
