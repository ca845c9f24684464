"""What was learned, and from what: status, retraining, summary, trends, quality at a glance."""

import pytest
from optimizer.router.v1 import router_pb2

from common.errors import Conflict, Invalid, Unavailable
from tests.fake_router import a_belief

STATUS = "/admin/learning/status"
RETRAIN = "/admin/learning/retrain"
SUMMARY = "/admin/feedback/summary"
TRENDS = "/admin/performance/trends"
QUALITY = "/quality/stats"
NAN = float("nan")


async def test_what_was_learned_is_shown(stack):
    stack.router.learning = router_pb2.GetLearningStatusResponse(
        models=[a_belief()],
        outcomes=12,
        comparison=router_pb2.Comparison(
            treated=30,
            control=20,
            treated_quality=0.75,
            control_quality=0.5,
            most_advantage=0.375,
            fallen_back=True,
        ),
        last_refit=router_pb2.Refit(fitted_at_ms=1_500, outcomes=10),
        refused=1,
        moderate_from=0.25,
        complex_from=0.625,
        thresholds_from_prompts=400,
    )

    answer = await stack.client.get(STATUS)

    assert answer.json() == {
        "models": [
            {
                "model": "acme/small",
                "difficulty": "simple",
                "quality": 0.75,
                "spread": 0.125,
                "evidence": 4.0,
                "outcomes": 5,
            }
        ],
        "outcomes": 12,
        "comparison": {
            "treated": 30,
            "control": 20,
            "treated_quality": 0.75,
            "control_quality": 0.5,
            "most_advantage": 0.375,
            "fallen_back": True,
        },
        "last_refit": {"fitted_at": "1970-01-01T00:00:01.500Z", "outcomes": 10},
        "refused": 1,
        "thresholds": {"moderate_from": 0.25, "complex_from": 0.625, "from_prompts": 400},
    }


async def test_what_nobody_knows_yet_is_null(stack):
    answer = (await stack.client.get(STATUS)).json()

    assert answer["last_refit"] is None
    assert answer["comparison"] == {
        "treated": 0,
        "control": 0,
        "treated_quality": None,
        "control_quality": None,
        "most_advantage": None,
        "fallen_back": False,
    }


async def test_no_figure_is_ever_nan(stack):
    stack.router.learning = router_pb2.GetLearningStatusResponse(
        models=[a_belief(quality=NAN, spread=float("inf"))],
        comparison=router_pb2.Comparison(most_advantage=NAN),
    )

    answer = (await stack.client.get(STATUS)).json()

    assert (answer["models"][0]["quality"], answer["models"][0]["spread"]) == (None, None)
    assert answer["comparison"]["most_advantage"] is None


@pytest.mark.parametrize(
    ("query", "dry_run"), [("", False), ("?dry_run=false", False), ("?dry_run=true", True)]
)
async def test_retraining_says_what_it_changes(stack, query, dry_run):
    answer = await stack.client.post(f"{RETRAIN}{query}")

    assert stack.router.learning_asks == [router_pb2.RetrainLearningRequest(dry_run=dry_run)]
    assert answer.json() == {
        "dry_run": dry_run,
        "outcomes": 40,
        "models": [
            {
                "model": "acme/small",
                "difficulty": "simple",
                "quality_before": 0.75,
                "quality_after": 0.5,
            }
        ],
    }


async def test_a_model_that_came_or_went_is_shown_all_the_same(stack):
    stack.router.learning = router_pb2.RetrainLearningResponse(
        before=[a_belief(model="acme/gone")], after=[a_belief(model="acme/new")]
    )

    models = (await stack.client.post(RETRAIN)).json()["models"]

    seen = {one["model"]: (one["quality_before"], one["quality_after"]) for one in models}
    assert seen == {"acme/new": (None, 0.75), "acme/gone": (0.75, None)}


async def test_two_do_not_retrain_at_once(stack):
    stack.router.learning = Conflict("another replica is fitting; try again in a moment")

    answer = await stack.client.post(RETRAIN)

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_a_dry_run_that_is_neither_is_422(stack):
    answer = await stack.client.post(f"{RETRAIN}?dry_run=perhaps")

    assert (answer.status_code, "dry_run" in answer.json()["detail"]) == (422, True)
    assert stack.router.learning_asks == []


def said(model, source, outcomes, quality, weight):
    return router_pb2.ModelFeedback(
        model=model, source=source, outcomes=outcomes, quality=quality, weight=weight
    )


SAID = router_pb2.GetFeedbackSummaryResponse(
    days=7,
    models=[
        said("acme/small", "stars", 3, 1.0, 3.0),
        said("acme/small", "failed", 1, 0.0, 1.0),
        said("acme/large", "stars", 1, 0.5, 1.0),
        said("acme/quiet", "failed", 2, 0.0, 0.0),
    ],
    votes=router_pb2.Votes(answers=4, up=5, down=3, invalidated=1),
)


