"""A cascade through the whole router: what is bought, what is recorded, and what a caller gets."""

import json

import orjson
import pytest

from sandbox.faults import fault_from
from sandbox.skill import is_right
from tests.integration.router.router_stack import CLOSED, OPENED, SETTLED, an_ask, kinds, text_of

SUMS = [f"What is {31 + n} * {67 + n} + {n}?" for n in range(30)]
FOOLED = next(s for s in SUMS if not is_right("small", s) and is_right("large", s))
EASY = next(s for s in SUMS if is_right("small", s))


def explained(response):
    return json.loads(response.outcome.decision_json)


async def test_an_answer_that_checks_out_is_all_that_is_bought(router):
    ask = an_ask(EASY, strategy="cascade")

    response = await router.complete(ask=ask)

    assert "acme/small" == response.outcome.model
    assert [OPENED, SETTLED, CLOSED] == kinds(await router.ledger(ask.request_id))
    told = explained(response)["cascade"]
    assert (False, {"answered": 1.0, "sum_right": 1.0}) == (told["escalated"], told["found"])


async def test_a_wrong_sum_is_found_out_and_both_calls_are_in_the_books(router):
    ask = an_ask(FOOLED, strategy="cascade")

    response = await router.complete(ask=ask)

    rows = await router.ledger(ask.request_id)
    settled = [row for row in rows if row.kind == SETTLED]
    [closed] = [row for row in rows if row.kind == CLOSED]
    assert ["acme/small", "acme/large"] == [row.model for row in settled]
    assert sum(row.cost_nano_usd for row in settled) == closed.cost_nano_usd
    assert closed.cost_nano_usd == sum(entry.cost_nano_usd for entry in router.bill)
    assert ("acme/large", "ok", 0) == (closed.model, closed.outcome, closed.fallbacks)
    assert closed.baseline_cost_nano_usd < closed.cost_nano_usd  # the saving is net of both
    told = explained(response)["cascade"]
    assert (True, False) == (told["escalated"], told["agreed"])
    assert told["wrongness"] > told["escalates_above"]
    a, b, c = (int(word.rstrip("?")) for word in FOOLED.split() if word.rstrip("?").isdigit())
    assert str(a * b + c) in text_of(response)


async def test_a_second_answer_that_cannot_be_had_leaves_the_first_one(router):
    router.sandbox.app.faults.add(fault_from("status=503,models=large"))
    ask = an_ask(FOOLED, strategy="cascade")

    response = await router.complete(ask=ask)

    assert "acme/small" == response.outcome.model
    told = explained(response)["cascade"]
    assert not told["escalated"]
    assert "the second answer failed" in told["note"]
    [closed] = [row for row in await router.ledger(ask.request_id) if row.kind == CLOSED]
    assert ("acme/small", "ok") == (closed.model, closed.outcome)


async def test_a_first_model_that_fails_is_replaced_by_the_better_one_unchecked(router):
    router.sandbox.app.faults.add(fault_from("status=503,models=small"))

    response = await router.complete(EASY, strategy="cascade")

    assert ("acme/large", 1) == (response.outcome.model, response.outcome.fallbacks)
    assert not explained(response)["cascade"]["escalated"]


@pytest.mark.parametrize("prompt", [EASY, FOOLED])
async def test_a_stream_is_served_as_hybrid_would(router, prompt):
    events = [event async for event in router.stream(prompt, strategy="cascade")]

    told = json.loads(events[-1].finished.decision_json)
    assert "a stream leaves before" in told["cascade"]["why_not"]
    assert "gate" in told


async def test_json_is_held_to_what_was_asked_for(router):
    body = {
        "messages": [{"role": "user", "content": "Describe the moon as JSON."}],
        "response_format": {"type": "json_object"},
        "max_tokens": 1,
    }

    response = await router.complete(ask=an_ask(body=orjson.dumps(body), strategy="cascade"))

    told = explained(response)["cascade"]
    assert told["escalated"]
    assert {"answered", "truncated", "unparsed"} == told["found"].keys()


async def test_learning_hears_what_was_seen_in_an_answer(router):
    """φ, the checks and the signs are kept with the decision; the prompt is nowhere."""
    ask = an_ask(FOOLED, strategy="cascade")
    await router.complete(ask=ask)

    [closed] = [row for row in await router.ledger(ask.request_id) if row.kind == CLOSED]
    learning = json.loads(closed.details_json)["learning"]
    assert {"answered": 1.0, "sum_wrong": 1.0} == learning["checks"]
    assert (True, False) == (learning["escalated"], learning["agreed"])
    assert {"features", "role", "score", "pattern"} <= learning.keys()
    assert FOOLED.encode() not in closed.details_json
