"""
Ledger and bill, row by row.

    Σ ledger = Σ bill over what is known, and every other bill entry matches exactly one row that
    is flagged as a guess. Nothing is lost, nothing is there twice.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.e2e.stack import StackUnderTest, until

OPENED, SETTLED, CORRECTED, CLOSED = 1, 2, 3, 4
CLOSED_IN_TIME_S = 60

Row = Mapping[str, Any]

READ = """
    SELECT attempt_id, kind, revision, request_id, outcome, model, input_tokens, output_tokens,
           cached_input_tokens, cost_nano_usd, estimated, cache_hit, provider_response_id
      FROM router.ledger
     WHERE request_id >= $1 AND kind <= 4
     ORDER BY epoch, xact_id, seq
"""
# An attempt without a settlement, or a request without an end.
OPEN = """
    SELECT count(*) FROM router.ledger AS opened
     WHERE opened.request_id >= $1 AND opened.kind = 1 AND (
         NOT EXISTS (SELECT 1 FROM router.ledger AS settled
                      WHERE settled.attempt_id = opened.attempt_id AND settled.kind = 2)
      OR NOT EXISTS (SELECT 1 FROM router.ledger AS closed
                      WHERE closed.attempt_id = opened.request_id AND closed.kind = 4))
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt's settlement, corrections added."""

    request_id: UUID
    outcome: str
    model: str
    tokens: tuple[int, int, int]  # input, cached, output
    cost_nano_usd: int | None
    estimated: bool
    response_id: str | None

    @property
    def guessed(self) -> bool:
        return self.estimated or self.outcome == "unknown"


@dataclass(frozen=True, slots=True)
class Books:
    rows: Sequence[Row]
    bill: Sequence[Mapping[str, Any]]

    @property
    def attempts(self) -> dict[UUID, Attempt]:
        settled: dict[UUID, Attempt] = {}
        for row in self.rows:
            if row["kind"] == SETTLED:
                settled[row["attempt_id"]] = _attempt(row)
        for row in self.rows:
            if row["kind"] == CORRECTED:
                settled[row["attempt_id"]] = _corrected(settled[row["attempt_id"]], row)
        return settled

    def count(self, kind: int) -> int:
        return sum(row["kind"] == kind for row in self.rows)

    def outcomes(self) -> Counter[str]:
        return Counter(attempt.outcome for attempt in self.attempts.values())

    def problems(self) -> list[str]:
        """Return every way in which ledger and bill do not fit; none in sound books."""
        return [*self._unsound_ledger(), *self._unmatched_bill(), *self._unequal_sums()]

    def _unsound_ledger(self) -> list[str]:
        problems = []
        seen = Counter((row["attempt_id"], row["kind"], row["revision"]) for row in self.rows)
        problems += [f"{key} is in the ledger {n} times" for key, n in seen.items() if n > 1]
        kinds: dict[int, Counter[UUID]] = defaultdict(Counter)
        for row in self.rows:
            kinds[row["kind"]][row["attempt_id"]] += 1
        requests = {row["request_id"] for row in self.rows}
        problems += [
            f"attempt {attempt} was opened and settled {kinds[SETTLED][attempt]} times"
            for attempt in kinds[OPENED]
            if kinds[SETTLED][attempt] != 1
        ]
        problems += [
            f"attempt {attempt} was settled and never opened"
            for attempt in kinds[SETTLED]
            if attempt not in kinds[OPENED]
        ]
        problems += [
            f"request {request} was closed {kinds[CLOSED][request]} times"
            for request in requests
            if kinds[CLOSED][request] != 1
        ]
        return problems + self._unequal_requests()

    def _unequal_requests(self) -> list[str]:
        """A request costs what its attempts cost, as they were settled or as corrected since."""
        settled: Counter[UUID] = Counter()
        corrections: Counter[UUID] = Counter()
        for row in self.rows:
            if row["kind"] in (SETTLED, CORRECTED):
                sums = settled if row["kind"] == SETTLED else corrections
                sums[row["request_id"]] += row["cost_nano_usd"] or 0
        return [
            f"request {row['request_id']} closed at {row['cost_nano_usd']},"
            f" its attempts cost {settled[row['request_id']]}"
            for row in self.rows
            if row["kind"] == CLOSED
            and (row["cost_nano_usd"] or 0) - settled[row["request_id"]]
            not in (0, corrections[row["request_id"]])
        ]

    def _unmatched_bill(self) -> list[str]:
        problems = []
        attempts = self.attempts
        billed = Counter(entry["client_request_id"] for entry in self.bill)
        problems += [f"{name} is on the bill {n} times" for name, n in billed.items() if n > 1]
        for entry in self.bill:
            name = entry["client_request_id"]
            attempt = attempts.get(UUID(name)) if name else None
            if attempt is None:
                problems.append(f"the bill has {entry} and the ledger nothing")
            elif not attempt.guessed:
                problems += _differences(attempt, entry)
        problems += [
            f"the ledger says that {name} cost {attempt.cost_nano_usd}; it is not on the bill"
            for name, attempt in attempts.items()
            if attempt.cost_nano_usd and not attempt.guessed and str(name) not in billed
        ]
        return problems

    def _unequal_sums(self) -> list[str]:
        attempts = self.attempts
        guessed = {str(name) for name, attempt in attempts.items() if attempt.guessed}
        known = sum(a.cost_nano_usd or 0 for a in attempts.values() if not a.guessed)
        billed = sum(
            entry["cost_nano_usd"]
            for entry in self.bill
            if entry["client_request_id"] not in guessed
        )
        return [] if known == billed else [f"the ledger sums to {known}, the bill to {billed}"]


