"""
Every way a provider can fail, and what must come of it.

Each case has providers of its own in the catalog, so that no breaker or budget of one is felt by
another and all can run at once; behind all of them is the one sandbox.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Far apart: who is merely slow under all cases at once is not taken for one that hangs, and who
# hangs is left for another one long before its own time is over.
SCALED = "{connect: 2, first_token: 20, idle: 2, total: 40, failover: 6}"
AS_SHIPPED = "{}"  # where the promise is a number of seconds
WORDS = " ".join(f"word{number}" for number in range(60))  # 60 tokens of the sandbox

OK = (("tiny", "ok"),)
SPARE_OK = ("small", "ok")
ALL_FAILED = "all_candidates_failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the client sees and what the ledger holds."""

    attempts: Sequence[tuple[str, str]]  # model, outcome
    status: int = 200
    code: str | None = None  # of the error, if there is one
    cut: bool = False  # the stream ends in an error event

    @property
    def answered(self) -> str:
        return self.attempts[-1][0]


@dataclass(frozen=True, slots=True)
class Case:
    """
    Args:
        name: Its test's id.
        faults: Directives; what names no models strikes the model that is asked for.
        plain: Of a plain request.
        stream: Of a streamed one; default: the same.
        same_words: Every model gives the same 60 tokens.
        asked: The model that is asked for; `tiny` has spare ones behind it, `medium` has none.
        prefill: The caller's last message is an answer begun.
        flagged: The provider's usage is missing or absurd: counted by us, and nobody is told it.
        timeouts: Of its providers.
        at_least_s: It cannot be over sooner.
        within_s: It must be over by then.
    """

    name: str
    faults: Sequence[str]
    plain: Outcome
    stream: Outcome | None = None
    same_words: bool = False
    asked: str = "tiny"
    prefill: bool = False
    flagged: bool = False
    timeouts: str = SCALED
    at_least_s: float = 0
    within_s: float = 12

    def expected(self, *, streamed: bool) -> Outcome:
        return self.stream if streamed and self.stream else self.plain


def falls_back(*outcomes: str) -> Outcome:
    """The first choice fails with each of *outcomes*, then the spare one answers."""
    return Outcome([*(("tiny", outcome) for outcome in outcomes), SPARE_OK])


def alone(status: int, code: str, *outcomes: str) -> Outcome:
    """The only one fails with each of *outcomes*."""
    return Outcome([("medium", outcome) for outcome in outcomes], status=status, code=code)


BREAKS_OFF = Outcome(
    [("tiny", "truncated"), ("small", "cancelled")], cut=True, code="answer_broke_off"
)
GOES_ON = falls_back("truncated")
POLICY = Outcome([("tiny", "failed")], status=400, code="content_policy_violation")

CASES = (
    Case(
        "01-one-429",
        ["status=429,retry_after=2,times=1"],
        Outcome([("tiny", "failed"), ("tiny", "ok")]),
        timeouts=AS_SHIPPED,
        at_least_s=2,
    ),
    Case(
        "02-429-for-ever",
        ["status=429,retry_after=2"],
        falls_back("failed", "failed"),
        timeouts=AS_SHIPPED,
        at_least_s=2,
    ),
    Case("03-one-500", ["status=500,times=1"], Outcome([("tiny", "unknown"), ("tiny", "ok")])),
    Case("04-503-for-ever", ["status=503"], falls_back("failed")),
    Case("05-tcp-reset", ["cut_after=0"], falls_back("unknown", "unknown")),
    Case("06-never-answers", ["hang"], falls_back("unknown")),
    Case(
        "07-first-token-after-20-s",
        ["first_token_s=20"],
        falls_back("unknown"),
        timeouts=AS_SHIPPED,
        within_s=18,
    ),
    Case(
        "08-cut-after-40-of-60",
        ["cut_after=40"],
        falls_back("unknown"),
        GOES_ON,
        same_words=True,
    ),
    Case("09-stall", ["stall_after=40"], falls_back("unknown"), BREAKS_OFF),
    Case("10-chunk-that-is-not-json", ["garbage_after=40"], falls_back("unknown"), BREAKS_OFF),
    Case("11-no-done", ["no_done"], Outcome(OK)),
    Case(
        "12-context-length",
        ["context_length"],
        Outcome([("tiny", "failed"), ("large", "ok")]),
    ),
    Case("13-content-policy", ["content_policy"], POLICY),
    Case(
        "14-cut-and-no-prefill",
        ["cut_after=40", "refuses_prefill,models=small"],
        falls_back("unknown"),
        GOES_ON,
        same_words=True,
    ),
    # 15, the outage and its recovery, takes more than one request
    Case("16-fallback-is-named", ["status=503"], falls_back("failed")),
    # and further ones
    Case("cut-and-another-answer", ["cut_after=40"], falls_back("unknown"), BREAKS_OFF),
    Case(
        "cut-and-no-prefill-of-the-caller",
        ["cut_after=40", "refuses_prefill,models=small"],
        Outcome([("tiny", "unknown"), ("small", "failed"), ("large", "ok")]),
        Outcome([("tiny", "truncated"), ("small", "failed"), ("large", "ok")]),
        same_words=True,
        prefill=True,
    ),
    Case(
        "end-before-content",
        ["end_after=0"],
        falls_back("unknown", "unknown"),
        falls_back("unknown"),
    ),
    Case("500-for-ever", ["status=500"], falls_back("unknown", "unknown")),
    Case("500-after-billing", ["error_after_billing"], falls_back("unknown", "unknown")),
    Case("html", ["html"], falls_back("unknown")),
    Case("empty-body", ["empty_body"], falls_back("unknown")),
    Case("empty-choices", ["empty_choices"], falls_back("failed"), falls_back("truncated")),
    Case("heartbeats-only", ["heartbeats"], falls_back("unknown")),
    Case("white-space", ["white_space"], falls_back("failed"), falls_back("truncated")),
    Case("402", ["status=402"], falls_back("failed")),
    Case("insufficient-quota", ["insufficient_quota"], falls_back("failed")),
    Case("401", ["unauthorized"], falls_back("failed")),
    Case("redirect", ["redirect"], falls_back("failed")),
    Case("gzip-bomb", ["gzip_bomb"], falls_back("unknown")),
    Case("absurd-usage", ["absurd_usage"], Outcome(OK), flagged=True),
    Case("no-usage", ["no_usage"], Outcome(OK), flagged=True),
    Case("another-model", ["reports_model=medium"], Outcome([("medium", "ok")])),
    # with nobody else to ask
    Case("alone-503", ["status=503"], alone(502, ALL_FAILED, "failed"), asked="medium"),
    Case("alone-401", ["unauthorized"], alone(502, ALL_FAILED, "failed"), asked="medium"),
    Case(
        "alone-429",
        ["status=429,retry_after=2"],
        alone(429, "rate_limit_exceeded", "failed", "failed"),
        asked="medium",
        at_least_s=2,
    ),
    Case("alone-402", ["status=402"], alone(429, "insufficient_quota", "failed"), asked="medium"),
    Case(
        "alone-context-length",
        ["context_length"],
        alone(400, "context_length_exceeded", "failed"),
        asked="medium",
    ),
    Case(
        "alone-cut",
        ["cut_after=40"],
        alone(502, ALL_FAILED, "unknown"),
        Outcome([("medium", "truncated")], cut=True, code="answer_broke_off"),
        asked="medium",
    ),
)
