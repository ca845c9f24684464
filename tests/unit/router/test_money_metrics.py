"""What Prometheus learns about money: paid, saved, lost; unpriced is not free."""

import pytest
from prometheus_client import REGISTRY

from services.router.domain.request import Usage
from services.router.store import metrics
from tests.router_builders import a_model

MODEL = a_model("acme/counted")
NAMES = {"model": MODEL.name, "provider": MODEL.provider}


def value(name, **labels):
    return REGISTRY.get_sample_value(f"optimizer_{name}", labels) or 0


def tokens():
    return [
        value("tokens_total", model=MODEL.name, direction=direction)
        for direction in ("input", "cached_input", "output")
    ]


def balance():
    return [
        round(value(name, **labels), 9)
        for name, labels in (
            ("baseline_usd_total", {}),
            ("saved_usd_total", {"by": "routing"}),
            ("saved_usd_total", {"by": "cache"}),
            ("lost_usd_total", {}),
        )
    ]


def grown(before, after):
    return [round(b - a, 9) for a, b in zip(before, after, strict=True)]


def test_an_attempt_counts_its_tokens_once_and_its_cost():
    before, cost = tokens(), value("cost_usd_total", **NAMES)

    metrics.count_settled(MODEL, Usage(10, 3, cached_input_tokens=4), 1_500_000)

    assert [6, 4, 3] == grown(before, tokens())
    assert 0.0015 == round(value("cost_usd_total", **NAMES) - cost, 9)


def test_an_unpriced_attempt_costs_nothing_known():
    cost, unpriced = (
        value("cost_usd_total", **NAMES),
        value("unpriced_attempts_total", model=MODEL.name),
    )

    metrics.count_settled(MODEL, Usage(10, 3), None)

    assert cost == value("cost_usd_total", **NAMES)
    assert 1 == value("unpriced_attempts_total", model=MODEL.name) - unpriced


@pytest.mark.parametrize(
    ("cost", "baseline", "cache_hit", "expected"),
    [
        (1_000_000, 9_000_000, False, [0.009, 0.008, 0, 0]),
        (0, 9_000_000, True, [0.009, 0, 0.009, 0]),
        (9_000_000, 1_000_000, False, [0.001, 0, 0, 0.008]),  # dearer than the baseline: shown
        (None, 9_000_000, False, [0, 0, 0, 0]),  # what is not known enters no comparison
        (1_000_000, None, False, [0, 0, 0, 0]),
    ],
)
def test_savings_are_over_requests_where_both_costs_are_known(cost, baseline, cache_hit, expected):
    before = balance()

    metrics.count_closed(cost_nano_usd=cost, baseline_nano_usd=baseline, cache_hit=cache_hit)

    assert expected == grown(before, balance())


def test_a_model_is_there_before_its_first_cent():
    new = a_model("acme/new")

    metrics.expect([new])

    labels = {"model": "acme/new", "provider": new.provider}
    assert 0 == REGISTRY.get_sample_value("optimizer_cost_usd_total", labels)
