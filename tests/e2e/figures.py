"""What the metrics say, beside what the ledger holds."""

from tests.e2e.stack import StackUnderTest, until

CAUGHT_UP_S = 45  # /routing/metrics is cached for up to 30 s


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
