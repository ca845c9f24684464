"""The other routes: decisions, experiments, feedback, status, and the document of them all."""

import asyncio

import orjson
import pytest
from optimizer.router.v1 import router_pb2
from structlog.testing import capture_logs

from common.errors import Invalid, NotFound
from services.gateway.api.openai import ChatCompletions
from tests.gateway_fakes import a_stack

REQUEST_ID = "01890000-0000-7000-8000-000000000000"
EXPERIMENT = {
    "name": "cheaper?",
    "control_strategy": "complexity",
    "test_strategy": "cheapest",
    "sample_size": 10,
}


async def test_health_tells_what_is_on(stack):
    answer = await stack.client.get("/health")

    health = answer.json()
    assert health.pop("version")
    assert health == {
        "status": "healthy",
        "providers_available": ["acme"],
        "routing_engine": "hybrid",
        "auto_route_enabled": True,
    }


async def test_ready_means_that_the_router_is(stack):
    answer = await stack.client.get("/readyz")

    assert answer.json() == {"status": "ok", "checks": {"router": "ok", "gateway": "ok"}}


async def test_without_a_router_it_is_alive_and_not_ready(own_stack):
    await own_stack.router_server.stop()

    ready = await own_stack.client.get("/readyz")
    alive = await own_stack.client.get("/livez")
    health = await own_stack.client.get("/health")

    assert (ready.status_code, alive.status_code, health.status_code) == (503, 200, 200)
    assert health.json()["status"] == "degraded"


@pytest.mark.parametrize(
    ("path", "strategy"),
    [
        ("/recommendation?prompt=Hello", ""),
        ("/recommendation?prompt=Hello&strategy=best", "best"),
        ("/routing/decision?prompt=Hello", "complexity"),
        ("/routing/decision?prompt=Hello&auto_route=true", "hybrid"),
    ],
)
async def test_a_decision_is_explained_and_nothing_called(stack, path, strategy):
    answer = await stack.client.get(path)

    assert stack.router.asks[-1].strategy.name == strategy
    assert answer.json() == {
        "provider": "acme",
        "model": "acme/small",
        "strategy": strategy,
        "confidence": "medium",
        "reasoning": "short",
        "expected_cost": 1e-06,
        "routing_metadata": {"reasoning": "short", "complexity": "simple"},
    }


async def test_an_experiment_is_created(stack):
    answer = await stack.client.post("/experiments", json=EXPERIMENT)

    assert answer.status_code == 200
    assert (
        answer.json().items()
        >= {
            "id": 1,
            "name": "cheaper?",
            "description": None,
            "control_strategy": "complexity",
            "test_strategy": "cheapest",
            "control_parameters": {},
            "test_parameters": {},
            "sample_size": 10,
            "status": "running",
            "created_at": "1970-01-01T00:00:01.000Z",
            "completed_at": None,
            "verdict": None,
            "minimum_detectable_effect": 0.2,
        }.items()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": " \t\n"},
        {"name": "n" * 201},
        {"name": None},
        {"sample_size": 0},
        {"sample_size": -5},
        {"sample_size": 1.5},
        {"control_strategy": "magic"},
        {"test_strategy": None},
        {"test_parameters": []},
    ],
    ids=str,
)
async def test_a_wrong_experiment_is_422(stack, change):
    answer = await stack.client.post("/experiments", json={**EXPERIMENT, **change})

    assert answer.status_code == 422
    assert next(iter(change)) in answer.json()["detail"]


FIXED = {"test_strategy": "fixed", "test_parameters": {"model": "acme/nothing"}}


@pytest.mark.parametrize(
    ("change", "failure", "param"),
    [
        (FIXED, NotFound("there is no model acme/nothing"), "test_parameters"),
        ({"test_strategy": "fixed"}, Invalid("fixed needs a model"), "test_parameters"),
        ({"control_parameters": {"x": 1}}, Invalid("no parameter x"), "control_parameters"),
    ],
    ids=str,
)
async def test_an_arm_that_the_router_would_refuse_is_422(stack, change, failure, param):
    stack.router.decision = failure

    answer = await stack.client.post("/experiments", json={**EXPERIMENT, **change})

    assert (answer.status_code, answer.json()["code"]) == (422, failure.code)
    assert answer.json()["detail"] == f"{param}: {failure.message}"
    assert stack.experiments.made == []


async def test_an_arm_that_the_router_takes_is_made(stack):
    answer = await stack.client.post("/experiments", json={**EXPERIMENT, **FIXED})

    assert answer.status_code == 200
    asked, _ = stack.router.asks  # and once more to freeze what was learned
    assert asked.strategy == router_pb2.Strategy(
        name="fixed", parameters_json=b'{"model":"acme/nothing"}'
    )


