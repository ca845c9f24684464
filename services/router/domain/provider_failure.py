"""How a provider can fail, in one closed list, and what each way means for the next candidate."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from services.router.domain.request import Usage

Kind = Literal[
    "rate_limited",  # too many requests of ours
    "out_of_credit",  # our account there is empty
    "unauthorized",  # our key is refused
    "refused",  # the request itself is wrong: nobody else will take it either
    "blocked",  # a content policy said no: the caller's answer
    "too_long",  # does not fit this model's context
    "not_found",  # the provider does not know this model
    "unsupported",  # this wire cannot say what was asked; nothing was sent
    "server_error",  # 500
    "overloaded",  # 502, 503, 529 ...
    "unreachable",  # no connection came to be
    "reset",  # the connection broke before anything came back
    "timed_out",
    "garbage",  # 200, but not an answer
    "truncated",  # it began well and broke off
    "redirected",
]

CALLERS_FAULT: frozenset[Kind] = frozenset({"refused", "blocked"})
OUT_OF_RATE: frozenset[Kind] = frozenset({"rate_limited", "out_of_credit"})
PROVIDER_WIDE: frozenset[Kind] = frozenset({"out_of_credit", "unauthorized"})
BREAKS: frozenset[Kind] = frozenset(
    {
        "server_error",
        "overloaded",
        "unreachable",
        "reset",
        "timed_out",
        "garbage",
        "truncated",
        "redirected",
        "not_found",
    }
)

# What learning holds against a model: it did not do what it was asked, and nobody kept it from it.
BLAMED: frozenset[str] = frozenset(
    {"server_error", "overloaded", "reset", "timed_out", "garbage", "truncated"}
)

_LONGEST_MESSAGE = 300
_ADDRESS = re.compile(r"\b(?:https?|wss?|grpc)://\S+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")
_KEY = re.compile(
    r"\b(?:sk|pk|rk|gsk|csk|key|xai)[-_][\w*.-]{8,}|\bAIza[\w-]{10,}|\bBearer\s+\S+",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[^>]{0,200}>")


class ProviderFailure(Exception):  # noqa: N818 - failures are called so here
    """
    One attempt failed.

    Args:
        kind: Which of the closed list.
        brief: Two or three words for "every candidate failed: acme/large (503)".
        message: For the caller, when it is the caller's to mend. Cleaned here.
        retry_after_s: What the provider asked us to wait.
        param: The request field at fault, if the provider named one.
        code: The provider's own word for it.
        maybe_billed: The provider may well have worked for us, so a retry may pay twice.
        doubtful: It says that it failed; that it bills nothing is likely, not certain.
        usage: What it did report before it failed.
        response_id: The id on its bill, if we came to know it.
    """

    def __init__(
        self,
        kind: Kind,
        brief: str,
        *,
        message: str = "",
        retry_after_s: float | None = None,
        param: str | None = None,
        code: str | None = None,
        maybe_billed: bool = False,
        doubtful: bool = False,
        usage: Usage | None = None,
        response_id: str = "",
    ) -> None:
        super().__init__(brief)
        self.kind: Kind = kind
        self.brief = brief
        self.message = cleaned(message)
        self.retry_after_s = retry_after_s
        self.param = param
        self.code = code
        self.maybe_billed = maybe_billed
        self.doubtful = doubtful
        self.usage = usage
        self.response_id = response_id

    @property
    def caller_fault(self) -> bool:
        return self.kind in CALLERS_FAULT

    @property
    def worth_one_retry(self) -> bool:
        """Whether the same candidate may do better at once: it stumbled before it said anything."""
        return self.kind == "reset" or (self.kind == "server_error" and not self.maybe_billed)


def cleaned(text: str) -> str:
    """Take addresses, keys and markup out of a provider's words: callers read them."""
    text = _KEY.sub("[key]", _ADDRESS.sub("[address]", _TAG.sub(" ", text)))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def failure_of_status(
    status: int, parsed: Any, *, retry_after_s: float | None = None
) -> ProviderFailure:
    """
    Judge an answer that is not 200.

    Args:
        status: The HTTP status.
        parsed: The body as JSON; None if it was none.
        retry_after_s: The Retry-After header in seconds.
    """
    error = error_object(parsed) or {}
    message = _word(error.get("message"))
    param = _word(error.get("param")) or None
    code = _word(error.get("code")) or _word(error.get("type")) or None
    kind = _kind(status, error, message)
    brief = {
        "rate_limited": "rate limited",
        "out_of_credit": "out of credit",
        "unauthorized": "refused our credentials",
        "blocked": "content policy",
        "too_long": "context too small",
        "not_found": "model unknown there",
        "redirected": "redirected",
    }.get(kind, str(status))
    return ProviderFailure(
        kind,
        brief,
        message=message,
        retry_after_s=retry_after_s,
        param=param,
        code=code,
        doubtful=status >= 500 and status not in _TURNED_AWAY,  # noqa: PLR2004
    )


