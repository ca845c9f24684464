"""What the metrics say, beside what the ledger holds."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.stack import StackUnderTest, until

CAUGHT_UP_S = 45  # /routing/metrics is cached for up to 30 s


@asynccontextmanager
async def within_a_day() -> AsyncIterator[None]:
    """Skip what failed while midnight struck: then the figures of today begin again at nothing."""
    began = datetime.now(UTC).date()
    try:
        yield
    except (AssertionError, TimeoutError):
        if datetime.now(UTC).date() != began:
            pytest.skip("it has become tomorrow in the meantime")
        raise


async def metrics_caught_up(stack: StackUnderTest) -> dict:
    """Return the figures once they count what the ledger holds: no more, no less."""
    expected = (await stack.sql("SELECT count(*) FROM router.ledger WHERE kind = 4"))[0][0]
    found = {}

    async def equal() -> bool:
        found.update((await stack.get("/routing/metrics")).json)
        return found["total_decisions"] == expected

    try:
        await until(equal, within_s=CAUGHT_UP_S)
    except TimeoutError:
        assert expected == found["total_decisions"], "the metrics do not count what the ledger has"
    return found


def told_in(*texts):
    """Add up what processes tell Prometheus, by name and labels."""
    found = Counter()
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name, *sorted(sample.labels.items())] += sample.value
    return found


def counter(told, name, *labels):
    """Return the values of one counter that are not 0, by some of its labels."""
    found = Counter()
    for (each, *pairs), value in told.items():
        if each == name and value:
            found[tuple(dict(pairs)[label] for label in labels)] += value
    return found


def nano(usd):
    """Floats that were added up, as the integers they stand for."""
    return {labels: round(value * 10**9) for labels, value in usd.items()}
