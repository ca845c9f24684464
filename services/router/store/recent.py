"""What the newest requests say: how long answers are, how hard prompts are, who chose better."""

from common.postgres import Connection
from services.router.domain.entries import Kind
from services.router.domain.gate import WINDOW, Comparison

LENGTHS_FROM = 3_000  # settled attempts
SCORES_FROM = 1_000  # closed requests


async def answer_lengths(conn: Connection) -> dict[str, float]:
    """Return the mean output tokens of each model's newest answers."""
    found = await conn.fetch(
        f"""
        SELECT model, avg(output_tokens)::double precision AS tokens
          FROM (SELECT model, output_tokens
                  FROM router.ledger
                 WHERE kind = {Kind.SETTLED:d} AND outcome = 'ok' AND NOT estimated
                 ORDER BY epoch DESC, xact_id DESC, seq DESC
                 LIMIT {LENGTHS_FROM}) AS newest
         GROUP BY model
        """  # noqa: S608 - constants only
    )
    return {row["model"]: row["tokens"] for row in found if row["model"]}


async def usual_cost(conn: Connection) -> float | None:
    """Return what the baseline model, about the dearest, would have cost on the newest requests."""
    found: float | None = await conn.fetchval(
        f"""
        SELECT avg(baseline_cost_nano_usd)::double precision
          FROM (SELECT baseline_cost_nano_usd
                  FROM router.ledger
                 WHERE kind = {Kind.CLOSED:d} AND baseline_cost_nano_usd > 0 -- 0: not asked
                 ORDER BY epoch DESC, xact_id DESC, seq DESC
                 LIMIT {SCORES_FROM}) AS newest
        """  # noqa: S608 - constants only
    )
    return found


async def scores(conn: Connection) -> list[float]:
    """Return the complexity of the newest prompts."""
    found = await conn.fetch(
        f"""
        SELECT details #> '{{learning,score}}' AS score
          FROM router.ledger
         WHERE kind = {Kind.CLOSED:d}
         ORDER BY epoch DESC, xact_id DESC, seq DESC
         LIMIT {SCORES_FROM}
        """  # noqa: S608 - constants only
    )
    return [number for row in found if (number := _number(row["score"])) is not None]


async def compared(conn: Connection) -> Comparison:
    """Return the newest outcomes of what passed hybrid's gate, as far as somebody told."""
    found = await conn.fetch(
        "SELECT role, outcome FROM router.judgements"
        " WHERE role IN ('treated', 'control') AND source IN ('stars', 'votes')"
        " ORDER BY applied_at DESC LIMIT $1",
        WINDOW,
    )
    by_role: dict[str, list[float]] = {"treated": [], "control": []}
    for row in found:
        by_role[row["role"]].append(row["outcome"])
    return Comparison(by_role["treated"], by_role["control"])


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except (TypeError, ValueError):
        return None
