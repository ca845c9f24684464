"""The sandbox's refusals, in OpenAI's error shape."""

from typing import Any


class Refusal(Exception):  # noqa: N818  # a noun, as the failures of common.errors are
    """An error answer: its status, and the four keys of its body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = headers

    @property
    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


def bad(param: str, message: str) -> Refusal:
    """Refuse one field."""
    return Refusal(400, f"Invalid '{param}': {message}", param=param, code="invalid_value")


def unknown_model(name: str) -> Refusal:
    return Refusal(
        404,
        f"The model '{name[:100]}' does not exist in this sandbox",
        param="model",
        code="model_not_found",
    )


def too_long(asked: int, allowed: int) -> Refusal:
    return Refusal(
        400,
        f"This model's maximum context length is {allowed} tokens."
        f" However, your messages resulted in {asked} tokens.",
        param="messages",
        code="context_length_exceeded",
    )
