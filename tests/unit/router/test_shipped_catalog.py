"""The catalog we ship: every model has a price, and it works with the sandbox alone."""

from collections import Counter
from functools import cache

import pytest

from services.router.domain.beliefs import NOTHING_LEARNED
from services.router.domain.strategies import Strategies
from services.router.settings import SHIPPED_CATALOG
from services.router.store.catalog_file import load_catalog
from services.router.store.price_list import list_price
from tests.router_builders import an_ask

SANDBOX = {"SANDBOX_URL": "http://127.0.0.1:8090/v1"}
STEPS = {"openai": 272_000, "anthropic/claude-haiku-5-5": 100_000, "openrouter/grok-4.7": 200_000}


@cache
def shipped(*variables):
    return load_catalog(SHIPPED_CATALOG, SANDBOX | dict.fromkeys(variables, "a-key"))


def test_every_model_has_a_price():
    assert [] == [model.name for model in shipped().models.values() if model.price is None]


def test_providers_that_cost_money_are_off_until_their_key_is_set():
    on = [provider.name for provider in shipped().providers.values() if provider.enabled]

    assert ["sandbox"] == on
    assert shipped("GROQ_API_KEY").providers["groq"].enabled


def test_nothing_is_on_without_any_variable():
    assert [] == load_catalog(SHIPPED_CATALOG, {}, lambda *_: None).servable()


def test_every_provider_serves_something():
    served = Counter(model.provider for model in shipped().models.values())

    assert set(shipped().providers) == set(served)


def test_what_is_routed_costs_the_first_price_step():
    for name, model in shipped().models.items():
        step = STEPS.get(name) or STEPS.get(model.provider)
        assert step is None or model.context_tokens <= step


@pytest.mark.parametrize("strategy", Strategies(shipped).names())
def test_the_sandbox_alone_serves_every_strategy(strategy):
    parameters = {"model": "sandbox/tiny"} if strategy == "fixed" else {}
    ask = an_ask("What is the capital of France?", strategy=strategy, parameters=parameters)

    found = Strategies(shipped, lambda: NOTHING_LEARNED).get(ask.strategy).decide(ask, shipped())

    assert {"sandbox"} == {candidate.model.provider for candidate in found.candidates}


@pytest.mark.parametrize(
    ("provider", "url", "upstream", "usd"),
    [
        ("anything", "https://api.openai.com/v1", "gpt-4o-mini", 0.15),  # the address bills
        ("openai", "http://proxy.internal/v1", "gpt-4o-mini", 0.15),
        ("acme", "http://127.0.0.1:1/v1", "gpt-4o-mini", None),
        ("openai", "https://api.openai.com/v1", "no-such-model", None),
    ],
)
def test_list_prices_are_found_by_address_or_name(provider, url, upstream, usd):
    found = list_price(provider, url, upstream)

    assert usd == (found and found.input / 1e9)
