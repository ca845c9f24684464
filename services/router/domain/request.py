"""What the router is asked, and what an answer used. Plain data, shared by every room."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from common.errors import Invalid

_SNAPSHOT = re.compile(r"[a-z0-9:_-]{1,100}")


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """
    A strategy is a name with parameters.

    Args:
        name: Of the strategy.
        parameters: As it takes them.
        snapshot: Names the state of what was learned that decides; empty: what is learned now. The
            arms of an experiment share one, so that neither learns from the other.

    Raises:
        Invalid: *snapshot* is no name.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    snapshot: str = ""

    def __post_init__(self) -> None:
        if self.snapshot and not _SNAPSHOT.fullmatch(self.snapshot):
            raise Invalid(
                "snapshot must be 1 to 100 of a-z, 0-9, colon, underscore and hyphen",
                param="strategy",
            )


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turn before this one."""

    model: str  # that answered it
    cached_tokens: int  # of this request that its provider still holds


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for a completion."""

    request_id: UUID  # UUIDv7 made at the edge
    tenant: str
    user_id: str | None
    model: str | None  # "provider/model": pinned, no routing; None: the strategy decides
    strategy: StrategyChoice
    body: Mapping[
        str, Any
    ]  # the OpenAI chat completion request, parsed; never stored, never logged
    use_cache: bool = False
    streamed: bool = False
    experiment_id: int | None = None
    arm: str | None = None
    internal: bool = False  # asked by ourselves: the baseline would not have been asked
    conversation: Conversation | None = None  # None: a first turn, or nobody remembers


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt. `input_tokens` includes the cached ones."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    estimated: bool = False  # counted by us, for want of the provider's own figures