async def test_while_the_router_is_silent_only_arms_that_need_no_check_are_made(own_stack):
    await own_stack.router_server.stop()

    fixed = await own_stack.client.post("/experiments", json={**EXPERIMENT, **FIXED})
    plain = await own_stack.client.post("/experiments", json=EXPERIMENT)

    assert (fixed.status_code, plain.status_code) == (503, 200)


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
async def test_a_probe_may_ask_for_the_head_only(stack, path):
    answer = await stack.client.head(path)

    assert (answer.status_code, answer.content) == (200, b"")


async def test_experiments_are_a_bare_list(stack):
    answer = await stack.client.get("/experiments?status=running&limit=5")

    assert [one["id"] for one in answer.json()] == [2, 1]


async def test_results_have_null_where_nothing_is_known(stack):
    answer = (await stack.client.get("/experiments/7/results")).json()

    assert (answer["experiment_id"], answer["control_count"], answer["test_count"]) == (7, 2, 0)
    assert (answer["control_avg_cost"], answer["test_avg_cost"]) == (1.5e-06, None)
    assert (answer["p_value"], answer["p_value_fixed"]) == (None, 0.25)
    assert (answer["is_significant"], answer["winner"]) == (False, None)
    assert answer["confidence_level"] == 0.95


async def test_an_experiment_goes_its_way(stack):
    progress = (await stack.client.get("/experiments/1/progress")).json()
    assigned = (await stack.client.get("/experiments/1/assign/team%2Fal%20ice")).json()
    completed = (await stack.client.post("/experiments/1/complete")).json()
    cancelled = (await stack.client.post("/experiments/1/cancel")).json()

    assert (progress["total_count"], progress["progress_ratio"]) == (2, 0.2)
    assert (assigned["user_id"], assigned["assignment"]) == ("team/al ice", "test")
    assert (completed["status"], cancelled["status"]) == ("completed", "cancelled")
    assert completed["completed_at"] == "1970-01-01T00:00:02.000Z"


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/experiments/101", "Experiment not found"),
        ("/experiments/101/results", "Experiment 101 not found"),
        ("/experiments/101/assign/u", "Experiment not found"),
    ],
)
async def test_an_unknown_experiment_is_404(stack, path, detail):
    answer = await stack.client.get(path)

    assert (answer.status_code, answer.json()["detail"]) == (404, detail)


async def test_feedback_reaches_the_router(stack):
    given = {"request_id": REQUEST_ID, "quality_score": 4, "is_correct": True}

    answer = await stack.client.post("/production/feedback", json=given)

    assert answer.json()["status"] == "recorded"
    assert answer.json()["feedback_id"] == f"{REQUEST_ID}.1"
    recorded = stack.router.feedback[0]
    assert (recorded.tenant, recorded.quality_score, recorded.is_correct) == ("anonymous", 4, True)
    assert not recorded.HasField("is_helpful")


@pytest.mark.parametrize("request_id", ["unknown", "00000000-0000-7000-8000-000000000000"])
async def test_feedback_on_an_unknown_request_is_404(stack, request_id):
    given = {"request_id": request_id, "quality_score": 4, "is_correct": True}

    answer = await stack.client.post("/production/feedback", json=given)

    assert (answer.status_code, answer.json()["detail"]) == (404, "Request not found")


@pytest.mark.parametrize(
    "change",
    [{"quality_score": 0}, {"quality_score": 6}, {"quality_score": "5"}, {"is_correct": 1}],
)
async def test_feedback_out_of_bounds_is_422(stack, change):
    given = {"request_id": REQUEST_ID, "quality_score": 4, "is_correct": True, **change}

    answer = await stack.client.post("/production/feedback", json=given)

    assert answer.status_code == 422


async def test_totals_are_usd(stack):
    answer = (await stack.client.get("/stats")).json()

    assert (answer["requests"], answer["cost"], answer["saved"]) == (5, 1.0, 2.5)
    assert 0.25 == answer["cache_saved"]
    assert answer["today"]["requests"] == answer["this_month"]["requests"] == 5
    lately = answer["last_minute"]
    assert (lately["p95_ms"], lately["error_rate"], lately["cache_hit_rate"]) == (12.5, 0.2, 0.0)
    assert 5 / 121 < lately["requests_per_s"] <= 5 / 60


