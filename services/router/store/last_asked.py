"""The last question of each user, for some minutes: `router.last_asked`."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.postgres import Connection


@dataclass(frozen=True, slots=True)
class Question:
    request_id: UUID
    model: str  # that answered it
    features: bytes
    role: str
    pattern: str
    asked_at: datetime


class LastAsked:
    """Read in bulk, changed in memory, written in bulk. `conn` is within a transaction."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._known: dict[tuple[str, str], Question] = {}
        self._new: set[tuple[str, str]] = set()

    async def load(self, users: Collection[tuple[str, str]]) -> None:
        """Read the last questions of *users*, given as (tenant, user)."""
        if not users:
            return
        rows = await self._conn.fetch(
            "SELECT tenant, user_id, request_id, model, features, role, pattern, asked_at"
            "  FROM router.last_asked"
            "  JOIN unnest($1::text[], $2::text[]) AS wanted (tenant, user_id)"
            "       USING (tenant, user_id)",
            [tenant for tenant, _ in users],
            [user for _, user in users],
        )
        for row in rows:
            fields = {name: row[name] for name in Question.__dataclass_fields__}
            self._known[row["tenant"], row["user_id"]] = Question(**fields)

    def of(self, tenant: str, user_id: str) -> Question | None:
        return self._known.get((tenant, user_id))

    def put(self, tenant: str, user_id: str, question: Question) -> None:
        self._known[tenant, user_id] = question
        self._new.add((tenant, user_id))

    async def save(self) -> None:
        """Keep the new ones."""
        if not self._new:
            return
        await self._conn.executemany(
            """
            INSERT INTO router.last_asked
                   (tenant, user_id, request_id, model, features, role, pattern, asked_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            ON CONFLICT (tenant, user_id) DO UPDATE
               SET request_id = excluded.request_id, model = excluded.model,
                   features = excluded.features, role = excluded.role,
                   pattern = excluded.pattern, asked_at = excluded.asked_at
            """,
            [
                (*user, q.request_id, q.model, q.features, q.role, q.pattern, q.asked_at)
                for user in sorted(self._new)
                for q in [self._known[user]]
            ],
        )
