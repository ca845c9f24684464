"""The re-fit of the prior, kept for all replicas: one at a time, the same from the same."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from common.postgres import Connection
from services.router.domain.catalog import Catalog
from services.router.domain.refit import Outcomes, Refit, refit, refit_due
from services.router.domain.vector import Floats, unpacked_many

MOST_OUTCOMES = 20_000  # the newest: a re-fit of them takes well under a second
EVERY = timedelta(days=7)
LOCK = 0x6C6561726E  # of the transaction: "learn"


@dataclass(frozen=True, slots=True)
class LastRefit:
    fitted_at: datetime
    outcomes: int  # kept at that time


async def last(conn: Connection) -> LastRefit | None:
    row = await conn.fetchrow(
        "SELECT max(fitted_at) AS fitted_at, max(outcomes) AS outcomes FROM router.corrections"
    )
    return LastRefit(**row) if row and row["fitted_at"] else None


async def due(conn: Connection) -> bool:
    """Say whether a week has passed, or there is much more than at the last time."""
    row = await conn.fetchrow(
        "SELECT coalesce(max(outcomes), 0) AS fitted, now() - max(fitted_at) AS age"
        "  FROM router.corrections"
    )
    if row is not None and row["age"] is not None and row["age"] >= EVERY:
        return True
    return refit_due(await _seen(conn), row["fitted"] if row else 0)


async def take_turn(conn: Connection) -> bool:
    """Be the only one who re-fits until the transaction ends; False: somebody else is."""
    return bool(await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK))


async def fit(conn: Connection, catalog: Catalog) -> Refit:
    """Fit the prior of the catalog's models to the outcomes that are kept, and keep nothing."""
    rows = await conn.fetch(
        "SELECT model, features, outcome, weight FROM router.judgements"
        " WHERE weight > 0 AND source IN ('stars', 'votes')"
        " ORDER BY occurred_at DESC, request_id, model LIMIT $1",
        MOST_OUTCOMES,
    )
    return await asyncio.to_thread(_fit, rows, catalog)  # completions go on meanwhile


async def keep(conn: Connection, fitted: Refit) -> None:
    """Put *fitted* in the place of the last re-fit."""
    seen = await _seen(conn)
    await conn.executemany(
        """
        INSERT INTO router.corrections (model, correction, outcomes) VALUES ($1, $2, $3)
        ON CONFLICT (model) DO UPDATE
           SET correction = excluded.correction, outcomes = excluded.outcomes, fitted_at = now()
        """,
        [
            (model, correction.astype("<f8").tobytes(), seen)
            for model, correction in fitted.corrections.items()
        ],
    )


async def _seen(conn: Connection) -> int:
    """Count what people said and is kept, also of models that are not in the catalog now."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM router.judgements WHERE weight > 0 AND source IN ('stars', 'votes')"
    )
    return count


def _fit(rows: Sequence[Any], catalog: Catalog) -> Refit:
    by_model: dict[str, list[Any]] = {}
    for row in rows:
        if row["model"] in catalog.models:
            by_model.setdefault(row["model"], []).append(row)
    return refit(
        {
            model: _outcomes(catalog.models[model].capability, by_model[model])
            for model in sorted(by_model)
        }
    )


def _outcomes(capability: float, rows: Sequence[Any]) -> Outcomes:
    phis, good = unpacked_many([row["features"] for row in rows])
    kept = [row for row, is_good in zip(rows, good, strict=True) if is_good]
    return Outcomes(
        capability,
        phis,
        _column(kept, "outcome"),
        _column(kept, "weight"),
    )


def _column(rows: Sequence[Any], name: str) -> Floats:
    return np.array([row[name] for row in rows], float)
