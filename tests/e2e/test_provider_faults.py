"""Every way a provider can fail, plain and streamed; ledger and bill compared after each."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from common.ids import first_id_at
from tests.e2e.books import CLOSED, SETTLED, closed_books
from tests.e2e.embedded import EmbeddedStack
from tests.e2e.fault_cases import CASES, WORDS
from tests.e2e.fault_run import OUTAGE, ask, attempts_of, books_of, catalog, see_all, slug

FAILURES_TO_OPEN = 5
RECOVERED_WITHIN_S = 30
STEP_S = 0.5


@pytest.fixture(scope="module")
async def faulty(tmp_path_factory):
    path = tmp_path_factory.mktemp("faults") / "catalog.yaml"
    path.write_text(catalog())
    settings = {
        "ROUTER_CATALOG_PATH": str(path),
        "ROUTER_REQUEST_TIMEOUT_S": "60",
        "GATEWAY_REQUEST_TIMEOUT_S": "60",
        "SANDBOX_LATENCY_SCALE": "1",  # tokens come one by one, not in heaps
    }
    async with EmbeddedStack(**settings) as started:
        yield started


@pytest.fixture(scope="module")
async def story(faulty):
    """Return what the clients of all cases saw, how the outage went, and the books after all."""
    since = first_id_at(datetime.now(UTC))  # before every id of this millisecond
    seen, *outages = await asyncio.gather(
        see_all(faulty), an_outage(faulty, streamed=False), an_outage(faulty, streamed=True)
    )
    return seen, outages, await closed_books(faulty, since)


async def an_outage(stack, *, streamed):
    """Return (what was seen during it, what was seen after it, when the first choice was back)."""
    first_choice = f"{slug(OUTAGE, streamed=streamed)}/tiny"

    def one(prompt):
        messages = [{"role": "user", "content": prompt}]
        return ask(stack, first_choice, streamed=streamed, messages=messages, max_tokens=10)

    prompts = [f"x [[fault:status=503,models=tiny]] {number}" for number in range(8)]
    during = [await one(prompt) for prompt in prompts[:FAILURES_TO_OPEN]]
    during += await asyncio.gather(*map(one, prompts[FAILURES_TO_OPEN:]))  # while it rests
    ended, after = time.monotonic(), []
    while not after or (
        after[-1].model != first_choice and time.monotonic() - ended < RECOVERED_WITHIN_S
    ):
        await asyncio.sleep(STEP_S)  # as calls come in
        after.append(await one(f"x {len(after)}"))
    return during, after, time.monotonic() - ended


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_fault(story, case, streamed):
    seen = story[0][case.name, streamed]
    books = books_of(story[2], seen.request_id)
    expected = case.expected(streamed=streamed)

    assert list(expected.attempts) == attempts_of(books)
    assert [] == books.problems()
    assert 1 == books.count(CLOSED)
    assert expected.status == seen.status
    assert case.at_least_s <= seen.took_s <= case.within_s
    if expected.code:
        check_failure(seen, expected)
    else:
        check_answer(seen, case, expected, streamed=streamed)
        check_usage(seen, case, books)


def check_failure(seen, expected):
    """An error in the format's own shape, and nothing that looks like an end."""
    assert {"message", "type", "param", "code"} == seen.error.keys()
    assert expected.code == seen.error["code"]
    assert ([], None, False) == (seen.finishes, seen.usage, seen.done)
    assert expected.cut == bool(seen.text)
    assert "127.0.0.1" not in seen.error["message"]


def check_answer(seen, case, expected, *, streamed):
    """One whole answer, by the model that it names."""
    assert seen.error is None
    assert expected.answered == seen.model.rpartition("/")[2]
    assert (1, streamed) == (len(seen.finishes), seen.done)
    if case.same_words:
        assert f'"{WORDS}"' == seen.text
    else:
        assert seen.text.startswith("This is a simulated answer by the sandbox model ")
        assert seen.text.count("simulated") == 1


def check_usage(seen, case, books):
    """The client is told what the provider said of it, or nothing."""
    (answer,) = [row for row in books.rows if row["kind"] == SETTLED and row["outcome"] == "ok"]

    assert case.flagged == answer["estimated"]
    assert case.flagged == (seen.usage is None)
    if not case.flagged:
        assert answer["output_tokens"] == seen.usage["completion_tokens"]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
def test_15_an_outage_and_its_recovery(story, streamed):
    during, after, took_s = story[1][streamed]
    first_choice = [
        sum(model == "tiny" for model, _ in attempts_of(books_of(story[2], seen.request_id)))
        for seen in during
    ]

    assert [200] * len(during) == [seen.status for seen in during]
    assert [1] * FAILURES_TO_OPEN + [0] * 3 == first_choice
    assert [200] * len(after) == [seen.status for seen in after]
    assert f"{slug(OUTAGE, streamed=streamed)}/tiny" == after[-1].model
    assert took_s <= RECOVERED_WITHIN_S
    for seen in (*during, *after):
        assert [] == books_of(story[2], seen.request_id).problems()


def test_ledger_and_bill_of_all_cases_fit(story):
    assert [] == story[2].problems()


async def test_a_refused_key_is_an_alert(story, faulty):
    told = "\n".join(await faulty.router_metrics())
    logged = [line for line in faulty.log if "provider_out_of_rotation" in line]

    assert 'optimizer_provider_out_of_rotation{provider="401-plain"} 1.0' in told
    assert any("401-plain" in line for line in logged)