async def closed_books(stack: StackUnderTest, since: UUID) -> Books:
    """
    Return the books of all requests since *since*, once every attempt and request has ended.

    Reading waits for what a kill left open (the reaper ends it when its deadline has passed) and
    for what a router still has in its journal: what is on the bill must come, and when it does not
    come in time, the books say so.
    """
    bill = [entry for entry in await stack.bill() if _is_ours(entry, since)]
    wanted = {UUID(entry["client_request_id"]) for entry in bill if entry["client_request_id"]}

    async def all_there() -> bool:
        settled = await stack.sql(
            "SELECT count(*) FROM router.ledger WHERE kind = 2 AND attempt_id = ANY($1)", wanted
        )
        return settled[0][0] >= len(wanted) and not (await stack.sql(OPEN, since))[0][0]

    with contextlib.suppress(TimeoutError):
        await until(all_there, within_s=CLOSED_IN_TIME_S)
    return Books(await stack.sql(READ, since), bill)


def _is_ours(entry: Mapping[str, Any], since: UUID) -> bool:
    """Entries without an id belong to nobody: every comparison has to explain them."""
    name = entry["client_request_id"]
    return name is None or UUID(name) >= since


def _attempt(row: Row) -> Attempt:
    return Attempt(
        request_id=row["request_id"],
        outcome=row["outcome"],
        model=row["model"],
        tokens=(row["input_tokens"], row["cached_input_tokens"], row["output_tokens"]),
        cost_nano_usd=row["cost_nano_usd"],
        estimated=row["estimated"],
        response_id=row["provider_response_id"],
    )


def _corrected(guess: Attempt, row: Row) -> Attempt:
    """Apply a correction: its counts and cost are differences, the rest is the truth."""
    truth = _attempt(row)
    tokens = tuple(a + b for a, b in zip(guess.tokens, truth.tokens, strict=True))
    return Attempt(
        request_id=guess.request_id,
        outcome=truth.outcome or guess.outcome,
        model=truth.model or guess.model,
        tokens=tokens,
        cost_nano_usd=(guess.cost_nano_usd or 0) + (truth.cost_nano_usd or 0),
        estimated=truth.estimated,
        response_id=truth.response_id or guess.response_id,
    )


def _differences(attempt: Attempt, entry: Mapping[str, Any]) -> list[str]:
    ledger = {
        "cost": attempt.cost_nano_usd,
        "tokens": attempt.tokens,
        "response": attempt.response_id,
        "model": attempt.model.rpartition("/")[2],
    }
    bill = {
        "cost": entry["cost_nano_usd"],
        "tokens": (entry["input_tokens"], entry["cached"], entry["output_tokens"]),
        "response": entry["response_id"],
        "model": entry["model"],
    }
    return [
        f"{entry['client_request_id']} ({attempt.outcome}): the ledger's {name} is"
        f" {ledger[name]}, the bill's {bill[name]}"
        for name in ledger
        if ledger[name] != bill[name]
    ]
