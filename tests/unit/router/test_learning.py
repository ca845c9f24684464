"""Beliefs: from declared capability to measured quality, and never from nonsense."""

import math
from dataclasses import replace

import numpy as np
import pytest

from services.router.domain.beliefs import DEFAULT_OUTPUT_TOKENS, Beliefs, length_outcome
from services.router.domain.complexity import complexity_of
from services.router.domain.learning import (
    FADING,
    MOST_WEIGHT,
    NO_EVIDENCE,
    Evidence,
    believe,
    fits,
    prior_of,
)
from services.router.domain.vector import SIZE, vector_of
from tests.router_builders import a_model, evidence_of

WEAK, STRONG = a_model("acme/weak", capability=0.4), a_model("acme/strong", capability=0.9)
EASY = vector_of(complexity_of("What is the capital of France?"))
HARD = vector_of(complexity_of("Prove that there are infinitely many primes, step by step. " * 4))


def expect(model, phi, evidence=NO_EVIDENCE):
    return Beliefs({model.name: evidence}).of(model).expect(phi)


@pytest.mark.parametrize("phi", [EASY, HARD])
def test_without_outcomes_the_declared_capability_orders(phi):
    assert expect(WEAK, phi) < expect(STRONG, phi)


def test_models_differ_most_where_prompts_are_hard():
    gaps = [expect(STRONG, phi)[0] - expect(WEAK, phi)[0] for phi in (EASY, HARD)]

    assert gaps[0] < gaps[1]


def test_outcomes_take_over_from_the_prior():
    few, many = (expect(STRONG, EASY, evidence_of(EASY, 0.1, n))[0] for n in (2, 400))

    assert expect(STRONG, EASY)[0] > few > many
    assert many == pytest.approx(0.1, abs=0.05)


def test_outcomes_make_sure_where_they_were_and_hardly_elsewhere():
    evidence = evidence_of(EASY, 1, 100)

    before, after = (expect(STRONG, EASY, one)[1] for one in (NO_EVIDENCE, evidence))
    before_hard, after_hard = (expect(STRONG, HARD, one)[1] for one in (NO_EVIDENCE, evidence))

    assert after < 0.3 * before
    assert after_hard > 0.5 * before_hard


def test_the_update_is_the_textbooks_with_the_prior_coming_back():
    prior, phi, other = prior_of(0.7), EASY, HARD
    a, b = np.diag(prior.precision), prior.precision * prior.mean
    for vector, outcome in ((phi, 1.0), (other, 0.0)):
        a = FADING * a + (1 - FADING) * np.diag(prior.precision) + np.outer(vector, vector)
        b = FADING * b + (1 - FADING) * prior.precision * prior.mean + outcome * vector

    found = believe(prior, NO_EVIDENCE.learn(phi, 1.0).learn(other, 0.0))

    assert np.allclose(np.linalg.solve(a, b), found.mean)
    assert np.allclose(np.linalg.inv(a), found.covariance)


def test_a_model_that_drifts_is_seen_within_tens_of_outcomes():
    good = evidence_of(EASY, 0.9, 500)

    drifted = good
    for _ in range(30):
        drifted = drifted.learn(EASY, 0.0)

    assert expect(STRONG, EASY, good)[0] > 0.85
    assert expect(STRONG, EASY, drifted)[0] < 0.3
    assert drifted.weight < 0.2 * good.weight


def test_a_run_of_bad_luck_is_no_drift():
    unlucky = evidence_of(EASY, 0.7, 400)
    for outcome in (0, 1, 0, 0, 1, 0, 1, 0):
        unlucky = unlucky.learn(EASY, outcome)

    assert unlucky.weight > 200


def test_a_revised_outcome_replaces_the_first_faded_as_it_has():
    later = [(HARD, 0.5), (EASY, 0.25)]
    first, instead = NO_EVIDENCE.learn(EASY, 0.0), NO_EVIDENCE.learn(EASY, 1.0)
    for phi, outcome in later:
        first, instead = first.learn(phi, outcome), instead.learn(phi, outcome)

    revised = first.revise(EASY, (0.0, 1.0), (1.0, 1.0), later=2)

    assert np.allclose(instead.vector, revised.vector)


def test_a_revised_weight_counts_as_if_it_had_been_so():
    first, instead = (NO_EVIDENCE.learn(EASY, 1.0, weight) for weight in (0.2, 1.0))

    revised = first.revise(EASY, (1.0, 0.2), (1.0, 1.0), later=0)

    assert np.allclose(instead.matrix, revised.matrix)
    assert instead.weight == revised.weight
    assert revised.sane


def test_what_was_forgotten_meanwhile_is_not_taken_back_twice():
    fresh = NO_EVIDENCE.learn(EASY, 0.0)

    assert fresh is fresh.revise(HARD, (1.0, 5.0), (0.0, 5.0), later=0)


def test_what_is_kept_is_read_again():
    kept = evidence_of(HARD, 0.3, 20)

    found = Evidence.unpack(kept.pack())

    assert np.allclose(kept.matrix, found.matrix)
    assert (kept.weight, kept.outcomes, kept.surprise) == (
        found.weight,
        found.outcomes,
        found.surprise,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"weight": math.nan},
        {"weight": -1.0},
        {"weight": 2 * MOST_WEIGHT},
        {"weight": 7.0},  # not what the matrix says
        {"vector": np.full(SIZE, math.inf)},
        {"vector": np.full(SIZE, 30.0)},  # more success than outcomes
        {"matrix": -np.eye(SIZE)},
        {"surprise": math.nan},
        {"outcomes": -1},
    ],
)
def test_absurd_evidence_is_refused(changes):
    assert Evidence.unpack(replace(evidence_of(EASY, 0.5, 20), **changes).pack()) is None


@pytest.mark.parametrize("kept", [b"", b"garbage", b"\xff" * len(NO_EVIDENCE.pack())])
def test_garbage_is_refused(kept):
    assert Evidence.unpack(kept) is None


@pytest.mark.parametrize("correction", [np.zeros(3), np.full(SIZE, math.nan), np.full(SIZE, 2.0)])
def test_an_absurd_correction_is_refused(correction):
    assert not fits(correction)


def test_the_usual_length_of_an_answer_is_a_running_mean():
    beliefs = Beliefs(output_tokens={"acme/weak": 40.0, "acme/strong": math.nan})

    assert beliefs.answer_tokens(WEAK) == 40
    assert beliefs.answer_tokens(STRONG) == DEFAULT_OUTPUT_TOKENS


def test_long_answers_are_expected_where_they_were_seen():
    lengths = NO_EVIDENCE
    for _ in range(60):
        lengths = lengths.learn(EASY, length_outcome(10)).learn(HARD, length_outcome(1_000))
    beliefs = Beliefs(output_tokens={"acme/weak": 300.0}, lengths=lengths)

    short, long = (beliefs.answer_tokens(WEAK) * beliefs.length_ratio(phi) for phi in (EASY, HARD))

    assert short < 100
    assert long > 900


@pytest.mark.parametrize("tokens", [0, 1, 300, 10**9])
def test_a_length_is_learned_as_a_number_from_0_to_1(tokens):
    assert 0 <= length_outcome(tokens) <= 1
