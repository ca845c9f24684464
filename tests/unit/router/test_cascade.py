"""The cascade: what can be checked is, and a second opinion is bought only where it pays."""

from dataclasses import replace
from fractions import Fraction

import pytest

from services.router.domain.arithmetic import asked_sum, numbers_of, wrong_steps
from services.router.domain.form import FREE, Form, form_of
from services.router.domain.learning import NO_EVIDENCE
from services.router.domain.strategies import Strategies
from services.router.domain.verifier import (
    Answered,
    agree,
    checkable,
    checks_of,
    signs_of,
    vector_of,
    verdict_of,
    wrong_outcome,
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
        ("Compute 12*7 and reply with only the number.", 84),
        ("A train goes 40 * 2 miles an hour. How far after 3 hours?", None),  # part of a story
        ("Is 555-1234 your number?", None),
        ("What is 2024-05-01?", None),
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
        ("401 * 481 + 111 = 193002", 1),  # 10 too many, a twenty-thousandth
        ("x = 5", 0),
    ],
)
def test_equations_that_do_not_hold_are_counted(answer, expected):
    assert expected == wrong_steps(answer)


def test_numbers_are_read_as_people_write_them():
    assert [1200, Fraction("2.5"), -3] == numbers_of("$1,200 and 2.5, but -3")


def wrong(prompt, answer, evidence=NO_EVIDENCE, **said):
    one = Answered(prompt, answer, said.pop("finish_reason", "stop"), **said)
    return wrongness(checks_of(one), verdict_of(evidence))


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
        ('{"name": NaN}', False),
    ],
)
def test_json_is_held_to_the_schema_that_was_asked_for(answer, good):
    assert good == (wrong("Who?", answer, form=Form(PERSON)) < 0.3)


def test_what_a_check_says_is_learned():
    """Here, answers that show no work are right all the same."""
    bare = checks_of(Answered(STORY, "318 of 24, 12 and 30", "stop"))
    evidence = NO_EVIDENCE
    for _ in range(60):
        evidence = evidence.learn(vector_of(bare), 0.0)

    before, after = (wrongness(bare, verdict_of(one)) for one in (NO_EVIDENCE, evidence))
    assert after < 0.3 * before


@pytest.mark.parametrize(
    ("prompt", "form", "expected"),
    [
        (SUM, FREE, True),
        (STORY, FREE, True),
        ("Who?", Form({}), True),
        ("Who?", Form(tools={"look_up": PERSON}), True),
        ("Write a poem.", FREE, False),
    ],
)
def test_only_what_can_be_checked_is_cascaded(prompt, form, expected):
    assert expected == checkable(prompt, form)


def a_call(name, arguments):
    return {"function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("calls", "fault"),
    [
        ([a_call("add", '{"name": "Ada"}')], ""),
        ([a_call("add", '{"name": "Ada"}'), a_call("add", "{}")], "off_schema"),
        ([a_call("add", "{")], "unparsed"),
        ([a_call("remove", "{}")], "off_schema"),
        (["add"], "off_schema"),
        ([], ""),  # it need not call
    ],
)
def test_tools_are_called_as_they_were_declared(calls, fault):
    tool = {"type": "function", "function": {"name": "add", "parameters": PERSON}}

    assert fault == form_of({"tools": [tool]}).fault_of("", calls)


def test_a_tool_that_must_be_called_is_missed():
    tool = {"type": "function", "function": {"name": "add"}}
    form = form_of({"tools": [tool], "tool_choice": "required"})

    assert "off_schema" == form.fault_of("No.", [])
    assert "" == form.fault_of("", [a_call("add", "{}")])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"response_format": {"type": "text"}, "tools": None},
        {"response_format": 7, "tools": "all of them"},
        {"tools": [None, 3, {"function": {"name": 5}}]},
    ],
)
def test_a_request_that_asks_for_no_form_is_free(body):
    assert FREE == form_of(body)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Paris.", []),
        ("  \n", ["empty"]),
        ("I'm sorry, but I can't help with that.", ["refused"]),
        ("Sorry, I\u2019m not able to provide that.", ["refused"]),
        ("As an AI language model, I cannot answer this.", ["refused"]),
        ("I can't stress enough how good Paris is.", []),
        ("It was dark. I cannot help but think of Paris.", []),
    ],
)
def test_an_answer_that_is_none_shows_it(answer, expected):
    assert expected == signs_of(Answered("", answer, "stop"))


