"""One request under way."""

from dataclasses import dataclass

from services.router.background import Caller
from services.router.domain.request import Ask
from services.router.store.entry import Entry


@dataclass(frozen=True, slots=True)
class Way:
    ask: Ask
    entry: Entry  # the request's side of the ledger
    caller: Caller
    deadline: float  # on time.monotonic