async def test_history_comes_in_lists_of_one_length(stack):
    answer = (await stack.client.get("/metrics/history?window=1h&by=model")).json()

    assert ("1h", 60, "model") == (answer["window"], answer["step_s"], answer["by"])
    assert ["1970-01-01T00:00:00.000Z", "1970-01-01T00:01:00.000Z"] == answer["times"]
    assert [
        {
            "name": "acme/small",
            "requests": [3, 0],
            "failures": [1, 0],
            "cache_hits": [0, 0],
            "cost": [1.0, None],
            "saved": [2.5, None],
            "cache_saved": [0.25, None],
            "tokens_in": [20, 0],
            "tokens_out": [0, 0],
            "p50_ms": [12.5, None],
            "p95_ms": [None, None],
            "p99_ms": [None, None],
        }
    ] == answer["series"]


async def test_without_by_history_is_one_series_of_everything(stack):
    answer = (await stack.client.get("/metrics/history")).json()

    assert (["all"], None) == ([one["name"] for one in answer["series"]], answer["by"])


@pytest.mark.parametrize(
    ("window", "step_s"), [("1h", 60), ("24h", 900), ("7d", 3600), ("30d", 21_600)]
)
async def test_each_window_has_its_usual_step(stack, window, step_s):
    answer = (await stack.client.get(f"/metrics/history?window={window}")).json()

    assert step_s == answer["step_s"] == stack.metrics.histories[-1].step_s


async def test_the_document_describes_every_route(stack):
    document = (await stack.client.get("/openapi.json")).json()

    described = {(path, method.upper()) for path, on in document["paths"].items() for method in on}
    assert ("/complete", "POST") in described
    assert ("/routing/metrics", "GET") in described
    assert ("/v1/embeddings", "POST") in described
    assert (ChatCompletions.route_path, "POST") in described
    assert ("/experiments/{experiment_id}/results", "GET") in described
    assert ("/feedback", "POST") in described
    assert ("/admin/learning/retrain", "POST") in described
    for path, method in described:  # each is really there: anything but 404 and 405
        sent = path.replace("{experiment_id}", "1").replace("{user_id}", "u")
        sent = sent.replace("{model_id}", "auto").replace("{request_id}", REQUEST_ID)
        answer = await stack.client.request(method, sent)
        assert answer.status_code not in (404, 405), (method, path)


async def test_the_document_holds_together(stack):
    raw = (await stack.client.get("/openapi.json")).content
    document = orjson.loads(raw)

    referred = {r.split(b'"')[0].decode() for r in raw.split(b'"#/components/schemas/')[1:]}
    assert referred - document["components"]["schemas"].keys() == set()
    operations = [o for on in document["paths"].values() for o in on.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    assert all("description" in a for o in operations for a in o["responses"].values())


async def test_every_answer_has_ids_and_security_headers(stack):
    for path in ("/livez", "/nothing", "/recommendation", "/v1/nothing", "/openapi.json"):
        answer = await stack.client.get(path)
        assert answer.headers["x-request-id"] == answer.headers["request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


async def test_a_stop_lets_an_answer_finish():
    async with a_stack(drain_s=10) as stack:
        hold = asyncio.Event()
        stack.router.answer = hold
        asked = asyncio.create_task(stack.client.post("/complete", json={"prompt": "Hello"}))
        await stack.router.asked.wait()
        stack.stop.set()
        await asyncio.sleep(0.3)  # longer than it takes the server to see that it should end
        hold.set()

        answer = await asked

    assert answer.status_code == 200


async def test_a_stop_does_not_wait_for_ever():
    async with a_stack(drain_s=1) as stack:
        stack.router.answer = asyncio.Event()
        asked = asyncio.create_task(stack.client.post("/complete", json={"prompt": "Hello"}))
        await stack.router.asked.wait()
        stack.stop.set()

        answer = await asked

    assert (answer.status_code, answer.json()["code"]) == (503, "stopping")
    assert answer.headers["x-should-retry"] == "false"


async def test_a_bug_is_an_internal_error_and_no_more(stack, monkeypatch):
    async def broken(*_):
        raise RuntimeError("postgresql://role:secret@db")

    monkeypatch.setattr("services.gateway.clients.router.Router.decide", broken)
    monkeypatch.setattr("services.gateway.usecases.Completions.complete", broken)
    hello = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}

    with capture_logs() as logs:
        plain = await stack.client.get("/recommendation?prompt=Hello")
        openai = await stack.client.post("/v1/chat/completions", json=hello)

    broke = [line for line in logs if line["event"] == "request_broke"]
    assert 2 == len(broke)
    assert (plain.status_code, openai.status_code) == (500, 500)
    assert plain.json() == {"detail": "internal error", "code": "internal_error"}
    assert openai.json()["error"]["message"] == "internal error"
    assert openai.headers["x-request-id"]