def failure_in_band(parsed: Any, *, maybe_billed: bool = True) -> ProviderFailure | None:
    """Judge an error that came with a 200 or in the middle of a stream. None: it is none."""
    error = error_object(parsed)
    if error is None:
        return None
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else None  # noqa: PLR2004
    if status is None:
        status = _STATUS_OF_TYPE.get(_word(error.get("type")) or _word(code), 500)
    failure = failure_of_status(status, parsed)
    failure.maybe_billed = maybe_billed
    return failure


def error_object(parsed: Any) -> Mapping[str, Any] | None:
    """Find the error in what a provider sent; Gemini puts it into a list at times."""
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return None
    error = parsed.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return {"message": error}
    if parsed.get("type") == "error" or parsed.get("object") == "error":
        return parsed
    return None


_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "billing_error": 402,
    "api_error": 500,
    "overloaded_error": 529,
    "timeout_error": 504,
}
_CREDIT = ("insufficient_quota", "credit balance", "billing_hard_limit", "insufficient balance")
_LENGTH = (
    "context_length_exceeded",
    "context length",
    "context window",
    "prompt is too long",
    "input token count",
    "maximum context",
    "string_above_max_length",
)
_POLICY = (
    "content_policy",
    "content policy",
    "content_filter",
    "content management policy",
    "responsibleaipolicy",
    "moderation",
    "flagged",
)
_OUR_KEY = ("api_key_invalid", "api key not valid", "invalid_api_key", "api key expired")


def _kind(status: int, error: Mapping[str, Any], message: str) -> Kind:  # noqa: PLR0911
    words = " ".join([message, *(_word(error.get(k)) for k in ("code", "type", "status"))]).lower()
    if any(w in words for w in _CREDIT) or status == 402:  # noqa: PLR2004
        return "out_of_credit"
    if status in _BY_STATUS:
        kind = _BY_STATUS[status]
        return "blocked" if status == 403 and _says(words, _POLICY) else kind  # noqa: PLR2004
    if 300 <= status < 400:  # noqa: PLR2004
        return "redirected"
    if 400 <= status < 500:  # noqa: PLR2004
        if _says(words, _OUR_KEY):
            return "unauthorized"
        if _says(words, _LENGTH):
            return "too_long"
        return "blocked" if _says(words, _POLICY) else "refused"
    return "server_error" if status == 500 else "overloaded"  # noqa: PLR2004


_TURNED_AWAY = frozenset({503, 529})  # refused at the door: nothing was begun
_BY_STATUS: dict[int, Kind] = {
    401: "unauthorized",
    403: "unauthorized",
    404: "not_found",
    408: "timed_out",
    409: "overloaded",
    413: "too_long",
    425: "overloaded",
    429: "rate_limited",
}


def _says(words: str, signs: tuple[str, ...]) -> bool:
    return any(sign in words for sign in signs)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
