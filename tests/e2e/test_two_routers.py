"""Two routers share the load, and one of them may die."""

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.books import closed_books
from tests.e2e.test_conservation import under_fire
from tests.e2e.traffic import Traffic


def calls_in(metrics):
    """Count the completions in what a router tells Prometheus."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "optimizer_rpc_duration_seconds_count"
        and "Complete" in sample.labels["method"]
    )


async def test_the_load_is_spread_over_both(two_routers, since):
    tally = await Traffic(two_routers, seed=21).send(200)

    served = [calls_in(text) for text in await two_routers.router_metrics()]
    assert (200, []) == (tally.answered, tally.odd)
    assert (2, True) == (len(served), min(served) >= 0.3 * sum(served) > 0)
    assert [] == (await closed_books(two_routers, since)).problems()


async def test_one_dies_and_the_other_goes_on(two_routers, since):
    tally, _ = await under_fire(two_routers, Traffic(two_routers, seed=22), 300)

    books = await closed_books(two_routers, since)
    assert [] == tally.odd
    assert [] == books.problems()
    assert tally.answered >= 300 - 24
