"""Figures of feedback: by model, by source, by day."""

from datetime import UTC, datetime, timedelta

import pytest

from common.errors import Invalid
from common.ids import new_id
from common.postgres import connection
from services.router.store.feedback_stats import FeedbackStats, ModelFeedback, Votes

NOW = datetime.now(UTC)


async def judged(
    pool, *outcomes, model="acme/one", source="stars", pattern="code", days=0, weight=0.5
):
    """Keep *outcomes* of answers given *days* ago."""
    async with connection(pool) as conn:
        await conn.executemany(
            "INSERT INTO router.judgements (request_id, model, source, revision, outcome, weight,"
            " features, role, pattern, place, occurred_at)"
            " VALUES ($1, $2, $3, 1, $4, $7, '', 'plain', $5, 1, $6)",
            [
                (new_id(), model, source, one, pattern, NOW - timedelta(days=days), weight)
                for one in outcomes
            ],
        )


async def voted(pool, *ratings, spent=False):
    request_id = new_id()
    async with connection(pool) as conn:
        await conn.executemany(
            "INSERT INTO router.votes (cache_key, request_id, model, rating, spent)"
            " VALUES ('key', $1, 'acme/one', $2, $3)",
            [(request_id, rating, spent) for rating in ratings],
        )


async def test_a_summary_adds_up_by_model_and_source(pool):
    await judged(pool, 1.0, 0.5)
    await judged(pool, 0.0, source="empty")
    await judged(pool, 1.0, model="acme/two")
    await judged(pool, 0.0, days=8)
    await voted(pool, -1, -1, -1, spent=True)
    await voted(pool, 1, -1)

    found = await FeedbackStats(pool).summary(7)

    assert [
        ModelFeedback("acme/one", "empty", 1, 0.0, 0.5),
        ModelFeedback("acme/one", "stars", 2, 0.75, 1.0),
        ModelFeedback("acme/two", "stars", 1, 1.0, 0.5),
    ] == found.models
    assert (Votes(2, 1, 4, 1), 7) == (found.votes, found.days)


async def test_nothing_said_is_no_figures(pool):
    stats = FeedbackStats(pool)

    assert ([], Votes(0, 0, 0, 0), 30) == (
        (found := await stats.summary(0)).models,
        found.votes,
        found.days,
    )
    assert ([], [], 30) == (
        (trends := await stats.trends("", 0)).trends,
        trends.patterns,
        trends.days,
    )


async def test_a_model_that_got_worse_shows_it(pool):
    await judged(pool, *[1.0] * 12, days=8)
    await judged(pool, *[0.0] * 12, days=2)
    await judged(pool, *[0.5] * 3, pattern="creative", days=2)

    [trend] = (await FeedbackStats(pool).trends("code", 10)).trends

    assert ("acme/one", "code", 24, 0.5) == (
        trend.model,
        trend.pattern,
        trend.outcomes,
        trend.quality,
    )
    assert [(1.0, 12), (0.0, 12)] == [(day.quality, day.outcomes) for day in trend.days]
    assert -1.0 == trend.change.low == trend.change.value < trend.change.high < -0.5


async def test_all_patterns_together_make_one_trend_a_model(pool):
    await judged(pool, 1.0, pattern="code")
    await judged(pool, 0.0, pattern="creative")

    found = await FeedbackStats(pool).trends("", 10)

    assert ["code", "creative"] == found.patterns
    [trend] = found.trends
    assert ("all", 2, 0.5, None) == (
        trend.pattern,
        trend.outcomes,
        trend.quality,
        trend.change,  # too few to say
    )


async def test_an_outcome_weighs_in_a_trend_what_it_weighed_in_learning(pool):
    await judged(pool, 1.0, weight=0.9)
    await judged(pool, 0.0, 0.0, 0.0, weight=0.1)

    [trend] = (await FeedbackStats(pool).trends("code", 10)).trends
    [summed] = (await FeedbackStats(pool).summary(10)).models

    assert (4, pytest.approx(0.75)) == (trend.outcomes, trend.quality)
    assert [(4, pytest.approx(0.75))] == [(day.outcomes, day.quality) for day in trend.days]
    assert (0.25, pytest.approx(1.2)) == (summed.quality, summed.weight)  # of what was said: plain


async def test_absurd_rows_spoil_no_figure(pool):
    await judged(pool, 0.5)
    for absurd in (float("nan"), float("inf"), -1.0, 2.0):
        await judged(pool, absurd)
    for weight in (float("nan"), float("inf"), -1.0, 1e300):
        await judged(pool, 0.5, weight=weight)
    stats = FeedbackStats(pool)

    assert [ModelFeedback("acme/one", "stars", 1, 0.5, 0.5)] == (await stats.summary(10)).models
    assert [(1, 0.5)] == [(t.outcomes, t.quality) for t in (await stats.trends("", 10)).trends]


@pytest.mark.parametrize(("pattern", "days"), [("gossip", 10), ("", 91)])
async def test_what_is_not_kept_cannot_be_asked_for(pool, pattern, days):
    with pytest.raises(Invalid):
        await FeedbackStats(pool).trends(pattern, days)


async def test_a_known_pattern_without_outcomes_has_no_trends(pool):
    assert [] == (await FeedbackStats(pool).trends("translation", 10)).trends
