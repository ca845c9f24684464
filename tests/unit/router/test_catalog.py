"""The catalog's text: what is right is read, what is wrong is named with its line."""

from pathlib import Path

import pytest

from common.errors import Invalid
from services.router.domain.catalog import Price, Timeouts
from services.router.store.catalog_text import parse_catalog, reprice

GOOD = """\
providers:
  - name: acme
    wire: openai
    base_url: https://api.acme.example/v1/
    api_key_env: ACME_API_KEY
    timeouts_s: {connect: 1.5, total: 60, failover: 5}
  - name: local
    wire: openai
    base_url: ${LOCAL_URL}
models:
  - name: acme/large
    provider: acme
    upstream: large-2026-01
    tier: complex
    capability: 0.85
    context_tokens: 200000
    capabilities: [tools, streaming]
    price_usd_per_million: {input: 3.0, cached_input: 0.3, output: 15.0}
    fallbacks: [acme/small]
  - name: acme/small
    provider: acme
    upstream: small
    tier: simple
    capability: 0.5
    context_tokens: 8000
    capabilities: [streaming]
    enabled: false
routing: {default_strategy: cheapest, baseline_model: acme/large, preset: economy}
"""


def no_price(provider, base_url, upstream):
    return None


def parse(text, environ=None, find_price=no_price):
    return parse_catalog(text, environ or {}, find_price, file_name="catalog.yaml")


def test_a_catalog_says_what_its_file_says():
    catalog = parse(GOOD, {"ACME_API_KEY": "k"})

    large, small = catalog.models.values()
    assert ("acme/large", "large-2026-01", "complex") == (large.name, large.upstream, large.tier)
    assert (0.85, 200_000, ("acme/small",)) == (
        large.capability,
        large.context_tokens,
        large.fallbacks,
    )
    assert (3_000_000_000, 300_000_000, 15_000_000_000) == (
        large.price.input,
        large.price.cached_input,
        large.price.output,
    )
    assert not small.enabled
    assert Timeouts(connect_s=1.5, total_s=60, failover_s=5) == catalog.providers["acme"].timeouts
    assert "https://api.acme.example/v1" == catalog.providers["acme"].base_url
    assert ("cheapest", "acme/large", "economy") == (
        catalog.default_strategy,
        catalog.baseline_model,
        catalog.preset,
    )
    assert [large] == catalog.servable()


@pytest.mark.parametrize("environ", [{}, {"ACME_API_KEY": ""}, {"ACME_API_KEY": "  "}])
def test_a_provider_without_its_key_is_off_and_says_why(environ):
    assert "ACME_API_KEY is not set" == parse(GOOD, environ).providers["acme"].why_off


@pytest.mark.parametrize(
    ("written", "environ", "base_url", "why_off"),
    [
        ("${LOCAL_URL}", {}, "", "LOCAL_URL is not set"),
        ("${LOCAL_URL}", {"LOCAL_URL": "http://127.0.0.1:1/v1"}, "http://127.0.0.1:1/v1", None),
        ("${LOCAL_URL:-http://127.0.0.1:2/v1}", {}, "http://127.0.0.1:2/v1", None),
        ("${LOCAL_URL:-http://x:2}/v1", {"LOCAL_URL": "http://y"}, "http://y/v1", None),
    ],
)
def test_an_address_may_come_from_the_environment(written, environ, base_url, why_off):
    local = parse(GOOD.replace("${LOCAL_URL}", written), environ).providers["local"]

    assert (base_url, why_off) == (local.base_url, local.why_off)


