"""The closed list of failures. Anything else that is raised is a bug."""


class Failure(Exception):  # noqa: N818 - a failure is an answer, an error is a bug
    """
    Something went wrong, with a message the caller may read.

    Args:
        message: What happened and what to change; no secrets, no addresses.
        code: A stable word for programs, such as `model_not_found`.
        param: The request field at fault, if one is.
        retry_after_s: When a retry may help, if that is known.
        billed: True when a provider was or may have been paid, so that a retry pays twice.
    """

    default_code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        billed: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param
        self.retry_after_s = retry_after_s
        self.billed = billed


class Invalid(Failure):
    """Never succeeds as written."""

    default_code = "invalid_request"


class TooLarge(Failure):
    """Smaller, please."""

    default_code = "request_too_large"


class Unauthenticated(Failure):
    """Who are you?."""

    default_code = "invalid_api_key"


class Denied(Failure):
    """Not with this key."""

    default_code = "permission_denied"


class NotFound(Failure):
    """Not there, or not yours."""

    default_code = "not_found"


class Conflict(Failure):
    """Collides with a record."""

    default_code = "conflict"


class OverBudget(Failure):
    """Money or rate is spent."""

    default_code = "rate_limit_exceeded"


class Unavailable(Failure):
    """A neighbour is silent: retry."""

    default_code = "service_unavailable"


class AllFailed(Failure):
    """Every candidate failed; the message says which, and `billed` whether anything was paid."""

    default_code = "all_candidates_failed"


class TimedOut(Failure):
    """The caller's time is up."""

    default_code = "timeout"
