"""Does a second answer say what was already said of a first one? Pure."""

from typing import Any

import orjson


class Disagreement(Exception):  # noqa: N818 - a finding, not an error
    """The second answer is another one: nothing of it must follow the first."""


class Agreement:
    """
    Lets through what a second stream says beyond what was said, as long as it says the same.

    Args:
        said: The text that has left already.
        response_id: What the chunks that left call themselves; the others follow suit.
    """

    def __init__(self, said: str, response_id: str) -> None:
        self.said = said
        self.response_id = response_id
        self._heard = 0  # characters of `said` that were said again

    @property
    def complete(self) -> bool:
        return self._heard == len(self.said)

    def beyond(self, batch: list[bytes]) -> list[bytes]:
        """
        Return what of a batch of chat.completion.chunks is new.

        Raises:
            Disagreement: it says something else than was said.
        """
        return [new for chunk in batch if (new := self._new(orjson.loads(chunk))) is not None]

    def _new(self, chunk: dict[str, Any]) -> bytes | None:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            delta.pop("role", None)
            if not self.complete:
                if choice.get("index") or any(v for k, v in delta.items() if k != "content"):
                    raise Disagreement
                delta["content"] = self._unsaid(delta.get("content") or "")
                choice["logprobs"] = None
        if chunk["choices"] and not any(
            any(c["delta"].values()) or c.get("finish_reason") for c in chunk["choices"]
        ):
            return None
        if self.response_id:
            chunk["id"] = self.response_id
        return orjson.dumps(chunk)

    def _unsaid(self, text: str) -> str:
        expected = self.said[self._heard : self._heard + len(text)]
        if not text.startswith(expected):
            raise Disagreement
        self._heard += len(expected)
        return text[len(expected) :]
