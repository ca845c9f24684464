"""The re-fit: the prior comes from all outcomes; the same from the same; nothing from little."""

import random

import numpy as np
import pytest

from services.router.domain.complexity import complexity_of
from services.router.domain.learning import fits, prior_of
from services.router.domain.refit import ENOUGH_OUTCOMES, Outcomes, refit, refit_due
from services.router.domain.vector import vector_of

EASY = vector_of(complexity_of("What is the capital of France?"))
CODE = vector_of(complexity_of("Write a Python function that merges two sorted lists."))


def outcomes(mean_easy, mean_code, *, count=400, seed=0):
    dice = random.Random(seed)
    phis = [EASY if n % 2 else CODE for n in range(count)]
    means = [mean_easy if n % 2 else mean_code for n in range(count)]
    drawn = [float(dice.random() < mean) for mean in means]
    return Outcomes(0.6, np.array(phis), np.array(drawn), np.ones(count))


def expect(found, model, phi):
    return prior_of(0.6, found.corrections[model]).mean @ phi


def test_a_model_gets_the_prior_that_its_outcomes_say():
    found = refit({"a": outcomes(0.9, 0.1), "b": outcomes(0.2, 0.8)})

    expected = [expect(found, model, phi) for model in "ab" for phi in (EASY, CODE)]
    assert expected == pytest.approx([0.9, 0.1, 0.2, 0.8], abs=0.15)
    assert all(map(fits, found.corrections.values()))


def test_the_same_outcomes_give_the_same_prior_in_any_order():
    one = outcomes(0.9, 0.1)
    back = Outcomes(0.6, one.phis[::-1], one.outcomes[::-1], one.weights)

    first, second = refit({"a": one}), refit({"a": back})

    assert np.allclose(first.corrections["a"], second.corrections["a"])
    assert first.precision == second.precision


def test_chance_is_held_back_more_than_difference():
    chance, difference = (refit({"a": outcomes(*means)}) for means in ((0.6, 0.6), (0.95, 0.05)))

    assert chance.precision > difference.precision


def test_few_outcomes_fit_nothing():
    found = refit({"a": outcomes(0.9, 0.1, count=ENOUGH_OUTCOMES - 2)})

    assert {} == found.corrections


def test_a_refit_is_due_when_outcomes_have_grown():
    assert [False, True, False, True] == [
        refit_due(*case) for case in ((499, 0), (500, 0), (540, 500), (550, 500))
    ]