def test_json_that_is_not_as_asked_shows_unless_the_caller_had_it_cut():
    form = Form(PERSON)

    assert ["invalid_json"] == signs_of(Answered("", '{"name": ', "stop", form))
    assert [] == signs_of(Answered("", '{"name": ', "length", form))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, Answered("", "", "")),
        ({"message": {"content": [{"text": "a"}, {"text": "b"}, 7]}}, Answered("", "ab", "")),
        ({"message": {"refusal": "No."}}, Answered("", "", "", refused=True)),
        ({"finish_reason": "content_filter"}, Answered("", "", "content_filter", refused=True)),
        (
            {"logprobs": {"content": [{"logprob": -0.5}, {"logprob": -0.1}, {}]}},
            Answered("", "", "", mean_logprob=pytest.approx(-0.3)),
        ),
    ],
)
def test_an_answer_is_read_as_providers_write_it(choice, expected):
    assert expected == Answered.read({"choices": [choice]}, prompt="", form=FREE)


def test_what_a_rating_says_of_a_first_answer():
    assert 0.75 == wrong_outcome(0.25, escalated=False, agreed=False)
    assert 0.0 == wrong_outcome(1.0, escalated=True, agreed=True)
    assert 1.0 == wrong_outcome(1.0, escalated=True, agreed=False)
    assert wrong_outcome(0.0, escalated=True, agreed=False) is None  # both may be wrong


def test_two_answers_agree_on_their_last_figure():
    first = Answered(SUM, "48 * 37 + 12 = 1,788", "stop")

    assert agree(first, replace(first, answer="It is 1788."))
    assert not agree(first, replace(first, answer="It is 1778."))
    assert not agree(first, replace(first, answer="No idea."))


def decide(prompt=SUM, *, catalog=CATALOG, parameters=None, **changes):
    ask = an_ask(prompt, strategy="cascade", parameters=parameters, **changes)
    return Strategies(lambda: catalog).get(ask.strategy).decide(ask, catalog)


def completion(text):
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


def test_the_cheap_model_goes_first_and_the_best_one_second():
    decision = decide()

    assert "acme/small" == decision.chosen.model.name == decision.plan.first.model.name
    assert "acme/large" == decision.plan.then[0].model.name
    assert {"first": "acme/small", "then": "acme/large"}.items() <= decision.explanation[
        "cascade"
    ].items()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"streamed": True}, "a stream leaves before"),
        ({"prompt": "Write a poem."}, "nothing in the answer could be checked"),
        (
            {"catalog": a_catalog(a_model("acme/large", usd=10), a_model("beta/large", usd=9))},
            "no model is much cheaper",
        ),
        ({"parameters": {"max_cost_usd": 0.0122}}, "both answers would cost more"),
    ],
)
def test_what_cannot_be_cascaded_is_chosen_as_hybrid_does_and_says_so(changes, why):
    decision = decide(**changes)

    assert decision.plan is None
    assert why in decision.explanation["cascade"]["why_not"]
    assert "Chosen as hybrid does" in decision.explanation["reasoning"]
    assert "gate" in decision.explanation


def test_a_second_opinion_is_bought_where_the_gain_is_worth_its_price():
    plan = decide().plan

    assert plan.check(completion("The answer is 1778.")).escalates
    assert not plan.check(completion("The answer is 1788.")).escalates
    assert replace(plan, price=2 * plan.price).bar == pytest.approx(2 * plan.bar)
    hopeless = replace(plan, then=(replace(plan.then[0], expected_quality=0.0),))
    assert not hopeless.check(completion("The answer is 1778.")).escalates


@pytest.mark.parametrize("call", [{"function": {"name": ["add"], "arguments": 5}}, 7, None])
def test_an_odd_call_of_a_tool_is_a_fault_and_no_failure(call):
    tool = {"type": "function", "function": {"name": "add"}}

    assert "off_schema" == form_of({"tools": [tool]}).fault_of("", [call])


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 5, "tool_calls": 5}, "logprobs": [1]}]},
    ],
)
def test_an_answer_that_is_none_is_empty(answer):
    assert ["empty"] == signs_of(Answered.read(answer, prompt="", form=FREE))


def test_numbers_of_thousands_of_digits_are_no_failure():
    """Python refuses to read them: they are taken apart before."""
    endless = "1" + ",111" * 2_000

    assert numbers_of(endless)
    assert 0 == wrong_steps(f"{endless} + 1 = {endless}")
