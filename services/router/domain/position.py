"""Where a reader stands in the ledger's order."""

import re
from dataclasses import dataclass
from typing import Self

from common.errors import Invalid

_TEXT = re.compile(r"(\d{1,19})\.(\d{1,19})\.(\d{1,19})", re.ASCII)
_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Behind the row with these three; as text, the cursor `epoch.xact_id.seq`."""

    epoch: int
    xact_id: int
    seq: int

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """
        Read a cursor.

        Raises:
            Invalid: it is none that `str` ever gave.
        """
        match = _TEXT.fullmatch(cursor)
        if match is None or max(found := [int(part) for part in match.groups()]) > _MOST:
            raise Invalid("cursor is none that ReadLedger gave", param="cursor")
        return cls(*found)

    def __str__(self) -> str:
        return f"{self.epoch}.{self.xact_id}.{self.seq}"


START = Position(0, 0, 0)
