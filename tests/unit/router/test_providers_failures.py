"""What a provider's refusal means, and what the caller is told of it."""

import pytest

from common.errors import AllFailed, Invalid, OverBudget, TimedOut
from services.router.domain.provider_failure import ProviderFailure, cleaned, failure_of_status
from services.router.domain.request import Usage
from services.router.domain.tried import Tried, refusal
from tests.router_builders import a_model

LARGE, SMALL = a_model("acme/large"), a_model("acme/small", context_tokens=10)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (301, {}, "redirected"),
        (400, {"message": "Unknown parameter"}, "refused"),
        (400, {"code": "context_length_exceeded", "message": "x"}, "too_long"),
        (400, {"message": "prompt is too long: 210000 tokens > 200000 maximum"}, "too_long"),
        (400, {"message": "Your credit balance is too low"}, "out_of_credit"),
        (400, {"message": "API key not valid.", "status": "INVALID_ARGUMENT"}, "unauthorized"),
        (400, {"code": "content_policy_violation", "message": "x"}, "blocked"),
        (401, {"message": "Incorrect API key provided"}, "unauthorized"),
        (402, {}, "out_of_credit"),
        (403, {"message": "Country not supported"}, "unauthorized"),
        (403, {"message": "Your input was flagged by moderation"}, "blocked"),
        (404, {"message": "The model does not exist"}, "not_found"),
        (413, {}, "too_long"),
        (422, {}, "refused"),
        (429, {"message": "Rate limit reached"}, "rate_limited"),
        (429, {"code": "insufficient_quota", "message": "x"}, "out_of_credit"),
        (500, {}, "server_error"),
        (503, {}, "overloaded"),
        (529, {"type": "overloaded_error"}, "overloaded"),
    ],
)
def test_a_status_and_its_words_are_judged_together(status, error, kind):
    assert failure_of_status(status, {"error": error}).kind == kind


@pytest.mark.parametrize(
    "said", [None, [], "x", 7, {"error": None}, {"error": "boom"}, {"error": {"message": 7}}]
)
def test_any_body_of_a_refusal_is_survived(said):
    assert failure_of_status(503, said).kind == "overloaded"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("see https://provider.example/docs?k=1 now", "see [address] now"),
        ("<html><b>Bad\x00 gateway</b></html>", "Bad gateway"),
        ("key sk-abcdefghijklmnop is wrong", "key [key] is wrong"),
        ("at 10.1.2.3:8080", "at [address]"),
    ],
)
def test_addresses_keys_and_markup_never_reach_the_caller(told, expected):
    assert cleaned(told) == expected


def tried(*failures, **fields):
    made = Tried(**fields)
    for model, failure in failures:
        made.add(model, failure)
    return made


def test_all_failed_names_what_was_tried():
    verdict = tried(
        (LARGE, ProviderFailure("server_error", "500")),
        (LARGE, ProviderFailure("overloaded", "503")),
        (SMALL, ProviderFailure("timed_out", "timed out", maybe_billed=True)),
    ).verdict()

    assert isinstance(verdict, AllFailed)
    assert (
        verdict.message
        == "every candidate failed: acme/large (500, then 503), acme/small (timed out)"
    )
    assert verdict.billed


def test_a_refusal_at_the_door_bills_nothing():
    assert not tried((LARGE, ProviderFailure("overloaded", "503"))).verdict().billed


def test_rate_limits_everywhere_say_when_to_come_back():
    verdict = tried(
        (LARGE, ProviderFailure("rate_limited", "rate limited", retry_after_s=30)),
        (SMALL, ProviderFailure("rate_limited", "rate limited", retry_after_s=7)),
    ).verdict()

    assert (type(verdict), verdict.retry_after_s) == (OverBudget, 7)


def test_time_that_is_up_is_said_as_such():
    failed = (LARGE, ProviderFailure("timed_out", "timed out", maybe_billed=True))

    assert isinstance(tried(failed).verdict(time_is_up=True), TimedOut)


def test_a_request_that_fits_nobody_is_the_callers_to_shorten():
    verdict = tried((LARGE, ProviderFailure("too_long", "context too small"))).verdict()

    assert (type(verdict), verdict.code) == (Invalid, "context_length_exceeded")


def test_a_context_found_too_small_rules_out_smaller_ones():
    assert tried((LARGE, ProviderFailure("too_long", "x"))).too_small(SMALL)
    assert not tried((SMALL, ProviderFailure("too_long", "x"))).too_small(LARGE)


def test_what_the_caller_must_mend_is_handed_over_with_its_field():
    failure = ProviderFailure(
        "refused", "400", message="no", param="top_p", code="bad_value", usage=Usage(1, 0)
    )

    handed = refusal(LARGE, failure)

    assert (handed.message, handed.param, handed.code, handed.billed) == (
        "acme/large refuses this request: no",
        "top_p",
        "bad_value",
        True,
    )
