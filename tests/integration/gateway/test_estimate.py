"""What another strategy would have cost, over HTTP: labelled as the estimate it is."""

import pytest
from optimizer.router.v1 import router_pb2

from common.errors import Invalid, Unavailable

PATH = "/routing/estimate"
NAN = float("nan")


async def test_an_estimate_is_shown_in_usd(stack):
    stack.router.learning = router_pb2.EstimateStrategyResponse(
        requests=400,
        actual_avg_cost_nano_usd=2_000_000,
        estimated_avg_cost_nano_usd=500_000,
        low_nano_usd=400_000,
        high_nano_usd=600_000,
        self_normalised_avg_cost_nano_usd=510_000,
        saved_ratio=0.75,
        effective_sample_size=40.5,
        overlap_ratio=0.875,
    )

    answer = await stack.client.post(PATH, json={"strategy": "cheapest"})

    assert answer.status_code == 200
    assert answer.json() == {
        "label": "estimate",
        "strategy": "cheapest",
        "requests": 400,
        "actual_avg_cost": 0.002,
        "estimated_avg_cost": 0.0005,
        "low": 0.0004,
        "high": 0.0006,
        "saved_ratio": 0.75,
        "effective_sample_size": 40.5,
        "overlap_ratio": 0.875,
        "reason": None,
    }


async def test_what_cannot_be_told_is_null_with_a_reason(stack):
    answer = (await stack.client.post(PATH, json={"strategy": "best"})).json()

    assert answer == {
        "label": "estimate",
        "strategy": "best",
        "requests": 0,
        "actual_avg_cost": None,
        "estimated_avg_cost": None,
        "low": None,
        "high": None,
        "saved_ratio": None,
        "effective_sample_size": 0,
        "overlap_ratio": None,
        "reason": "no request was routed",
    }


async def test_no_figure_is_ever_nan(stack):
    stack.router.learning = router_pb2.EstimateStrategyResponse(
        saved_ratio=NAN, effective_sample_size=NAN, overlap_ratio=float("inf")
    )

    answer = await stack.client.post(PATH, json={"strategy": "best"})

    assert (None, None, None) == tuple(
        answer.json()[one] for one in ("saved_ratio", "effective_sample_size", "overlap_ratio")
    )


async def test_strategy_parameters_and_days_go_to_the_router(stack):
    said = {"strategy": "fixed", "parameters": {"model": "acme/small"}, "days": 30}

    await stack.client.post(PATH, json=said)

    (asked,) = stack.router.learning_asks
    assert (asked.strategy.name, asked.days) == ("fixed", 30)
    assert asked.strategy.parameters_json == b'{"model":"acme/small"}'


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"strategy": None},
        {"strategy": "magic"},
        {"strategy": "cheapest", "days": 0},
        {"strategy": "cheapest", "days": 31},
        {"strategy": "cheapest", "days": 1.5},
        {"strategy": "cheapest", "parameters": []},
    ],
    ids=str,
)
async def test_what_is_out_of_bounds_is_422(stack, said):
    answer = await stack.client.post(PATH, json=said)

    assert answer.status_code == 422, answer.text
    assert isinstance(answer.json()["detail"], str)
    assert stack.router.learning_asks == []


async def test_what_cannot_be_replayed_is_422_and_says_what_can(stack):
    stack.router.learning = Invalid("only cheapest, best, complexity, fixed can", param="strategy")

    answer = await stack.client.post(PATH, json={"strategy": "hybrid"})

    assert answer.status_code == 422
    assert "only cheapest" in answer.json()["detail"]


async def test_without_a_router_it_is_503(stack):
    stack.router.learning = Unavailable("the database does not answer; try again")

    assert (await stack.client.post(PATH, json={"strategy": "best"})).status_code == 503


async def test_what_is_not_json_is_400(stack):
    assert (await stack.client.post(PATH, content=b"{")).status_code == 400
