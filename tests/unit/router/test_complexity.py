"""Complexity: prompts land where a person would put them, and the terms say why."""

import math

import pytest

from services.router.domain.complexity import (
    ENOUGH_PROMPTS,
    FIXED,
    WEIGHTS,
    Thresholds,
    complexity_of,
    thresholds_of,
    tier_of,
)
from services.router.domain.features import NAMES

TRAIN = """If a train leaves at 3 pm at 60 km/h and another leaves at 4 pm at 90 km/h, when does
the second catch the first? Show each step."""
LIMITER = """
Design a distributed rate limiter for a multi-region API. Compare token bucket and sliding
window, explain the trade-offs, and provide a Python implementation with tests. It must not lose
counts when Redis fails over, and should include a strategy for clock skew if regions drift."""
PRIMES = """
Prove that there are infinitely many primes, then derive an upper bound for the n-th prime.
Do not use the prime number theorem. Explain every step and justify each inequality. If a constant
is needed, give its exact value."""


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", "simple"),
        ("hi", "simple"),
        ("What is the capital of France?", "simple"),
        ("Translate 'good morning' into Spanish.", "simple"),
        ("Write a haiku about autumn.", "simple"),
        ("Write a Python function that reverses a linked list and add unit tests.", "moderate"),
        (TRAIN, "moderate"),
        (LIMITER, "complex"),
        (PRIMES, "complex"),
    ],
)
def test_prompts_land_in_their_tier(prompt, expected):
    assert expected == complexity_of(prompt).tier


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.0, "simple"), (0.299, "simple"), (0.3, "moderate"), (0.7, "complex"), (2.0, "complex")],
)
def test_a_score_on_a_threshold_belongs_above_it(score, expected):
    assert expected == tier_of(score)


def test_the_terms_add_up_to_the_score():
    found = complexity_of("Explain why this Python function fails if x is negative.")

    assert found.score == pytest.approx(sum(adds for _, adds in found.terms))


def test_the_explanation_names_the_three_largest_terms():
    found = complexity_of("Explain why this Python function does not fail if x is 0.")

    shown = found.explain()["terms"]
    assert [name for name, _ in found.terms[:3]] == [term["feature"] for term in shown]
    assert len(shown) == 3


def test_longer_is_harder_without_end():
    scores = [complexity_of("something " * n).score for n in (10, 100, 1_000, 10_000)]

    assert sorted(set(scores)) == scores


def test_every_weight_is_that_of_a_feature():
    assert set() == set(WEIGHTS) - set(NAMES)


def test_few_prompts_leave_the_fixed_thresholds():
    assert thresholds_of([0.1] * (ENOUGH_PROMPTS - 1)) == FIXED


def test_tiers_are_quantiles_of_a_deployments_own_prompts():
    scores = [2 + n / 1_000 for n in range(1_000)]  # all complex by the fixed thresholds

    found = thresholds_of(scores)

    assert [400, 400, 200] == [
        sum(tier_of(score, found) == tier for score in scores)
        for tier in ("simple", "moderate", "complex")
    ]
    assert found.prompts == 1_000


@pytest.mark.parametrize("scores", [[0.4] * 500, [math.nan] * 500, [-1.0, -2.0] * 250])
def test_prompts_that_say_nothing_leave_the_fixed_thresholds(scores):
    assert thresholds_of(scores) == FIXED


def test_the_thresholds_that_decided_are_said():
    said = complexity_of("why?", Thresholds(0.05, 0.06, 300)).explain()

    assert [0.05, 0.06, 300] == [
        said[name] for name in ("moderate_from", "complex_from", "thresholds_from_prompts")
    ]
