"""Features: whole words, one pass, head and tail of long prompts, any text at all."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.features import NAMES, features_of


def count(name, text):
    return round(math.expm1(features_of(text).values[name]))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("code", "Write a function in Python", 2),
        ("code", "functional pythonic classy", 0),  # whole words only
        ("negation", "Don't use it, never without care", 3),
        ("negation", "Don\N{RIGHT SINGLE QUOTATION MARK}t", 1),
        ("mathematics", "Prove the THEOREM.", 2),
        ("conditions", "if it rains, otherwise stay", 2),
        ("numbers", "10 apples and 2.5 pears", 2),
        ("questions", "why? how?", 2),
        ("greeting", "Hello there", 1),
        ("greeting", "Othello", 0),
        ("people", "His neighbors and I", 3),  # a plural is found by its singular
        ("names", "Yesterday Ada met Grace in Paris.", 3),
        ("options", "Which?\nA. one\nB. two\n", 2),
        ("repeats", "one and one and one", 3),
        ("sentences", "This. That! What?", 3),
    ],
)
def test_words_are_counted_by_their_list(name, text, expected):
    assert expected == count(name, text)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("asks", "And why? ", 1),
        ("asks", "Because.", 0),
        ("open_ended", "Trees provide", 1),
        ("open_ended", "Trees provide.", 0),
        ("orders", "Write a poem", 1),
        ("quantity", "How many are left?", 1),
        ("who", "Where is it?", 1),
        ("which", "Sandwich", 0),
        ("passage", "word " * 100, 0),
        ("passage", "word " * 200, math.log(2)),
        ("short", "word " * 10, math.log(2)),
        ("long_words", "characteristically", 4),  # capped: some scripts have no spaces
        ("number_share", "12 apples", 0.5),
    ],
)
def test_the_shape_of_a_prompt_is_seen(name, text, expected):
    assert features_of(text).values[name] == pytest.approx(expected)


def test_the_length_has_no_cap_although_only_head_and_tail_are_read():
    assert features_of("word " * 50_000).words == pytest.approx(50_000, rel=0.01)


def test_the_tail_of_a_long_prompt_is_read():
    assert count("reasoning", "filler " * 5_000 + "Now explain why.") == 2


def test_scripts_without_spaces_have_a_length_too():
    assert features_of("\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 600).words == 100


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_gives_finite_features(text):
    features = features_of(text)

    assert set(features.values) == set(NAMES)
    assert all(math.isfinite(value) and value >= 0 for value in features.values.values())
