"""What a collector is told of a call to a provider."""

from datetime import UTC, datetime

import pytest

from common.ids import new_id
from services.router.domain.entries import Kind, Row
from services.router.provider_span import asked, error_of, used
from tests.router_builders import a_model, a_provider


def a_settled(**fields):
    fields = {"outcome": "ok", "cost_nano_usd": 0} | fields
    ids = {"attempt_id": new_id(), "request_id": new_id()}
    return Row(kind=Kind.SETTLED, recorded_at=datetime.now(UTC), tenant="", **ids, **fields)


@pytest.mark.parametrize(
    ("provider", "url", "expected"),
    [
        ("acme", "https://api.acme.example/v1", ("acme", "api.acme.example", 443)),
        ("gemini", "https://g.example", ("gcp.gemini", "g.example", 443)),
        ("mistral", "http://[::1]:81/v1", ("mistral_ai", "::1", 81)),
        ("acme", "http://user:secret@acme.example/key", ("acme", "acme.example", 80)),
    ],
)
def test_who_is_asked_goes_by_the_conventions_names(provider, url, expected):
    told = asked(a_model(f"{provider}/large"), a_provider(provider, base_url=url))

    assert expected == (
        told["gen_ai.provider.name"],
        told["server.address"],
        told["server.port"],
    )
    assert ("chat", "large") == (told["gen_ai.operation.name"], told["gen_ai.request.model"])


def test_embeddings_are_an_operation_of_their_own():
    model = a_model("acme/embed", capabilities=frozenset({"embeddings"}))

    assert "embeddings" == asked(model, a_provider())["gen_ai.operation.name"]


@pytest.mark.parametrize(
    ("outcome", "word", "expected"),
    [
        ("ok", None, ""),
        ("cancelled", None, ""),  # answered, though nobody waited any more
        ("cancelled", "overtaken", "overtaken"),
        ("failed", "rate_limited", "rate_limited"),
        ("unknown", None, "unknown"),
    ],
)
def test_what_went_wrong_has_a_word(outcome, word, expected):
    details = {"error": word} if word else None

    assert expected == error_of(a_settled(outcome=outcome, details=details))


def test_what_was_used_is_told_as_far_as_it_is_known():
    plain = a_settled(input_tokens=7, output_tokens=3, cost_nano_usd=1_500)
    full = a_settled(
        input_tokens=7,
        output_tokens=0,
        cached_input_tokens=5,
        time_to_first_token_ms=250.0,
        estimated=True,
        cost_nano_usd=None,
    )

    assert {
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "optimizer.cost_usd": 1.5e-6,
    } == used(plain)
    assert {
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 0,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.response.time_to_first_chunk": 0.25,
        "optimizer.estimated": True,
    } == used(full)  # unpriced is not free
    assert {"optimizer.cost_usd": 0.0} == used(a_settled())
