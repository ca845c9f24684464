"""
Usage as a Parquet file, a piece at a time. pyarrow is large: this is imported when one is wanted.

Source:
    apache/parquet-format, LogicalTypes.md. FOCUS 1.1 calls costs and quantities Decimal and leaves
    their precision to the provider.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from services.gateway.domain import focus
from services.gateway.domain.focus import Usage

GROUP_ROWS = 2_000  # of most row groups: what is held in memory; small ones are mostly footer
COMPRESSION = "zstd"

_TIME = pa.timestamp("ms", tz="UTC")
_USD = pa.decimal128(38, focus.DECIMALS)
_TYPES = {
    "BillingPeriodStart": _TIME,
    "BillingPeriodEnd": _TIME,
    "ChargePeriodStart": _TIME,
    "ChargePeriodEnd": _TIME,
    "ConsumedQuantity": pa.decimal128(38, 0),
    "BilledCost": _USD,
    "EffectiveCost": _USD,
}
SCHEMA = pa.schema(
    [
        pa.field(name, _TYPES.get(name, pa.string()), nullable=_TYPES.get(name) is _USD)
        for name in focus.COLUMNS
    ]
)


class ParquetFile:
    """
    Written by `add` and, at its very end, `finish`: without that it is no file that can be read.

    Each returns the bytes that are new. They take time, so they belong into a thread.
    """

    def __init__(self) -> None:
        self._waiting: list[Usage] = []
        self._new = _New()
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._new, mode="w"), SCHEMA, compression=COMPRESSION
        )

    def add(self, usage: Sequence[Usage]) -> bytes:
        self._waiting += usage
        while len(self._waiting) >= GROUP_ROWS:
            self._write_group()
        return self._new.take()

    def finish(self) -> bytes:
        if self._waiting:
            self._write_group()
        self._writer.close()
        return self._new.take()

    def _write_group(self) -> None:
        group, self._waiting = self._waiting[:GROUP_ROWS], self._waiting[GROUP_ROWS:]
        records = [dict(focus.record(used)) for used in group]
        self._writer.write_table(pa.Table.from_pylist(records, schema=SCHEMA))


class _New:
    """What has been written since it was last taken, as a file that can only be written."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
