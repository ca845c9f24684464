"""
Comparing answers in the background: the other arm answers too, and a judge says which is better.

    a request is answered ──offer──▶ queue ──▶ a few workers: reserve, ask the other arm,
                            │ full                ask the judge in both orders, tell
                            ▼                     the experiments service
                         dropped

No client waits for any of it, and none of it is a result of the experiment: what is asked here has
requests of its own in the ledger, without an experiment.
"""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Literal, Protocol

import orjson
import structlog
from optimizer.experiments.v1 import experiments_pb2
from optimizer.router.v1 import router_pb2
from prometheus_client import Counter

from common.errors import AllFailed, Failure, Invalid, OverBudget, TimedOut, Unavailable
from common.ids import new_id
from common.wire_errors import CONNECTION_LOST
from services.gateway.domain.comparing import (
    MAX_BODY_BYTES,
    Price,
    dearest_of,
    is_comparable,
    is_drawn,
    most_nano_usd,
)
from services.gateway.domain.judging import (
    MAX_VERDICT_TOKENS,
    Verdict,
    judge_messages,
    question_of,
    read_verdict,
)
from services.gateway.domain.openai_wire import text_of
from services.gateway.usecases import Placement, cost_of

MAX_FAILURE_CHARACTERS = 200
PAUSES_S = (0.5, 2.0)  # before telling the experiments service again
TIE = ""

Ending = Literal["judged", "failed", "dropped", "over_budget"]

log = structlog.get_logger()
_comparisons = Counter(
    "optimizer_comparisons_total",
    "Comparisons of answers by how they ended: judged, failed, over_budget, or dropped, for want"
    " of room, of time before a stop, or of an answer by the experiments service.",
    ["outcome"],
)


class Completes(Protocol):
    async def complete(self, ask: router_pb2.Ask) -> router_pb2.CompleteResponse: ...


class ListsModels(Protocol):
    async def models(self) -> router_pb2.ListModelsResponse: ...


class KeepsComparisons(Protocol):
    async def reserve_comparison(
        self, request: experiments_pb2.ReserveComparisonRequest
    ) -> None: ...
    async def record_comparison(self, request: experiments_pb2.RecordComparisonRequest) -> None: ...


@dataclass(frozen=True, slots=True)
class _Case:
    """An answered request that is to be compared."""

    ask: router_pb2.Ask
    other: experiments_pb2.Arm
    judge_model: str
    question: str
    answer: bytes  # that the client got, an OpenAI chat.completion as JSON
    limit_tokens: int | None
    served_tokens: int


class _Bill:
    """What a comparison cost so far; None: nobody knows."""

    def __init__(self) -> None:
        self.nano_usd: int | None = 0

    def add(self, nano_usd: int | None) -> None:
        known = self.nano_usd is not None and nano_usd is not None
        self.nano_usd = self.nano_usd + nano_usd if known else None  # type: ignore[operator]


