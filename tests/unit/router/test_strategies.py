"""Strategies: the cheapest that is good enough, said in words; bad names and parameters refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from common.errors import Invalid, NotFound, Unavailable
from common.strategies import STRATEGIES
from services.router.domain.beliefs import NOTHING_LEARNED, Beliefs
from services.router.domain.complexity import complexity_of
from services.router.domain.request import Conversation, StrategyChoice
from services.router.domain.strategies import Strategies, decide_pinned
from services.router.domain.vector import unpacked, vector_of
from tests.router_builders import a_catalog, a_model, a_provider, an_ask, evidence_of

SMALL = a_model("acme/small", tier="simple", usd=0.1)
MEDIUM = a_model("acme/medium", tier="moderate", usd=1)
LARGE = a_model("acme/large", tier="complex", usd=10)
CATALOG = a_catalog(LARGE, SMALL, MEDIUM)

SIMPLE = "What is the capital of France?"
MODERATE = "Write a Python function that reverses a linked list and add unit tests."
COMPLEX = (
    "Design a distributed rate limiter. Compare token bucket and sliding window, explain the"
    " trade-offs and why each fails, and provide a Python implementation with tests. It must not"
    " lose counts when Redis fails over, and should include a strategy for clock skew if regions"
    " drift. Then analyse the consequences step by step."
)


PHI = vector_of(complexity_of(MODERATE))


def decide(ask, catalog=CATALOG, beliefs=NOTHING_LEARNED):
    return Strategies(lambda: catalog, lambda: beliefs).get(ask.strategy).decide(ask, catalog)


def names(decision):
    return [candidate.model.name for candidate in decision.candidates]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [(SIMPLE, "acme/small"), (MODERATE, "acme/medium"), (COMPLEX, "acme/large")],
)
def test_complexity_takes_the_cheapest_adequate_model(prompt, expected):
    assert expected == decide(an_ask(prompt)).chosen.model.name


def test_a_cheaper_model_of_a_higher_tier_is_adequate_too():
    bargain = a_model("acme/bargain", tier="complex", usd=0.05)

    assert "acme/bargain" == decide(an_ask(SIMPLE), a_catalog(SMALL, bargain)).chosen.model.name


def test_where_no_model_is_adequate_the_most_capable_serves():
    decision = decide(an_ask(COMPLEX), a_catalog(SMALL, MEDIUM))

    assert ["acme/medium", "acme/small"] == names(decision)
    assert "no model of that tier" in decision.explanation["reasoning"]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("cheapest", ["acme/small", "acme/medium", "acme/large"]),
        ("best", ["acme/large", "acme/medium", "acme/small"]),
    ],
)
def test_cheapest_and_best_mean_what_they_say(strategy, expected):
    assert expected == names(decide(an_ask(COMPLEX, strategy=strategy)))


def test_unpriced_models_come_after_priced_ones():
    unpriced = a_model("acme/unpriced", tier="complex", usd=None)

    decision = decide(an_ask(strategy="cheapest"), a_catalog(unpriced, LARGE))

    assert ["acme/large", "acme/unpriced"] == names(decision)
    assert decision.explanation["candidates"][1]["expected_cost_usd"] is None


@pytest.mark.parametrize(
    ("body", "lacking"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_schema"}}, "json_schema"),
        ({"max_tokens": 200_000}, "context"),
    ],
)
def test_what_a_model_cannot_do_it_is_not_asked(body, lacking):
    plain = a_model("acme/plain", usd=0.01, capabilities=frozenset())
    able = a_model("acme/able", context_tokens=1_000_000)

    assert ["acme/able"] == names(decide(an_ask(**body), a_catalog(plain, able)))
    with pytest.raises(NotFound, match=lacking):
        decide(an_ask(**body), a_catalog(plain))


def test_chat_is_never_routed_to_an_embeddings_model():
    embed = a_model("acme/embed", usd=0.001, capabilities=frozenset({"embeddings"}))

    assert ["acme/large"] == names(decide(an_ask(strategy="cheapest"), a_catalog(embed, LARGE)))


def test_no_provider_on_says_which_variable_to_set():
    catalog = a_catalog(LARGE, providers={"acme": a_provider(why_off="ACME_API_KEY is not set")})

    for call in (lambda: decide(an_ask(), catalog), lambda: pin("acme/large", catalog)):
        with pytest.raises(Unavailable, match="ACME_API_KEY"):
            call()


def test_simulated_models_never_mix_with_real_ones():
    fake = a_model("sandbox/tiny", usd=0.001, tier="simple")
    sandbox = {"sandbox": a_provider("sandbox", sandbox=True)}
    off = {"acme": a_provider(why_off="ACME_API_KEY is not set")}
    both = a_catalog(fake, LARGE, providers=sandbox)

    for strategy in ("complexity", "learning", "hybrid", "cheapest", "best"):
        assert ["acme/large"] == names(decide(an_ask(strategy=strategy), both))
        alone = a_catalog(fake, LARGE, providers=sandbox | off)
        assert ["sandbox/tiny"] == names(decide(an_ask(strategy=strategy), alone))
    assert ["sandbox/tiny"] == names(pin("sandbox/tiny", both))


def test_fallbacks_are_the_declared_ones_then_other_providers_in_turn():
    first = a_model("acme/first", usd=1, fallbacks=("zeta/declared",))
    models = [first, a_model("acme/second", usd=2), a_model("acme/third", usd=3)]
    models += [a_model("beta/one", usd=4), a_model("zeta/declared", usd=9)]

    decision = decide(an_ask(MODERATE), a_catalog(*models))

    expected = ["acme/first", "zeta/declared", "beta/one", "acme/second", "acme/third"]
    assert expected == names(decision)


def test_a_conversation_stays_where_its_prompt_is_cached():
    talk = "word " * 4_000
    here = a_model("acme/here", usd=1)
    there = a_model("beta/there", usd=0.9)  # cheaper, but it would have to read all of it
    ask = an_ask(talk, strategy="cheapest")
    cached = replace(ask, conversation=Conversation("acme/here", 4_000))

    assert "beta/there" == decide(ask, a_catalog(here, there)).chosen.model.name
    decision = decide(cached, a_catalog(here, there))
    assert "acme/here" == decision.chosen.model.name
    assert 0.0036 == decision.explanation["candidates"][0]["switching_away_costs_usd"]


def test_a_short_turn_is_as_hard_as_what_it_is_about():
    turns = [{"role": "user", "content": COMPLEX}, {"role": "user", "content": "And then?"}]
    follow_up = an_ask(messages=turns)

    assert "complex" == decide(follow_up).explanation["complexity"]["tier"]
    assert "simple" == decide(an_ask("And then?")).explanation["complexity"]["tier"]


def test_a_decision_reads_like_an_argument():
    beliefs = Beliefs({"acme/medium": evidence_of(PHI, 0.75, 100)})

    decision = decide(an_ask(MODERATE), beliefs=beliefs)

    said = decision.explanation
    assert said == json.loads(json.dumps(said, allow_nan=False))
    assert "moderate" == said["complexity"]["tier"]
    assert 3 == len(said["complexity"]["terms"])
    figures = {"model", "expected_cost_usd", "expected_quality", "spread", "evidence"}
    assert figures | {"tier", "capability", "propensity"} == set(said["candidates"][0])
    assert 1 == said["propensity"]
    assert 90 < said["candidates"][0]["evidence"] < 100
    assert "acme/medium" in said["reasoning"]
    assert decision.confidence == said["confidence"]


def test_what_learning_needs_later_is_kept_with_a_decision():
    decision = decide(an_ask(MODERATE))

    assert np.allclose(vector_of(complexity_of(MODERATE)), unpacked(decision.features), atol=1e-5)
    assert complexity_of(MODERATE).score == decision.score


def test_the_expected_cost_is_the_prompt_and_an_answer_of_the_usual_length():
    usual = Beliefs(output_tokens={"acme/medium": 50.0})
    ask = an_ask("x" * 384, strategy="fixed", parameters={"model": "acme/medium"})

    expected = 100 * 1_000 + 50 * 4_000  # nano-USD: 100 tokens in, 50 out
    assert expected == decide(ask, beliefs=usual).chosen.expected_cost_nano_usd
    limited = replace(ask, body={**ask.body, "max_tokens": 10})
    expected = 100 * 1_000 + 10 * 4_000
    assert expected == decide(limited, beliefs=usual).chosen.expected_cost_nano_usd


def pin(name, catalog=CATALOG, **body):
    return decide_pinned(an_ask(model=name, **body), catalog)


def test_nothing_takes_the_place_of_a_pinned_model_but_its_declared_fallbacks():
    loyal = a_model("acme/loyal", fallbacks=("acme/small", "acme/gone"))

    assert ["acme/medium"] == names(pin("acme/medium"))
    assert ["acme/loyal", "acme/small"] == names(pin("acme/loyal", a_catalog(loyal, SMALL, LARGE)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acme/smal", "did you mean acme/small"),
        ("nonsense", "GET /v1/models"),
        ("", "no model"),
        ("\ud800", "no model"),
    ],
)
def test_an_unknown_model_is_named(name, message):
    with pytest.raises(NotFound, match=message) as refused:
        pin(name)

    assert "model_not_found" == refused.value.code


def test_a_model_that_is_off_says_why():
    off = a_catalog(
        SMALL,
        a_model("beta/one"),
        a_model("acme/retired", enabled=False),
        providers={"beta": a_provider("beta", why_off="BETA_API_KEY is not set")},
    )

    with pytest.raises(NotFound, match="BETA_API_KEY"):
        pin("beta/one", off)
    with pytest.raises(NotFound, match="switched off"):
        pin("acme/retired", off)


def test_chat_and_embeddings_models_are_not_confused():
    embed = a_model("acme/embed", capabilities=frozenset({"embeddings"}))
    catalog = a_catalog(embed, SMALL)

    with pytest.raises(Invalid, match="embeddings"):
        pin("acme/embed", catalog)
    with pytest.raises(Invalid, match="chat"):
        decide_pinned(an_ask(model="acme/small"), catalog, embeddings=True)
    found = decide_pinned(an_ask(model="acme/embed", input=["a"]), catalog, embeddings=True)
    assert ["acme/embed"] == names(found)


@pytest.mark.parametrize("name", ["cascades", "Complexity", "pinned", "x" * 5_000])
def test_an_unknown_strategy_is_refused(name):
    with pytest.raises(NotFound, match="complexity, learning, hybrid") as refused:
        Strategies(lambda: CATALOG).get(StrategyChoice(name))

    assert "strategy_not_found" == refused.value.code


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("complexity", {"preset": "economy"}),
        ("learning", {"preset": "lavish"}),
        ("learning", {"preset": ["economy"]}),
        ("hybrid", {"presets": "economy"}),
        ("hybrid", {"min_quality": 1.5}),
        ("hybrid", {"min_quality": True}),
        ("learning", {"max_cost_usd": -1}),
        ("learning", {"max_cost_usd": "1"}),
        ("fixed", {}),
        ("fixed", {"model": None}),
        ("fixed", {"model": 7}),
    ],
)
def test_wrong_parameters_are_refused(name, parameters):
    with pytest.raises(Invalid):
        Strategies(lambda: CATALOG).get(StrategyChoice(name, parameters))


def test_a_fixed_model_that_is_gone_is_not_found():
    with pytest.raises(NotFound):
        decide(an_ask(strategy="fixed", parameters={"model": "acme/gone"}))


def test_who_names_no_strategy_gets_the_catalogs():
    catalog = replace(CATALOG, default_strategy="cheapest")

    assert "cheapest" == decide(an_ask(strategy=""), catalog).strategy


def test_every_service_knows_the_same_strategies():
    assert list(STRATEGIES) == Strategies(lambda: CATALOG).names()
