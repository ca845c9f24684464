"""One stack for all scenarios of a run: embedded by default, containers with `-m compose`."""

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
from playwright.async_api import Browser

from common.ids import first_id_at
from tests.e2e.browser import a_browser
from tests.e2e.compose import ComposeStack
from tests.e2e.embedded import EmbeddedStack
from tests.e2e.stack import StackUnderTest

KINDS = {"embedded": EmbeddedStack, "compose": ComposeStack}
PARAMETERS = ["embedded", pytest.param("compose", marks=pytest.mark.compose)]
CONTAINERS_S = 1_200
STACKS = ("stack", "two_routers", "bare", "faulty", "fresh")
NOTHING_ON = """
providers:
  - {name: acme, wire: openai, base_url: "https://api.acme.example/v1", api_key_env: ACME_API_KEY}
models:
  - name: acme/large
    provider: acme
    upstream: large
    tier: complex
    capability: 0.9
    context_tokens: 100000
    capabilities: [streaming]
    price_usd_per_million: {input: 3.0, output: 15.0}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Building and starting containers counts as part of the first test that asks for them."""
    for item in items:
        if item.get_closest_marker("compose"):
            item.add_marker(pytest.mark.timeout(CONTAINERS_S), append=False)


@pytest.fixture(scope="session", params=PARAMETERS)
async def stack(request: pytest.FixtureRequest) -> AsyncIterator[StackUnderTest]:
    async with KINDS[request.param]() as started:
        yield started


@pytest.fixture(scope="module", params=PARAMETERS)
async def two_routers(request: pytest.FixtureRequest) -> AsyncIterator[StackUnderTest]:
    async with KINDS[request.param](routers=2) as started:
        yield started


@pytest.fixture(scope="session")
async def bare(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackUnderTest]:
    """A stack that wants a key, and whose only provider lacks one."""
    catalog = tmp_path_factory.mktemp("bare") / "catalog.yaml"
    catalog.write_text(NOTHING_ON)
    settings = {"ROUTER_CATALOG_PATH": str(catalog), "GATEWAY_ADMIN_KEY": secrets.token_hex(16)}
    async with EmbeddedStack(**settings) as started:
        yield started


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with a_browser() as one:
        yield one


@pytest.fixture(scope="module")
async def fresh() -> AsyncIterator[StackUnderTest]:
    """A stack that has learned nothing yet."""
    async with EmbeddedStack() as started:
        yield started


@pytest.fixture
async def since(request):
    """Everything asked from here on; nothing is being generated and no fault is standing."""
    name = next(one for one in STACKS if one in request.fixturenames)
    started = request.getfixturevalue(name)
    await started.sandbox("DELETE", "/faults")
    return first_id_at(datetime.now(UTC))  # before every id of this millisecond


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show what the services said last beside a test that failed."""
    report = yield
    if report.failed:
        for name in STACKS:
            started = getattr(item, "funcargs", {}).get(name)
            if started is not None:
                report.sections.append(("the stack's log", "\n".join(started.last_lines())))
    return report
