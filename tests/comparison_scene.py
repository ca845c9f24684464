"""A scripted arm, other arm and judge for the gateway's comparisons."""

import asyncio

import orjson
from optimizer.experiments.v1 import experiments_pb2 as exp
from optimizer.router.v1 import router_pb2
from prometheus_client import REGISTRY

from tests.fake_router import a_completion, an_outcome

CHAT, COMPLETE = "/v1/chat/completions", "/complete"
QUESTION = "Which river is the longest?"
IN_EXPERIMENT = {"x-optimizer-experiment-id": "1", "x-optimizer-user-id": "alice"}
HELLO = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}]}
PLAIN = {"prompt": QUESTION, "experiment_id": 1, "user_id": "alice"}
OURS, THEIRS = "The Nile.", "The Amazon."
JUDGE = "acme/small"


def compare(stack, **changes):
    fields = {"share": 1.0, "judge_model": JUDGE, "budget_nano_usd": 10**9, **changes}
    stack.experiments.comparing = exp.Comparing(**fields)
    stack.router.answer = answers()


def said(text, **outcome):
    return router_pb2.CompleteResponse(body=a_completion(text), outcome=an_outcome(**outcome))


def answers(*, ours=None, theirs=None, judge=None):
    """Answer by who is asked: the arm, the other arm, the judge (a function of its prompt)."""

    def answer(ask):
        if ask.model:
            return judge(prompt_of(ask)) if callable(judge) else judge or said("1")
        if ask.strategy.name == "best":
            return theirs or said(THEIRS, cost_nano_usd=7_000)
        return ours or said(OURS)

    return answer


def prefers(text):
    """Make a judge that finds the answer it likes, wherever it stands."""

    def judge(prompt):
        return said("1" if prompt.index(text) < prompt.index("end of Answer 1") else "2")

    return judge


def prompt_of(ask):
    return orjson.loads(ask.body)["messages"][1]["content"]


def judged(stack):
    return [ask for ask in stack.router.asks if ask.model]


def counted(outcome):
    return REGISTRY.get_sample_value("optimizer_comparisons_total", {"outcome": outcome}) or 0


async def asked(stack, **changes):
    return await stack.client.post(CHAT, json={**HELLO, **changes}, headers=IN_EXPERIMENT)


async def told(stack):
    return await asyncio.wait_for(stack.experiments.comparisons.get(), 10)


async def end_of(endings):
    return await asyncio.wait_for(endings.get(), 10)


async def and_nothing_before(stack):
    """Have one more answer compared: with one worker, whatever waited is compared before it."""
    compare(stack)
    stack.router.asks.clear()
    answer = await asked(stack)
    record = await told(stack)
    assert answer.headers["x-request-id"] == record.request_id
    assert 4 == len(stack.router.asks)
