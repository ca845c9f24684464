"""What every wire can do, so that nobody above needs to know which one it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.router.domain.catalog import Provider
from services.router.domain.reply import Naming, Reply
from services.router.domain.sse import Event


@dataclass(frozen=True, slots=True)
class Call:
    """A request, written for one provider and not yet sent."""

    provider: Provider
    wire: "Wire"
    naming: Naming
    url: str
    headers: Mapping[str, str]
    data: bytes
    streamed: bool
    wants_usage: bool  # the client asked for the usage chunk


class ChunkReader(Protocol):
    """Reads one stream."""

    done: bool  # the provider said its last word

    def chunks(self, event: Event) -> Sequence[tuple[Any, bytes | None]]:
        """
        Return the event as chat.completion.chunks, each with its bytes if it came as such.

        Raises:
            ProviderFailure: it is an error, or unintelligible.
        """


class Wire(Protocol):
    """One provider API: where to send what, and how to read what comes back."""

    def url(self, provider: Provider, upstream: str, *, streamed: bool) -> str: ...

    def headers(self, key: str) -> dict[str, str]:
        """Return what proves who we are; *key* may be empty."""

    def body(
        self, provider: Provider, body: Mapping[str, Any], upstream: str, *, streamed: bool
    ) -> dict[str, Any]:
        """
        Translate an OpenAI request.

        Raises:
            Invalid: this wire has no words for it.
        """

    def reply(self, data: bytes, naming: Naming) -> Reply:
        """
        Read a whole answer.

        Raises:
            ProviderFailure: it is an error, or no answer.
        """

    def reader(self) -> ChunkReader: ...
