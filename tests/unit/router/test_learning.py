"""Beliefs: from declared capability to measured quality, and never from nonsense."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.complexity import TIERS
from services.router.domain.learning import (
    DEFAULT_OUTPUT_TOKENS,
    NO_EVIDENCE,
    Beliefs,
    Evidence,
    prior_quality,
    quality,
)
from tests.router_builders import a_model

WEAK, STRONG = a_model("acme/weak", capability=0.4), a_model("acme/strong", capability=0.9)


@pytest.mark.parametrize("tier", TIERS)
def test_without_outcomes_the_declared_capability_orders(tier):
    assert quality(WEAK, tier, NO_EVIDENCE) < quality(STRONG, tier, NO_EVIDENCE)


def test_models_differ_most_where_prompts_are_hard():
    gaps = [prior_quality(STRONG, tier) - prior_quality(WEAK, tier) for tier in TIERS]

    assert sorted(gaps) == gaps


def test_outcomes_take_over_from_the_prior():
    few, many = (quality(STRONG, "complex", Evidence(n, 0.1 * n)) for n in (2, 2_000))

    assert quality(STRONG, "complex", NO_EVIDENCE) > few > many
    assert many == pytest.approx(0.1, abs=0.01)


@given(
    st.floats(0, 1e6).flatmap(
        lambda weight: st.tuples(st.just(weight), st.floats(0, 1).map(lambda r: r * weight))
    )
)
def test_quality_is_a_probability(evidence):
    assert 0 <= quality(WEAK, "complex", Evidence(*evidence)) <= 1


@pytest.mark.parametrize(
    "absurd",
    [
        Evidence(math.nan, 1),
        Evidence(1, math.nan),
        Evidence(math.inf, 1),
        Evidence(-5, -5),
        Evidence(10, 11),  # more success than outcomes
        Evidence(10, -1),
    ],
)
def test_absurd_evidence_leaves_the_prior(absurd):
    assert NO_EVIDENCE == Beliefs({("acme/weak", "simple"): absurd}).of(WEAK, "simple")


@pytest.mark.parametrize("absurd", [math.nan, math.inf, -1.0, 0.0])
def test_an_absurd_length_leaves_the_default(absurd):
    assert DEFAULT_OUTPUT_TOKENS == Beliefs({}, {"acme/weak": absurd}).answer_tokens(WEAK)