class Comparisons:
    """
    Takes answers that may be compared, and compares them while it runs.

    Args:
        completions: Have a completion served, and its cost counted.
        experiments: Knows the budget, keeps the judgements.
        models: Lists prices.
        at_once: Comparisons under way at most.
        waiting: Comparisons that may wait for their turn; more are dropped.
        limit_s: How long one may take.
    """

    def __init__(
        self,
        completions: Completes,
        experiments: KeepsComparisons,
        models: ListsModels,
        *,
        at_once: int,
        waiting: int,
        limit_s: float,
    ) -> None:
        self._completions = completions
        self._experiments = experiments
        self._models = models
        self._at_once = at_once
        self._limit_s = limit_s
        self._queue: asyncio.Queue[_Case] = asyncio.Queue(waiting)

    def offer(
        self, ask: router_pb2.Ask, placement: Placement, response: router_pb2.CompleteResponse
    ) -> None:
        """Have an answer compared, if its experiment wants that, it can be, and there is room."""
        comparing = placement.comparing
        if comparing is None or not is_drawn(ask.experiment_id, ask.request_id, comparing.share):
            return
        if max(len(ask.body), len(response.body)) > MAX_BODY_BYTES:
            return
        body = orjson.loads(ask.body)
        if not is_comparable(body):
            return
        case = _Case(
            ask,
            placement.other,
            comparing.judge_model,
            question=question_of(body["messages"]),
            answer=response.body,
            limit_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            served_tokens=response.outcome.usage.output_tokens,
        )
        try:
            self._queue.put_nowait(case)
        except asyncio.QueueFull:
            _count("dropped")

    async def run(self) -> None:
        """Compare what is offered, forever. Cancelled, it drops what is under way, at once."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._at_once):
                    workers.create_task(self._work())
        finally:
            while not self._queue.empty():
                self._queue.get_nowait()
                _count("dropped")

    async def _work(self) -> None:
        while True:
            case = await self._queue.get()
            ending: Ending = "dropped"
            try:
                ending = await self._compare(case)
            except Exception:
                ending = "failed"
                log.exception("comparison_broke", request_id=case.ask.request_id)
            finally:
                _count(ending)

    async def _compare(self, case: _Case) -> Ending:
        bill = _Bill()
        preferred: list[str] = []
        why = ""
        try:
            async with asyncio.timeout(self._limit_s):
                served = _text_in(case.answer)
                if refused := await self._reserve(case):
                    return refused
                preferred = await self._judged(case, served, bill)
        except TimeoutError:
            why = f"it took over {self._limit_s:g} s"
        except Failure as failure:
            why = failure.message
        told = await self._record(
            experiments_pb2.RecordComparisonRequest(
                experiment_id=case.ask.experiment_id,
                request_id=case.ask.request_id,
                arm=case.ask.arm,
                other=case.other.name,
                preferred=preferred,
                cost_nano_usd=bill.nano_usd,
                failure=why[:MAX_FAILURE_CHARACTERS],
            )
        )
        return "judged" if told and not why else "failed"

    async def _reserve(self, case: _Case) -> Ending | None:
        """
        Set aside what the comparison may cost; say how it ended if that cannot be.

        Raises:
            Failure: it is not to be tried, and this is to be recorded: it cannot succeed, or money
                may be set aside that only a record sets free.
        """
        try:
            listed = await self._models.models()
            await self._experiments.reserve_comparison(
                experiments_pb2.ReserveComparisonRequest(
                    experiment_id=case.ask.experiment_id,
                    request_id=case.ask.request_id,
                    nano_usd=_most_nano_usd(case, listed),
                )
            )
        except OverBudget:
            return "over_budget"
        except Failure as failure:
            if isinstance(failure, Invalid | TimedOut) or failure.code == CONNECTION_LOST:
                raise
            log.warning(
                "comparison_dropped", experiment=case.ask.experiment_id, reason=failure.message
            )
            return "dropped"
        return None

    async def _judged(self, case: _Case, served: str, bill: _Bill) -> list[str]:
        """
        Return which arm the judge preferred, once with each answer first.

        Raises:
            Failure: there is no judgement.
        """
        other = _text_in(await self._ask(_other_ask(case), bill), of="the other answer")
        if other == served:
            return [TIE, TIE]  # no judge need be paid for this
        ours, theirs = (case.ask.arm, served), (case.other.name, other)
        return [
            await self._preferred(case, bill, *order) for order in ((ours, theirs), (theirs, ours))
        ]

    async def _preferred(
        self, case: _Case, bill: _Bill, first: tuple[str, str], second: tuple[str, str]
    ) -> str:
        messages = judge_messages(case.question, first[1], second[1], nonce=secrets.token_hex(16))
        reply = orjson.loads(await self._ask(_judge_ask(case, messages), bill))
        verdict = read_verdict(text_of(reply))
        if verdict is None:
            raise AllFailed("the judge gave no verdict")
        return {Verdict.FIRST: first[0], Verdict.SECOND: second[0], Verdict.TIE: TIE}[verdict]

    async def _ask(self, ask: router_pb2.Ask, bill: _Bill) -> bytes:
        try:
            response = await self._completions.complete(ask)
        except BaseException as error:
            if not isinstance(error, Failure) or error.billed:
                bill.add(None)
            raise
        bill.add(cost_of(response.outcome))
        return response.body

    async def _record(self, request: experiments_pb2.RecordComparisonRequest) -> bool:
        """Tell what came of it; it was paid for, so a silent service is told again."""
        for pause_s in (*PAUSES_S, None):
            try:
                await self._experiments.record_comparison(request)
            except Failure as failure:
                if pause_s is None or not isinstance(failure, Unavailable | TimedOut):
                    log.warning(
                        "comparison_not_recorded",
                        experiment=request.experiment_id,
                        reason=failure.message,
                    )
                    return False
                await asyncio.sleep(pause_s)
            else:
                return True
        return False


def _text_in(answer: bytes, *, of: str = "the answer") -> str:
    text = text_of(orjson.loads(answer)).strip()
    if not text:
        raise AllFailed(f"{of} has no text")
    return text


def _count(ending: Ending) -> None:
    _comparisons.labels(ending).inc()


def _other_ask(case: _Case) -> router_pb2.Ask:
    """Ask for the same as the client did, in the client's name; but of no user, in no arm."""
    ask = router_pb2.Ask()
    ask.CopyFrom(case.ask)
    ask.request_id = str(new_id())
    ask.user_id = ""  # who asks the same twice was not served well: a user would seem to
    ask.strategy.name = case.other.strategy
    ask.strategy.parameters_json = case.other.parameters_json
    ask.use_cache = False
    ask.experiment_id = 0
    ask.arm = ""
    ask.internal = True
    return ask


def _judge_ask(case: _Case, messages: list[dict[str, str]]) -> router_pb2.Ask:
    body = {
        "model": case.judge_model,
        "messages": messages,
        "temperature": 0,
        "max_tokens": MAX_VERDICT_TOKENS,
    }
    return router_pb2.Ask(
        request_id=str(new_id()),
        tenant=case.ask.tenant,
        model=case.judge_model,
        body=orjson.dumps(body),
        internal=True,
    )


def _most_nano_usd(case: _Case, listed: router_pb2.ListModelsResponse) -> int:
    """
    Estimate what *case* costs at most. What is unpriced is taken for as dear as the dearest.

    Raises:
        Invalid: the judge is off, or unknown.
    """
    on = {model.name: model for model in listed.models if model.enabled}
    if case.judge_model not in on:
        raise Invalid("the judge is no model that is on")
    dearest = dearest_of(filter(None, map(_price, on.values())))
    if dearest is None:
        return 1  # a budget of money sets no bound here: there are no prices
    return most_nano_usd(
        body_bytes=len(case.ask.body),
        limit_tokens=case.limit_tokens,
        served_tokens=case.served_tokens,
        dearest=dearest,
        judge=_price(on[case.judge_model]) or dearest,
    )


def _price(model: router_pb2.Model) -> Price | None:
    if not model.HasField("input_nano_usd_per_million"):
        return None
    return Price(model.input_nano_usd_per_million, model.output_nano_usd_per_million)
