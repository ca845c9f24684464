"""The snapshot: the contract's shape, unpriced apart, percentages of one population."""

import json
import math
from dataclasses import replace

import pytest

from services.metrics.domain.durations import Percentiles
from services.metrics.domain.snapshot import Group, Spent, snapshot

GROUP = Group(
    strategy="hybrid",
    provider="acme",
    confidence="high",
    cache_hit=False,
    requests=4,
    priced=4,
    cost_nano_usd=400_000,
    averaged=4,
    averaged_cost_nano_usd=400_000,
    compared_cost_nano_usd=400_000,
    baseline_cost_nano_usd=1_600_000,
    model="acme/small",
    arm="3/test",
    failures=1,
    fell_back=2,
)
UNPRICED = replace(
    GROUP,
    provider="local",
    confidence="low",
    requests=3,
    priced=0,
    cost_nano_usd=0,
    averaged=0,
    averaged_cost_nano_usd=0,
    compared_cost_nano_usd=0,
    baseline_cost_nano_usd=0,
)


def test_without_traffic_there_are_zeros_and_nothing_that_json_cannot_say():
    empty = snapshot([])

    assert 0 == empty["total_decisions"]
    assert {} == empty["strategy_performance"] == empty["provider_usage"]
    assert {"high": 0, "medium": 0, "low": 0} == empty["confidence_distribution"]
    assert 0 == empty["cost_savings"]["percent_saved"] == empty["cost_savings"]["total_saved"]
    json.dumps(empty, allow_nan=False)


def test_it_has_the_shape_of_the_contract():
    expected = {
        "total_decisions": 4,
        "strategy_performance": {
            "hybrid": {"count": 4, "avg_cost": 0.0001, "high_confidence_pct": 100.0}
        },
        "confidence_distribution": {"high": 4, "medium": 0, "low": 0},
        "provider_usage": {"acme": {"count": 4, "avg_cost": 0.0001}},
        "cost_savings": {
            "total_saved": 0.0012,
            "percent_saved": 75.0,
            "intelligent_cost": 0.0004,
            "baseline_cost": 0.0016,
            "cache_saved": 0.0,
            "period_days": 7,
        },
        "latency_ms": {"p50": 10.0, "p95": 20.0, "p99": 30.0},
        "time_to_first_token_ms": {"p50": None, "p95": None, "p99": None},
        "error_rate": 0.25,
        "fallback_rate": 0.5,
        "top_models": [{"model": "acme/small", "count": 4, "cost": 0.0004, "share": 1.0}],
        "arm_usage": {"3/test": {"count": 4, "avg_cost": 0.0001, "saved": None}},
        "spent": {"today": 0.000001, "this_month": 0.000002},
        "total_cost": 0.0004,
        "unpriced": 0,
        "cache_hits": 0,
        "period_days": 7,
    }

    assert expected == snapshot(
        [GROUP], latency=Percentiles(10.0, 20.0, 30.0), spent=Spent(1000, 2000)
    )


def test_rates_and_top_models():
    nobody = replace(GROUP, model="", provider="", priced=0, failures=4)
    many = [replace(GROUP, model=f"acme/{n:02}", requests=5) for n in range(12)]

    told = snapshot([GROUP, replace(GROUP, fell_back=0), nobody, UNPRICED, *many])

    assert 10 == len(told["top_models"])
    assert "acme/small" == told["top_models"][0]["model"]  # 4 + 4 + 3
    assert ["acme/00", "acme/01"] == [one["model"] for one in told["top_models"][1:3]]
    assert 26 / 65 == told["fallback_rate"]
    assert snapshot([])["fallback_rate"] is None
    assert snapshot([UNPRICED])["top_models"][0]["cost"] is None


def test_an_arm_saved_what_its_own_control_would_have_cost_more():
    control = replace(GROUP, arm="3/control", requests=3, averaged=2, cost_nano_usd=600_000)
    other = replace(control, arm="4/control", cost_nano_usd=9_000_000)

    told = snapshot([GROUP, control, other, replace(UNPRICED, arm="4/test")])["arm_usage"]

    assert 4 * 0.0003 - 0.0004 == pytest.approx(told["3/test"]["saved"])
    assert {None} == {told[arm]["saved"] for arm in ("3/control", "4/control", "4/test")}


def test_the_unpriced_count_but_enter_no_average():
    shown = snapshot([GROUP, UNPRICED])

    hybrid = shown["strategy_performance"]["hybrid"]
    assert (7, 0.0001) == (hybrid["count"], hybrid["avg_cost"])
    assert hybrid["high_confidence_pct"] == pytest.approx(400 / 7)
    assert {"count": 3, "avg_cost": None} == shown["provider_usage"]["local"]
    assert 3 == shown["unpriced"]


def test_the_failed_count_but_enter_no_average():
    failed = replace(UNPRICED, provider="acme", requests=6, priced=6, cost_nano_usd=5)

    shown = snapshot([GROUP, failed])

    assert {"count": 10, "avg_cost": 0.0001} == shown["provider_usage"]["acme"]
    assert 0.0001 == shown["strategy_performance"]["hybrid"]["avg_cost"]
    assert 0.000400005 == shown["total_cost"]
    assert 0 == snapshot([failed])["unpriced"]


def test_where_all_failed_there_is_no_average():
    failed = replace(UNPRICED, provider="acme", priced=3)

    assert {"count": 3, "avg_cost": None} == snapshot([failed])["provider_usage"]["acme"]


def test_what_has_no_baseline_does_not_dilute_the_percentage():
    no_baseline = replace(GROUP, compared_cost_nano_usd=0, baseline_cost_nano_usd=0)

    assert 75.0 == snapshot([GROUP, no_baseline])["cost_savings"]["percent_saved"]


def test_what_the_cache_saved_is_told_apart():
    hit = replace(GROUP, cache_hit=True, cost_nano_usd=0, compared_cost_nano_usd=0, provider="acme")

    shown = snapshot([GROUP, hit])

    assert 0.0012 == shown["cost_savings"]["total_saved"]
    assert 0.0016 == shown["cost_savings"]["cache_saved"]
    assert 4 == shown["cache_hits"]
    assert 8 == shown["total_decisions"]


def test_a_loss_is_shown_as_a_loss():
    dear = replace(GROUP, baseline_cost_nano_usd=200_000)

    assert -100.0 == snapshot([dear])["cost_savings"]["percent_saved"]


def test_a_request_that_never_reached_anyone_counts_without_a_provider():
    undecided = replace(UNPRICED, provider="", strategy="")
    decided = replace(UNPRICED, provider="")

    shown = snapshot([undecided, decided])

    assert 6 == shown["total_decisions"]
    assert {} == shown["provider_usage"]
    assert ["hybrid"] == list(shown["strategy_performance"])


def test_a_free_model_is_not_an_unpriced_one():
    free = replace(GROUP, cost_nano_usd=0, averaged_cost_nano_usd=0, compared_cost_nano_usd=0)

    assert 0 == snapshot([free])["provider_usage"]["acme"]["avg_cost"]


def test_sums_beyond_what_floats_count_exactly_stay_finite():
    big = replace(GROUP, cost_nano_usd=2**62, baseline_cost_nano_usd=2**62)

    assert math.isfinite(snapshot([big])["total_cost"])
