"""φ: 48 numbers, bounded, the same from the same prompt; what is kept can be read again."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.complexity import complexity_of
from services.router.domain.vector import GAIN, MOST_UNITS, SIZE, packed, unpacked, vector_of


def phi(text):
    return vector_of(complexity_of(text))


def test_it_has_48_numbers_of_which_the_first_is_1():
    assert ((48,), 1.0) == (phi("hi").shape, phi("hi")[0])


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_gives_a_bounded_vector_that_survives_keeping(text):
    vector = phi(text)

    assert vector @ vector <= 1 + MOST_UNITS**2 + GAIN**2 + 1e-6
    assert np.allclose(unpacked(packed(vector)), vector, atol=1e-5)


def test_alike_prompts_have_alike_vectors():
    one, other = phi("What is the capital of France?"), phi("What is the capital of Norway?")
    essay = phi("Prove that the square root of two is irrational. Justify each step. " * 9)

    assert np.linalg.norm(one - other) < 0.5 * np.linalg.norm(one - essay)


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"\0" * 192,
        np.full(SIZE, math.nan, "<f4").tobytes(),
        np.ones(SIZE + 1, "<f4").tobytes(),
        np.array([1.0, *[1e6] * (SIZE - 1)], "<f4").tobytes(),
        [1.0],
        ["x"] * SIZE,
    ],
)
def test_what_can_be_no_vector_is_refused(kept):
    assert unpacked(kept) is None
