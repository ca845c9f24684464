"""What Prometheus keeps of requests: a bounded number of series, whatever clients type."""

from optimizer.router.v1 import router_pb2
from prometheus_client import REGISTRY

from services.gateway import figures

NAMES = 100_000


def series():
    return sum(
        len(family.samples)
        for family in REGISTRY.collect()
        if family.name.startswith("optimizer_request")
    )


def requests(**labels):
    return REGISTRY.get_sample_value("optimizer_requests_total", labels) or 0


def test_a_hundred_thousand_names_make_one_series_more():
    figures.hold_names([router_pb2.Model(name="acme/small", provider="acme")])
    figures.count("/complete", "ok", model="acme/small", provider="acme")
    before = series()

    for number in range(NAMES):
        figures.count("/complete", "ok", model=f"acme/{number}", provider=f"p{number}")

    assert 2 == series() - before  # its total, and when it was made


def test_names_of_the_catalog_are_kept_and_nobody_is_none():
    figures.hold_names([router_pb2.Model(name="acme/large", provider="acme")])
    labels = {"route": "/complete", "outcome": "ok"}
    known = {**labels, "model": "acme/large", "provider": "acme"}
    nobody = {**labels, "model": "none", "provider": "none"}
    before = requests(**known), requests(**nobody)

    figures.count("/complete", "ok", model="acme/large", provider="acme")
    figures.count("/complete", "ok")

    assert (1, 1) == (requests(**known) - before[0], requests(**nobody) - before[1])


def test_overhead_is_what_was_not_spent_waiting_for_providers():
    def overhead():
        return (
            REGISTRY.get_sample_value("optimizer_overhead_seconds_count"),
            REGISTRY.get_sample_value("optimizer_overhead_seconds_sum"),
        )

    before = overhead()

    figures.spent_on_our_own(1.5, router_pb2.Outcome(latency_ms=1_300, overhead_ms=100))
    figures.spent_on_our_own(1.5, router_pb2.Outcome(cache_hit=True, latency_ms=1, overhead_ms=1))

    assert (1, 0.3) == (overhead()[0] - before[0], round(overhead()[1] - before[1], 9))
