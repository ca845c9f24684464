"""The sandbox fails on request, and its bill finds every entry in the ledger."""

import asyncio
import time

import pytest

from common.errors import Failure
from sandbox.__main__ import build
from sandbox.models import CHAT_MODELS
from sandbox.settings import SandboxSettings
from services.router.attempts import Candidates
from services.router.domain.catalog import Price, Timeouts
from services.router.domain.decision import Candidate, Decision
from services.router.domain.entries import Kind
from services.router.providers.client import ProviderClient
from services.router.store.entry import Entry
from tests.router_builders import a_catalog, a_model, a_provider, an_ask


def a_sandbox_model(name):
    billed = CHAT_MODELS[name.partition("/")[2]]
    price = Price(billed.input_price, billed.cached_price, billed.output_price, version=1)
    return a_model(name, price=price, context_tokens=billed.context_tokens)


TINY, SIBLING = a_sandbox_model("sandbox/tiny"), a_sandbox_model("sandbox/large")
SPARE = a_sandbox_model("spare/large")  # the same sandbox under another name
DECISION = Decision("complexity", "high", tuple(Candidate(m, 777, 0.8) for m in (TINY, SPARE)))
QUICK = Timeouts(connect_s=1, first_token_s=0.3, idle_s=0.3, total_s=0.6)

# What strikes the first candidate, and who answers then, plain or streamed.
FAULTS = {
    "": "sandbox/tiny",
    "no_usage": "sandbox/tiny",
    "absurd_usage": "sandbox/tiny",
    "no_done": "sandbox/tiny",
    "reports_model=large": "sandbox/large",
    "status=503": "spare/large",
    "status=429,retry_after=30": "spare/large",
    "status=500": "spare/large",
    "error_after_billing": "spare/large",
    "insufficient_quota": "spare/large",
    "unauthorized": "spare/large",
    "redirect": "spare/large",
    "hang": "spare/large",
    "hang,billed=1": "spare/large",
    "html": "spare/large",
    "empty_body": "spare/large",
    "empty_choices": "spare/large",
    "white_space": "spare/large",
    "heartbeats": "spare/large",
    "cut_after=0": "spare/large",
    "garbage_after=0": "spare/large",
}
# After 12 tokens the models' answers differ, so the failure is the caller's to see.
BREAKS_OFF = ["cut_after=12", "stall_after=12", "end_after=12", "garbage_after=12"]
# After 5 they still agree, so the other one goes on.
GOES_ON = ["cut_after=5", "stall_after=5", "end_after=5", "garbage_after=5"]


class Scene:
    def __init__(self, sandbox):
        self.sandbox = sandbox
        providers = {  # who stands in is waited for, however busy the machine
            name: a_provider(name, base_url=f"{sandbox.url}/v1", timeouts=timeouts)
            for name, timeouts in (("sandbox", QUICK), ("spare", Timeouts()))
        }
        catalog = a_catalog(TINY, SIBLING, SPARE, providers=providers)
        self.client = ProviderClient(lambda: catalog, key_of=lambda _: "")
        self.rows = []

    async def append(self, rows):
        self.rows.extend(rows)

    async def ask(self, fault, *, streamed):
        """Return the model that answered."""
        directive = f"[[fault:{fault},models=tiny]]" if fault else ""
        ask = an_ask(f"Explain how tides work. {directive}", streamed=streamed, max_tokens=40)
        candidates = Candidates(self.client)
        options = {"deadline": time.monotonic() + 60}
        async with Entry(ask, append=self.append, deadline_s=60) as entry:
            if not streamed:
                served = await candidates.first_answer(ask, DECISION, entry, **options)
            else:
                served = await candidates.first_stream(ask, DECISION, entry, **options)
                async for _ in served:
                    pass
            await entry.close()
        return served.answered

    async def reconcile(self):
        """Return what the bill and the ledger disagree about."""
        while self.sandbox.app.bill.in_flight:  # noqa: ASYNC110 - the bill tells nobody
            await asyncio.sleep(0)  # a hung-up call is billed as soon as the sandbox notices
        settled = {str(r.attempt_id): r for r in self.rows if r.kind is Kind.SETTLED}
        opened = {str(r.attempt_id) for r in self.rows if r.kind is Kind.OPENED}
        billed = self.sandbox.app.bill.page(0, 1_000)[0]
        wrong = [f"never settled: {a}" for a in opened - settled.keys()]
        for entry in billed:
            row = settled.pop(entry.client_request_id)
            if row.outcome != "unknown" and not row.estimated:
                told = (row.provider_response_id, row.cost_nano_usd)
                if told != (entry.response_id, entry.cost_nano_usd):
                    wrong.append(f"{row.outcome} {told} but billed {entry}")
        unbilled = settled.values()
        return wrong + [f"never billed: {r}" for r in unbilled if r.outcome in ("ok", "truncated")]


@pytest.fixture
async def scene():
    async with build(SandboxSettings(listen="127.0.0.1:0", latency_scale=0)) as sandbox:
        scene = Scene(sandbox)
        yield scene
        await scene.client.close()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_is_answered_and_the_bill_is_in_the_ledger(scene, fault, streamed):
    answered = await scene.ask(fault, streamed=streamed)

    assert answered.name == FAULTS[fault]
    assert await scene.reconcile() == []


@pytest.mark.parametrize("fault", BREAKS_OFF)
async def test_a_stream_that_breaks_off_is_said_to_and_the_bill_is_in_the_ledger(scene, fault):
    with pytest.raises(Failure, match="broke off") as caught:
        await scene.ask(fault, streamed=True)

    assert caught.value.billed
    assert await scene.reconcile() == []


@pytest.mark.parametrize("fault", GOES_ON)
async def test_a_stream_that_breaks_off_goes_on_where_another_one_agrees(scene, fault):
    answered = await scene.ask(fault, streamed=True)

    assert answered.name == "spare/large"
    assert await scene.reconcile() == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_content_policy_is_the_callers_answer(scene, streamed):
    with pytest.raises(Failure) as caught:
        await scene.ask("content_policy", streamed=streamed)

    assert caught.value.code == "content_policy_violation"
    assert [r.model for r in scene.rows if r.kind is Kind.SETTLED] == ["sandbox/tiny"]
