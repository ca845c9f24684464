"""The re-fit of the prior, kept for all replicas: once, whoever comes first."""

from collections.abc import Mapping

import numpy as np
import structlog

from common.postgres import Connection
from services.router.domain.refit import Outcomes, Refit, refit, refit_due
from services.router.domain.vector import unpacked

MOST_OUTCOMES = 20_000  # the newest: a re-fit of them takes well under a second
LOCK = 0x6C6561726E  # of the transaction: "learn"

log = structlog.get_logger()


async def refit_if_due(conn: Connection, capabilities: Mapping[str, float]) -> bool:
    """Fit the prior anew when there is much more than at the last time; say whether it was."""
    counted = await conn.fetchrow(
        "SELECT (SELECT count(*) FROM router.outcomes WHERE features IS NOT NULL) AS seen,"
        "       (SELECT coalesce(max(outcomes), 0) FROM router.corrections) AS fitted"
    )
    if counted is None or not refit_due(counted["seen"], counted["fitted"]):
        return False
    if not await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK):
        return False  # another replica is at it
    await keep(conn, await fit(conn, capabilities), counted["seen"])
    return True


async def fit(conn: Connection, capabilities: Mapping[str, float]) -> Refit:
    """Fit the prior to the outcomes that are kept, and keep nothing: a dry run."""
    rows = await conn.fetch(
        "SELECT model, features, outcome, weight FROM router.outcomes"
        " WHERE features IS NOT NULL ORDER BY applied_at DESC, request_id LIMIT $1",
        MOST_OUTCOMES,
    )
    found: dict[str, list[tuple[object, float, float]]] = {}
    for row in rows:
        phi = unpacked(row["features"])
        if phi is not None and row["model"] in capabilities:
            found.setdefault(row["model"], []).append((phi, row["outcome"], row["weight"]))
    return refit(
        {
            model: Outcomes(
                capabilities[model],
                np.array([phi for phi, _, _ in one]),
                np.array([outcome for _, outcome, _ in one]),
                np.array([weight for _, _, weight in one]),
            )
            for model, one in found.items()
        }
    )


async def keep(conn: Connection, fitted: Refit, seen: int) -> None:
    """Put *fitted* in the place of the last re-fit."""
    for model, correction in fitted.corrections.items():
        await conn.execute(
            """
            INSERT INTO router.corrections (model, correction, outcomes) VALUES ($1, $2, $3)
            ON CONFLICT (model) DO UPDATE
               SET correction = excluded.correction, outcomes = excluded.outcomes,
                   fitted_at = now()
            """,
            model,
            correction.astype("<f8").tobytes(),
            seen,
        )
    log.info("prior_fitted_anew", outcomes=seen, models=len(fitted.corrections))
