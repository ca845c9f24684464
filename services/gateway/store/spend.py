"""Spend per tenant and day in Postgres. Every query on `gateway.spend` lives here."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import structlog
from optimizer.router.v1.ledger_pb2 import LedgerRow

from common.errors import Failure, Invalid
from common.ledger_rows import Skips, apply_surely, count, difference, moment, text
from common.postgres import Connection, Pool, connection
from common.wire import uuid_field
from services.gateway.domain.spend import Today

REFRESH_S = 1.0
IDLE_REFRESHES = 30  # without answers to account for, only every so often

log = structlog.get_logger()


@dataclass(slots=True)
class _Sums:
    latest_at: datetime
    cost_nano_usd: int = 0
    requests: int = 0
    unpriced: int = 0


class Spend:
    """Follows the ledger, and knows what was spent today without asking Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._today = Today()
        self._applied: set[str] = set()  # applied here since the last refresh

    def expect(self, request_id: str, tenant: str) -> None:
        self._today.expect(request_id, tenant, datetime.now(UTC))

    def give_up(self, request_id: str) -> None:
        self._today.give_up(request_id)

    def answered(self, request_id: str, cost_nano_usd: int | None) -> None:
        self._today.answered(request_id, cost_nano_usd, datetime.now(UTC))

    def today_nano_usd(self, tenant: str | None) -> int:
        """Return what *tenant*, or everyone, spent since 00:00 UTC."""
        return self._today.total(tenant, datetime.now(UTC).date())

    async def apply(self, conn: Connection, rows: Sequence[LedgerRow]) -> None:
        """Add *rows* in the follower's transaction."""
        await apply_surely(conn, rows, self._apply, consumer="gateway")
        self._applied.update(
            row.request_id
            for row in rows
            if row.kind == LedgerRow.KIND_CLOSED and self._today.known(row.request_id)
        )

    async def refresh(self) -> None:
        """
        Take over what is applied by now, by whichever replica.

        Raises:
            Unavailable: Postgres is silent; the old figures stay.
        """
        now = datetime.now(UTC)
        applied, self._applied = self._applied, set()
        try:
            async with connection(self._pool) as conn:
                rows = await conn.fetch(
                    "SELECT tenant, cost_nano_usd, latest_at FROM gateway.spend WHERE day = $1",
                    now.date(),
                )
        except BaseException:
            self._applied |= applied
            raise
        self._today.applied(
            now.date(),
            {row["tenant"]: row["cost_nano_usd"] for row in rows},
            request_ids=applied,
            latest_at=max((row["latest_at"] for row in rows), default=None),
            now=now,
        )

    async def keep_fresh(self) -> None:
        """Refresh forever: other replicas apply rows too, and days begin."""
        round_ = 0
        while True:
            if self._today.waits or round_ % IDLE_REFRESHES == 0:
                try:
                    await self.refresh()
                except Failure as failure:
                    log.warning("spend_not_refreshed", reason=failure.message)
            round_ += 1
            await asyncio.sleep(REFRESH_S)

    async def _apply(self, conn: Connection, rows: Sequence[LedgerRow]) -> None:
        skips = Skips("gateway")
        sums: dict[tuple[date, str], _Sums] = {}
        for row in rows:
            try:
                _add(sums, row)
            except Invalid as failure:
                skips.add(row, "nonsense", failure.message)
        await _upsert(conn, sums)
        skips.report()


def _add(sums: dict[tuple[date, str], _Sums], row: LedgerRow) -> None:
    if row.kind not in _MONEY and row.kind != LedgerRow.KIND_CLOSED:
        return
    # The day of the request: what is corrected later counts where it was spent.
    made_ms = uuid_field(row.request_id, "request_id").int >> 80  # UUIDv7
    day = moment(made_ms, "request_id").date()
    recorded_at = moment(row.recorded_at_ms, "recorded_at_ms")
    key = (day, text(row.tenant, "tenant"))
    found = sums.get(key) or sums.setdefault(key, _Sums(recorded_at))
    found.latest_at = max(found.latest_at, recorded_at)
    if row.kind == LedgerRow.KIND_CLOSED:
        found.requests += 1
        found.unpriced += row.pricing == "unpriced"
    elif row.HasField("cost_nano_usd"):
        check = count if row.kind == LedgerRow.KIND_SETTLED else difference
        found.cost_nano_usd += check(row.cost_nano_usd, "cost_nano_usd")


async def _upsert(conn: Connection, sums: dict[tuple[date, str], _Sums]) -> None:
    if not sums:
        return
    columns: defaultdict[str, list[object]] = defaultdict(list)
    for (day, tenant), found in sorted(sums.items()):  # one order: replicas must not deadlock
        columns["day"].append(day)
        columns["tenant"].append(tenant)
        columns["cost"].append(found.cost_nano_usd)
        columns["requests"].append(found.requests)
        columns["unpriced"].append(found.unpriced)
        columns["latest_at"].append(found.latest_at)
    await conn.execute(
        """
        INSERT INTO gateway.spend AS known
            (day, tenant, cost_nano_usd, requests, unpriced, latest_at)
        SELECT day, tenant, cost_nano_usd, requests, unpriced, latest_at
        FROM unnest($1::date[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
                    $6::timestamptz[])
             AS new (day, tenant, cost_nano_usd, requests, unpriced, latest_at)
        ON CONFLICT (day, tenant) DO UPDATE SET
            cost_nano_usd = known.cost_nano_usd + excluded.cost_nano_usd,
            requests = known.requests + excluded.requests,
            unpriced = known.unpriced + excluded.unpriced,
            latest_at = greatest(known.latest_at, excluded.latest_at)
        """,
        *columns.values(),
    )


_MONEY = frozenset({LedgerRow.KIND_SETTLED, LedgerRow.KIND_CORRECTED})
