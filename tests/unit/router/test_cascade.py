"""The cascade: what can be checked is, and a second opinion is bought only where it pays."""

from dataclasses import replace
from fractions import Fraction

import pytest

from services.router.domain.arithmetic import asked_sum, numbers_of, wrong_steps
from services.router.domain.beliefs import NOTHING_LEARNED
from services.router.domain.candidates import fitting, read
from services.router.domain.cascade import Plan, plan
from services.router.domain.learning import NO_EVIDENCE
from services.router.domain.preference import Wish
from services.router.domain.verifier import (
    Answered,
    checkable,
    checks_of,
    vector_of,
    wrongness,
)
from tests.router_builders import a_catalog, a_model, an_ask

SUM = "What is 48 * 37 + 12?"
STORY = "A farm fills 24 crates with 12 melons each, and 30 more. How many melons is that?"
PERSON = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
}
CATALOG = a_catalog(
    a_model("acme/small", tier="simple", usd=0.1), a_model("acme/large", tier="complex", usd=10)
)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (SUM, 1788),
        ("7-3", 4),
        ("Compute 2 + 3 * 4 - 1.", 13),
        ("What is 1,200 divided by 5?", 240),
        ("6 times 7", 42),
        ("What is 1 / 0?", None),
        ("(2 + 3) * 4", None),  # brackets are left to others
        ("Is 2 + 2 more than 3 + 3?", None),  # which of the two?
        ("Call me at noon.", None),
    ],
)
def test_the_sum_of_a_prompt_is_computed(prompt, expected):
    assert asked_sum(prompt) == (None if expected is None else Fraction(expected))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("24 * 12 = 288, and 288 + 30 = 318.", 0),
        ("24 * 12 = 278, and 278 + 30 = 308.", 1),
        ("100 / 3 = 33.33", 0),  # rounded is not wrong
        ("x = 5", 0),
    ],
)
def test_equations_that_do_not_hold_are_counted(answer, expected):
    assert expected == wrong_steps(answer)


def test_numbers_are_read_as_people_write_them():
    assert [1200, Fraction("2.5"), -3] == numbers_of("$1,200 and 2.5, but -3")


def wrong(prompt, answer, evidence=NO_EVIDENCE, **said):
    return wrongness(
        checks_of(Answered(prompt, answer, said.pop("finish_reason", "stop"), **said)), evidence
    )


@pytest.mark.parametrize(
    ("prompt", "good", "bad"),
    [
        (SUM, "The answer is 1788.", "The answer is 1778."),
        (STORY, "24 * 12 = 288, 288 + 30 = 318.", "24 * 12 = 278, 278 + 30 = 308."),
        (STORY, "24 * 12 = 288, 288 + 30 = 318.", "24 * 12 = 288."),  # 30 is not used
        (STORY, "24 * 12 = 288, 288 + 30 = 318.", "I'm sorry, I can't help with that."),
        (STORY, "24 * 12 = 288, 288 + 30 = 318.", ""),
    ],
)
def test_a_wrong_answer_looks_more_wrong_than_a_right_one(prompt, good, bad):
    assert wrong(prompt, good) < 0.15
    assert wrong(prompt, bad) > 0.3


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        ('{"name": "Ada", "age": 36}', True),
        ('```json\n{"name": "Ada"}\n```', True),
        ('{"age": 36}', False),
        ('{"name": "Ada", "age": "36"}', False),
        ('{"name": true}', False),
        ("Ada is 36.", False),
        ("[" * 100_000, False),
    ],
)
def test_json_is_held_to_the_schema_that_was_asked_for(answer, good):
    assert good == (wrong("Who?", answer, schema=PERSON) < 0.3)


def test_what_a_check_says_is_learned():
    """Here, answers that show no work are right all the same."""
    bare = checks_of(Answered(STORY, "318 of 24, 12 and 30", "stop"))
    evidence = NO_EVIDENCE
    for _ in range(60):
        evidence = evidence.learn(vector_of(bare), 0.0)

    assert wrongness(bare, evidence) < 0.3 * wrongness(bare)


@pytest.mark.parametrize(
    ("prompt", "schema", "expected"),
    [(SUM, None, True), (STORY, None, True), ("Who?", {}, True), ("Write a poem.", None, False)],
)
def test_only_what_can_be_checked_is_cascaded(prompt, schema, expected):
    assert expected == checkable(prompt, schema)


def planned(prompt=SUM, *, streamed=False, preset="balanced", catalog=CATALOG):
    question = read(an_ask(prompt), catalog, NOTHING_LEARNED)
    return plan(
        question,
        fitting(question),
        Wish(preset),
        prompt=prompt,
        schema=None,
        streamed=streamed,
    )


def test_the_cheap_model_goes_first_and_the_best_one_second():
    found = planned()

    assert ("acme/small", "acme/large") == (found.first.model.name, found.then.model.name)
    assert {"first": "acme/small", "then": "acme/large"}.items() <= found.explain().items()


def test_nothing_is_cascaded_that_streams_or_cannot_be_checked_or_gets_no_cheaper():
    alone = a_catalog(a_model("acme/large", usd=10), a_model("beta/large", usd=9))

    assert [None] * 3 == [
        planned(streamed=True),
        planned("Write a poem."),
        planned(catalog=alone),
    ]


def test_a_second_opinion_is_bought_where_the_gain_is_worth_its_price():
    found = planned()

    assert found.escalates(0.5)
    assert not found.escalates(0.01)
    dear = Plan(found.first, found.then, 2 * found.price, found.cost)
    assert dear.bar == pytest.approx(2 * found.bar)
    hopeless = replace(found, then=replace(found.then, expected_quality=0.0))
    assert not hopeless.escalates(1.0)
