"""Whom to leave alone, and for how long."""

import time

import pytest

from services.router.domain.provider_failure import ProviderFailure
from services.router.providers import breaker
from services.router.providers.breaker import Breakers
from services.router.providers.metrics import BREAKER
from tests.router_builders import a_model

LARGE, SMALL, OTHER = a_model("acme/large"), a_model("acme/small"), a_model("beta/other")
DOWN = ProviderFailure("overloaded", "503")


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def some_breakers(monkeypatch, **options):
    """Breakers and the one clock of everything that they ask for the time."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return Breakers(failures_to_open=2, rest_s=20, now=clock, **options), clock


def shown(model):
    return BREAKER.labels(model.provider, model.name)._value.get()


def test_only_failures_in_a_row_count(monkeypatch):
    breakers, _ = some_breakers(monkeypatch)

    for _ in range(3):
        breakers.failed(LARGE, DOWN)
        breakers.succeeded(LARGE)

    assert breakers.allows(LARGE)


def test_one_call_tries_out_a_model_whose_rest_is_over(monkeypatch):
    breakers, clock = some_breakers(monkeypatch)
    breakers.failed(LARGE, DOWN)
    breakers.failed(LARGE, DOWN)

    resting = (breakers.allows(LARGE), shown(LARGE))
    clock.now += 20.1
    trying = (breakers.allows(LARGE), breakers.allows(LARGE), shown(LARGE))
    breakers.succeeded(LARGE)

    assert resting == (False, 2)
    assert trying == (True, False, 1)
    assert (breakers.allows(LARGE), shown(LARGE)) == (True, 0)


def test_a_trial_that_fails_starts_another_rest(monkeypatch):
    breakers, clock = some_breakers(monkeypatch)
    breakers.failed(LARGE, DOWN)
    breakers.failed(LARGE, DOWN)
    clock.now += 20.1

    breakers.allows(LARGE)
    breakers.failed(LARGE, DOWN)

    assert not breakers.allows(LARGE)


@pytest.mark.parametrize("end", [None, "undecided"])
def test_a_trial_that_says_nothing_makes_room_for_the_next(monkeypatch, end):
    breakers, clock = some_breakers(monkeypatch)
    breakers.failed(LARGE, DOWN)
    breakers.failed(LARGE, DOWN)
    clock.now += 20.1

    breakers.allows(LARGE)
    if end:
        breakers.undecided(LARGE)
    else:
        clock.now += breaker.PROBE_S

    assert breakers.allows(LARGE)


def test_other_models_of_a_provider_go_on(monkeypatch):
    breakers, _ = some_breakers(monkeypatch)

    breakers.failed(LARGE, DOWN)
    breakers.failed(LARGE, DOWN)

    assert (breakers.allows(LARGE), breakers.allows(SMALL)) == (False, True)


@pytest.mark.parametrize("kind", ["unauthorized", "out_of_credit"])
def test_a_provider_that_refuses_our_account_rests_as_a_whole(monkeypatch, kind):
    breakers, clock = some_breakers(monkeypatch)

    breakers.failed(LARGE, ProviderFailure(kind, "no"))
    resting = [breakers.allows(m) for m in (LARGE, SMALL, OTHER)]
    clock.now += breaker.REFUSED_REST_S + 1

    assert resting == [False, False, True]
    assert breakers.allows(SMALL)


def test_a_rate_limit_rests_a_model_as_long_as_it_asks(monkeypatch):
    breakers, clock = some_breakers(monkeypatch)

    for _ in range(3):
        breakers.failed(LARGE, ProviderFailure("rate_limited", "x", retry_after_s=7))
    resting = breakers.allows(LARGE)
    clock.now += 7.1

    assert (resting, breakers.allows(LARGE)) == (False, True)


@pytest.mark.parametrize("kind", ["refused", "blocked", "too_long", "unsupported"])
def test_what_is_not_the_models_fault_does_not_count(monkeypatch, kind):
    breakers, _ = some_breakers(monkeypatch)

    for _ in range(5):
        breakers.failed(LARGE, ProviderFailure(kind, "x"))

    assert breakers.allows(LARGE)


def test_how_a_model_stands_is_told_and_looking_changes_nothing(monkeypatch):
    breakers, clock = some_breakers(monkeypatch)

    told = [breakers.standing(LARGE)]
    breakers.failed(LARGE, ProviderFailure("reset", "x"))
    breakers.failed(LARGE, DOWN)
    clock.now += 5
    told.append(breakers.standing(LARGE))
    clock.now += 15.1
    told += [breakers.standing(LARGE), breakers.standing(LARGE)]
    trial = breakers.allows(LARGE)
    told.append(breakers.standing(LARGE))
    breakers.succeeded(LARGE)

    resting, *rested = told[1:]
    assert ("closed", 0, None) == told[0] == breakers.standing(LARGE)
    assert ("open", 15, "overloaded") == resting
    assert [("half_open", 0, "overloaded")] * 3 == rested
    assert trial


def test_the_longest_rest_is_told_with_its_reason(monkeypatch):
    breakers, clock = some_breakers(monkeypatch)

    breakers.failed(LARGE, ProviderFailure("rate_limited", "x", retry_after_s=50))
    breakers.failed(LARGE, DOWN)
    breakers.failed(LARGE, DOWN)
    limited = breakers.standing(LARGE)
    breakers.failed(SMALL, ProviderFailure("unauthorized", "no"))
    refused = [breakers.standing(model) for model in (LARGE, SMALL, OTHER)]
    clock.now += breaker.REFUSED_REST_S

    assert ("open", 50, "rate_limited") == limited
    assert [("open", breaker.REFUSED_REST_S, "unauthorized")] * 2 == refused[:2]
    assert "closed" == refused[2].state
    assert ("half_open", 0, "unauthorized") == breakers.standing(SMALL)
