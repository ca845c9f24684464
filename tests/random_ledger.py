"""A random ledger, as routers may write one, and what follows from it: by hand, from the rows."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil

from optimizer.router.v1.ledger_pb2 import LedgerRow

from tests.followed_ledger import closed, corrected, rated

MODELS = [("acme", "acme/small"), ("acme", "acme/large"), ("zeta", "zeta/one"), ("", "")]
OUTCOMES = ["ok"] * 6 + ["failed", "cancelled", "truncated", "unknown"]
STRATEGIES = ["hybrid", "cheapest", "best"]


def a_random_ledger(chance, *, requests, now_ms, reach_s):
    """Rows with retries, hits, failures, what has no price, replays, and truths that come late."""
    rows, late = [], []
    for _ in range(requests):
        provider, model = chance.choice(MODELS)
        hit = chance.random() < 0.2
        streamed = chance.random() < 0.3
        end = closed(
            cost=chance.choice([None, 0, chance.randrange(10**7)]),
            baseline=chance.choice([None, chance.randrange(10**8)]),
            at_ms=now_ms - chance.randrange(reach_s * 1000),
            provider=provider,
            model=model,
            strategy=chance.choice(STRATEGIES),
            tenant=chance.choice(["anonymous", "admin"]),
            **chance.choice([{}, {"experiment_id": 3, "arm": chance.choice(["control", "test"])}]),
            confidence=chance.choice(["high", "medium", "low"]),
            outcome="ok" if hit else chance.choice(OUTCOMES),
            cache_hit=hit,
            fallbacks=chance.choice([0, 0, 0, 1, 2]),
            latency_ms=chance.lognormvariate(5, 2),
            streamed=streamed,
            time_to_first_token_ms=chance.lognormvariate(3, 1) if streamed else 0,
            input_tokens=chance.randrange(5000),
            output_tokens=chance.randrange(1000),
        )
        truth = corrected(
            end.request_id,
            chance.randrange(-1000, 1000),
            pricing=chance.choice(["priced"] * 4 + ["unpriced"]),
            input_tokens=chance.randrange(-5, 5),
        )
        match chance.randrange(8):
            case 0:
                rows += [end, truth]
            case 1:
                rows += [truth, end]  # its total knows that already
            case 2:
                rows += [end, end, rated(end.request_id, 4)]
            case _:
                rows.append(end)
        if rows[-1] is end and chance.random() < 0.2:
            late.append(truth)
    chance.shuffle(late)
    return rows + late


@dataclass
class Told:
    """One request, as the rows leave it."""

    row: LedgerRow
    cost: int | None
    baseline: int | None
    tokens_in: int
    tokens_out: int
    at: datetime = field(init=False)

    def __post_init__(self):
        self.at = datetime.fromtimestamp(self.row.recorded_at_ms / 1000, UTC)

    @property
    def failed(self):
        return self.row.outcome in ("failed", "truncated", "unknown")

    @property
    def compared(self):
        return self.cost is not None and self.baseline is not None


def requests_of(rows):
    """Return every request, its corrections applied."""
    found = {}
    for row in rows:
        if row.kind == LedgerRow.KIND_CLOSED and row.request_id not in found:
            found[row.request_id] = Told(
                row,
                row.cost_nano_usd if row.HasField("cost_nano_usd") else None,
                row.baseline_cost_nano_usd if row.HasField("baseline_cost_nano_usd") else None,
                row.input_tokens,
                row.output_tokens,
            )
        elif row.kind == LedgerRow.KIND_CORRECTED and (told := found.get(row.request_id)):
            told.tokens_in += row.input_tokens
            told.tokens_out += row.output_tokens
            if told.cost is not None:
                told.cost += row.cost_nano_usd
            if row.pricing == "unpriced":
                told.cost = None
    return list(found.values())


def percentile(told, percent, *, measure="latency_ms"):
    """Return the exact percentile of what was answered; None: nothing was."""
    timed = sorted(
        value
        for one in told
        if one.row.outcome not in ("failed", "unknown")
        and (measure == "latency_ms" or one.row.time_to_first_token_ms)
        and (value := getattr(one.row, measure)) is not None
    )
    return timed[ceil(len(timed) * percent / 100) - 1] if timed else None
