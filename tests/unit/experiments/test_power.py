"""Planning: what an effect takes, and what a size can find."""

import pytest

from common.errors import Invalid
from services.experiments.domain.power import Traffic, traffic_of
from tests.unit.experiments.arms import arm_totals, noisy, user


def test_the_formula():
    # 2 · 1² · (1.95996 + 0.84162)² / ln(0.9)² = 1414.1; times 1.21
    assert 1712 == Traffic(variation=1.0).users_to_find(0.1)


@pytest.mark.parametrize("effect", [0.01, 0.1, 0.5, 0.9])
def test_a_plan_and_its_inverse_agree(effect):
    traffic = Traffic(variation=1.2, explained_ratio=0.4)

    assert effect == pytest.approx(traffic.effect_of(traffic.users_to_find(effect)), rel=0.15)


def test_smaller_effects_more_arms_and_wilder_users_take_more():
    usual = Traffic().users_to_find(0.1)

    assert usual < Traffic().users_to_find(0.05)
    assert usual < Traffic().users_to_find(0.1, arms=3)
    assert usual < Traffic(variation=2).users_to_find(0.1)
    assert usual > Traffic(explained_ratio=0.5).users_to_find(0.1)


@pytest.mark.parametrize("effect", [0, 1, -0.1, 1.5, 1e-200, 1e-9, float("nan")])
def test_an_effect_that_is_none_is_refused(effect):
    with pytest.raises(Invalid):
        Traffic().users_to_find(effect)


def test_few_or_equal_users_teach_nothing():
    assert traffic_of(arm_totals(noisy(49, 100)), requests_per_day=1) is None
    assert traffic_of(arm_totals([user(100)] * 60), requests_per_day=1) is None
    assert traffic_of(arm_totals([user(0)] * 60), requests_per_day=1) is None


def test_users_teach_how_much_they_differ():
    found = traffic_of(arm_totals([user(50), user(150)] * 500), requests_per_day=9)

    assert 0.5 == pytest.approx(found.variation, rel=0.01)
    assert (1.0, 9, True) == (found.requests_per_user, found.requests_per_day, found.measured)