def test_a_wrong_address_in_the_environment_switches_off_one_provider_only():
    local = parse(GOOD, {"LOCAL_URL": "localhost"}).providers["local"]

    assert local.why_off.startswith("LOCAL_URL must be an address")


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "empty"),
        ("[]", 1, "mapping"),
        ("{a: [}", 1, "expected"),
        ("providers: []\nmodels: []", 1, "at least one provider"),
        (changed("wire: openai", "wire: opnai"), 3, "did you mean openai"),
        (changed("wire: openai", "wire: openai\n    wire: gemini"), 4, "wire twice"),
        (changed("api_key_env", "api_key"), 5, "did you mean api_key_env"),
        (changed("ACME_API_KEY", "sk-live-123"), 5, "not hold the key"),
        (changed("https://api", "ftp://api"), 4, "must be an address"),
        (changed("https://api", "https://user:pw@api"), 4, "keys go to api_key_env"),
        (changed("connect: 1.5", "connect: -1"), 6, "connect must be a number"),
        (changed("name: local", "name: acme"), 7, "provider acme already"),
        (changed("name: acme/small", "name: acme/large"), 20, "model acme/large already"),
        (changed("provider: acme", "provider: amce"), 12, "no provider 'amce'"),
        (changed("name: acme/large", "name: large"), 11, "acme/large"),
        (changed("upstream: small", "upstream: 7"), 22, "put it in quotes"),
        (changed("    upstream: small\n", ""), 20, "upstream is missing"),
        (changed("tier: simple", "tier: easy"), 23, "simple, moderate, complex"),
        (changed("capability: 0.85", "capability: 85"), 15, "from 0 to 1"),
        (changed("capability: 0.85", "capability: .nan"), 15, "from 0 to 1"),
        (changed("200000", "2.5"), 16, "whole number"),
        (changed("[tools, ", "[tool, "), 17, "did you mean tools"),
        (changed("capabilities: [streaming]", "capabilities: streaming"), 26, "must be a list"),
        (changed("input: 3.0", "input: -3.0"), 18, "from 0 to"),
        (changed("input: 3.0", "input: cheap"), 18, "'cheap'"),
        (changed(", output: 15.0", ""), 18, "output is missing"),
        (changed("[acme/small]", "[acme/smal]"), 19, "did you mean acme/small"),
        (changed("enabled: false", "enabled: never"), 27, "true or false"),
        (changed("cheapest", "cheap"), 28, "did you mean cheapest"),
        (changed("baseline_model: acme/large", "baseline_model: acme"), 28, "acme/large"),
        (changed("routing:", "router:"), 28, "did you mean routing"),
        ("a: " + "[" * 100_000, 1, ""),
        ("a: &x [*x]\n", 1, ""),
        ("\x00", 1, ""),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, line, message):
    with pytest.raises(Invalid) as refused:
        parse(text)

    found = [said for said in refused.value.message.splitlines() if message in said]
    assert found, refused.value.message
    assert found[0].startswith(f"catalog.yaml:{line}: ")


def test_every_problem_is_found_at_once():
    text = changed("tier: simple", "tier: easy").replace("capability: 0.85", "capability: 2")

    with pytest.raises(Invalid) as refused:
        parse(text)

    assert ["catalog.yaml:15", "catalog.yaml:23"] == [
        said[:15] for said in refused.value.message.splitlines()
    ]


def test_fallbacks_in_a_circle_do_no_harm():
    text = GOOD.replace("enabled: false", "fallbacks: [acme/large, acme/small]")

    assert ("acme/large", "acme/small") == parse(text).models["acme/small"].fallbacks


def test_a_model_without_a_price_takes_the_list_price_or_none():
    listed = Price(1, 1, 2, version=0, source="list")

    known = parse(GOOD, find_price=lambda *_: listed).models
    assert ("catalog", "list") == tuple(m.price.source for m in known.values())
    assert parse(GOOD).models["acme/small"].price is None


def test_a_list_that_knows_no_price_of_answers_knows_no_price():
    assert (
        parse(GOOD, find_price=lambda *_: Price(5, 5, 0, version=0)).models["acme/small"].price
        is None
    )


def test_the_version_changes_with_the_prices_and_only_with_them():
    def version(text):
        return parse(text).models["acme/large"].price.version

    assert version(GOOD) == version(changed("capability: 0.85", "capability: 0.9"))
    assert version(GOOD) != version(changed("input: 3.0", "input: 3.1"))
    assert 0 < version(GOOD) < 2**53


def test_prices_that_change_by_the_hour_change_the_catalog_and_come_back():
    listed = Price(1, 1, 2, version=0, source="list")
    dearer = Price(2, 2, 4, version=0, source="list")
    morning = parse(GOOD, find_price=lambda *_: listed)

    noon = reprice(morning, lambda *_: dearer)

    assert 2 == noon.models["acme/small"].price.input
    assert morning.models["acme/large"].price.input == noon.models["acme/large"].price.input
    assert morning.models["acme/large"].price.version != noon.models["acme/large"].price.version
    assert morning.models == reprice(noon, lambda *_: listed).models


def test_the_documented_catalog_of_the_reference_is_read():
    page = Path(__file__).parents[3] / "docs/reference/catalog.md"
    example = page.read_text("utf-8").split("```yaml\n")[1].split("```")[0]

    assert parse(example).models