async def test_feedback_is_summed_up(stack):
    stack.router.learning = SAID

    answer = await stack.client.get(f"{SUMMARY}?days=7")

    assert stack.router.learning_asks == [router_pb2.GetFeedbackSummaryRequest(days=7)]
    summary = answer.json()
    assert summary["days"] == 7
    assert len(summary["models"]) == 4
    assert summary["models"][0] == {
        "model": "acme/small",
        "source": "stars",
        "outcomes": 3,
        "quality": 1.0,
        "weight": 3.0,
    }
    assert summary["by_source"] == {
        "stars": {"outcomes": 4, "quality": 0.875, "weight": 4.0},
        "failed": {"outcomes": 3, "quality": 0.0, "weight": 1.0},
    }
    assert summary["votes"] == {"answers": 4, "up": 5, "down": 3, "invalidated": 1}


async def test_quality_at_a_glance_weighs_the_sources(stack):
    stack.router.learning = SAID

    answer = await stack.client.get(f"{QUALITY}?days=7")

    assert answer.json() == {
        "days": 7,
        "models": [
            {"model": "acme/small", "outcomes": 4, "quality": 0.75},
            {"model": "acme/large", "outcomes": 1, "quality": 0.5},
            {"model": "acme/quiet", "outcomes": 2, "quality": None},
        ],
        "votes": {"answers": 4, "up": 5, "down": 3, "invalidated": 1},
    }


async def test_nobody_said_anything_yet(stack):
    summary = (await stack.client.get(SUMMARY)).json()
    quality = (await stack.client.get(QUALITY)).json()

    silence = {"answers": 0, "up": 0, "down": 0, "invalidated": 0}
    assert summary == {"days": 30, "models": [], "by_source": {}, "votes": silence}
    assert quality == {"days": 30, "models": [], "votes": silence}


async def test_trends_go_day_by_day(stack):
    stack.router.learning = router_pb2.GetPerformanceTrendsResponse(
        days=90,
        patterns=["code"],
        trends=[
            router_pb2.Trend(
                model="acme/small",
                pattern="code",
                quality=0.625,
                outcomes=8,
                change=-0.25,
                change_low=-0.5,
                change_high=0.0,
                days=[router_pb2.Day(date="2025-01-31", quality=0.75, outcomes=4)],
            ),
            router_pb2.Trend(model="acme/large", pattern="code"),
        ],
    )

    answer = await stack.client.get(f"{TRENDS}?pattern=code&days=90")

    assert stack.router.learning_asks == [
        router_pb2.GetPerformanceTrendsRequest(pattern="code", days=90)
    ]
    assert answer.json() == {
        "days": 90,
        "patterns": ["code"],
        "trends": [
            {
                "model": "acme/small",
                "pattern": "code",
                "quality": 0.625,
                "outcomes": 8,
                "change": -0.25,
                "change_low": -0.5,
                "change_high": 0.0,
                "days": [{"date": "2025-01-31", "quality": 0.75, "outcomes": 4}],
            },
            {
                "model": "acme/large",
                "pattern": "code",
                "quality": None,
                "outcomes": 0,
                "change": None,
                "change_low": None,
                "change_high": None,
                "days": [],
            },
        ],
    }


@pytest.mark.parametrize("query", ["", "?pattern="])
async def test_without_a_pattern_trends_are_of_all(stack, query):
    answer = await stack.client.get(f"{TRENDS}{query}")

    assert stack.router.learning_asks == [router_pb2.GetPerformanceTrendsRequest(days=30)]
    assert answer.json() == {"days": 30, "patterns": ["code", "mathematics"], "trends": []}


@pytest.mark.parametrize("param", ["pattern", None])
async def test_an_unknown_pattern_is_422_and_says_which_there_are(stack, param):
    stack.router.learning = Invalid("there is no pattern 'x'; there are code", param=param)

    answer = await stack.client.get(f"{TRENDS}?pattern=x")

    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "there is no pattern 'x'; there are code",
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", STATUS), ("POST", RETRAIN), ("GET", SUMMARY), ("GET", TRENDS), ("GET", QUALITY)],
)
async def test_while_postgres_is_silent_it_is_503(stack, method, path):
    stack.router.learning = Unavailable("Postgres is silent")

    answer = await stack.client.request(method, path)

    assert (answer.status_code, answer.json()["detail"]) == (503, "Postgres is silent")


async def test_the_document_says_what_quality_is(stack):
    document = (await stack.client.get("/openapi.json")).json()

    schemas = document["components"]["schemas"]
    described = [
        field["description"]
        for schema in schemas.values()
        for name, field in schema.get("properties", {}).items()
        if name in ("quality", "quality_before", "quality_after")
    ]
    assert len(described) >= 6
    assert all("0 to 1" in text for text in described)
    retrain = document["paths"][RETRAIN]["post"]
    assert "409" in retrain["responses"]
