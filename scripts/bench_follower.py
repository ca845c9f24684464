"""
`make bench-follower`: how fast metrics catch up with the ledger, and how far they trail it.

The whole stack runs beside nothing. The ledger is that of real requests to the sandbox, of every
strategy, copied until it is long; meanwhile the metrics service is away. Then it comes back.
"""

import argparse
import asyncio
import itertools
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import aiohttp
import asyncpg
import psutil
import uvloop

from common.strategies import STRATEGIES
from deploy.embedded.process import descendants
from deploy.embedded.stack import Stack
from scripts.bench_follower_report import CatchUp, Report, Trail, render
from scripts.bench_page import TARGET, facts, write
from scripts.bench_stack import bench_stack, database_url, figure
from scripts.bench_traffic import traffic
from scripts.prompts import prompts
from services.router.domain.position import START, Position

ASKED = 600  # requests of which the ledger is made
AT_ONCE = 8
RATED_EVERY = 20  # requests
CORRECTED_RATIO = 0.02
COPY_SPAN_S = 2  # one copy of the ledger's rows is so much older than the next
FILL_S = 120.0
ROWS_A_REQUEST = 3  # opened, settled, closed
LOOK_S, SAMPLE_S = 0.25, 0.1
APPLIED = 'optimizer_ledger_follower_rows_total{consumer="metrics"}'
AWAY_S, CATCH_UP_S = 120.0, 120.0

ORIGINAL = """
    CREATE TEMP TABLE original AS SELECT * FROM router.ledger;
    CREATE TEMP TABLE correction AS
        SELECT * FROM original WHERE kind = 2 ORDER BY md5(attempt_id::text) LIMIT {corrected};
    UPDATE correction SET kind = 3, revision = 1, input_tokens = 3, output_tokens = 5,
                          cached_input_tokens = 0, cost_nano_usd = 1000, seq = seq + 1000000;
    INSERT INTO original SELECT * FROM correction;
"""
# An identifier keeps its time and its version, the rest becomes the copy's own: the rows of one
# request still belong together.
COPIED_ID = "(left({0}::text, 20) || right(md5({0}::text || $1::integer), 15))::uuid"
COPY = """
    INSERT INTO router.ledger (attempt_id, request_id, recorded_at, {same})
    SELECT {attempt_id}, {request_id}, recorded_at - $1::integer * make_interval(secs => $2), {same}
      FROM original ORDER BY seq
"""
ITS_OWN = ("attempt_id", "request_id", "recorded_at", "xact_id", "seq")


@dataclass(frozen=True, slots=True)
class Sizes:
    rows: int
    trail_s: float
    rows_per_s: int


class Ledger:
    """The router's table, as its superuser sees it."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self._conn = conn

    async def fill(self, rows: int) -> int:
        """Copy what is there until it has *rows* more; return how many were added."""
        names = await self._conn.fetchval(
            "SELECT array_agg(attname::text) FROM pg_attribute"
            " WHERE attrelid = 'router.ledger'::regclass AND attnum > 0"
        )
        settled = await self._conn.fetchval("SELECT count(*) FROM router.ledger WHERE kind = 2")
        await self._conn.execute(ORIGINAL.format(corrected=round(settled * CORRECTED_RATIO)))
        size = await self._conn.fetchval("SELECT count(*) FROM original")
        copy = COPY.format(
            same=", ".join(name for name in names if name not in ITS_OWN),
            attempt_id=COPIED_ID.format("attempt_id"),
            request_id=COPIED_ID.format("request_id"),
        )
        copies = -(-rows // size)
        for number in range(copies, 0, -1):  # the oldest first
            await self._conn.execute(copy, number, COPY_SPAN_S)
        await self._conn.execute("ANALYZE router.ledger")
        return int(copies * size)

    async def followed(self, *schemas: str) -> None:
        """Wait until these have applied what is there now."""
        last = Position.parse(
            await self._conn.fetchval(
                "SELECT concat_ws('.', epoch, xact_id, seq) FROM router.ledger"
                " ORDER BY epoch DESC, xact_id DESC, seq DESC LIMIT 1"
            )
        )
        for schema in schemas:
            while (await self.position(schema)) < last:  # noqa: ASYNC110  it is another process
                await asyncio.sleep(LOOK_S)

    async def position(self, schema: str) -> Position:
        found = await self._conn.fetchval(
            f"SELECT position FROM {schema}.cursor WHERE name = 'ledger'"  # noqa: S608
        )
        return Position.parse(found) if found else START

    async def trails_s(self) -> float:
        """Return the age of the newest row that the metrics service has applied."""
        at = await self.position("metrics")
        return float(
            await self._conn.fetchval(
                "SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM router.ledger"
                " WHERE (epoch, xact_id, seq) = ($1, $2::text::xid8, $3)",
                at.epoch,
                str(at.xact_id),
                at.seq,
            )
        )

    async def rows(self) -> int:
        return int(await self._conn.fetchval("SELECT count(*) FROM router.ledger"))


class Processor:
    """What the processes spend on it."""

    def __init__(self, stack: Stack, names: Sequence[str]) -> None:
        self._pids = {name: stack.processes[name].pid or 0 for name in names}
        self._began = self._spent_s()

    def spent_s(self) -> dict[str, float]:
        """Return the processor time of each since the beginning."""
        return {name: spent - self._began[name] for name, spent in self._spent_s().items()}

    def _spent_s(self) -> dict[str, float]:
        return {
            name: sum(_spent_s(one) for one in (pid, *descendants(pid)))
            for name, pid in self._pids.items()
        }


def _spent_s(pid: int) -> float:
    with suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0


async def ask_everything(session: aiohttp.ClientSession) -> None:
    """Send requests of every strategy, some twice, and rate some answers."""
    strategies = itertools.cycle(name for name in STRATEGIES if name != "fixed")
    work = zip(range(ASKED), prompts(1), strategies, strict=False)

    async def ask() -> None:
        for number, prompt, strategy in work:
            body = {"prompt": prompt, "strategy": strategy, "user_id": f"user {number % 40}"}
            async with session.post("/complete", json=body) as answer:
                answer.raise_for_status()
                request_id = (await answer.json())["request_id"]
            if number % RATED_EVERY == 0:
                rating = {"request_id": request_id, "quality_score": 4, "is_correct": True}
                async with session.post("/production/feedback", json=rating) as taken:
                    taken.raise_for_status()

    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))


async def catch_up(stack: Stack, ledger: Ledger, rows: int) -> CatchUp:
    """Fill the ledger while the metrics service is away; watch it come back."""
    metrics = stack.processes["metrics"]
    await metrics.stop()
    added = await ledger.fill(rows)
    _say(f"{added:,} rows; waiting until the other services have them")
    async with asyncio.timeout(AWAY_S):
        await ledger.followed("gateway", "experiments", "router")
    _say("the metrics service catches up")
    await metrics.start()
    processor = Processor(stack, ("metrics", "router", "postgres"))
    looks: list[tuple[float, int]] = []
    async with asyncio.timeout(CATCH_UP_S):
        while not looks or looks[-1][1] < added:
            looks.append((monotonic(), round(await figure(stack, "metrics", APPLIED))))
            await asyncio.sleep(LOOK_S)
    return CatchUp.of(looks, added, processor.spent_s())


async def trail(stack: Stack, ledger: Ledger, sizes: Sizes) -> Trail:
    """Send steady traffic; sample how old the newest applied row is."""
    _say(f"{sizes.rows_per_s} rows/s for {sizes.trail_s:.0f} s")
    async with traffic(stack.base_url, sizes.rows_per_s / ROWS_A_REQUEST):
        await asyncio.sleep(1)
        before, began = await ledger.rows(), monotonic()
        lags_s = []
        while monotonic() - began < sizes.trail_s:
            lags_s.append(await ledger.trails_s())
            await asyncio.sleep(SAMPLE_S)
        rows_per_s = (await ledger.rows() - before) / (monotonic() - began)
    return Trail(rows_per_s, sorted(lags_s))


async def run(sizes: Sizes) -> Report:
    """Start the stack, measure, stop it."""
    _say("starting everything")
    async with bench_stack(SANDBOX_LATENCY_SCALE="0") as stack:
        async with aiohttp.ClientSession(stack.base_url) as session:
            await ask_everything(session)
        conn = await asyncpg.connect(database_url(stack), command_timeout=FILL_S)
        try:
            ledger = Ledger(conn)
            await ledger.followed("metrics")
            caught_up = await catch_up(stack, ledger, sizes.rows)
            trailed = await trail(stack, ledger, sizes)
        finally:
            await conn.close()
    return Report(caught_up, trailed)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="make bench-follower", description="Measure following.")
    parser.add_argument("--rows", type=int, default=200_000, help="to catch up with")
    parser.add_argument("--trail", type=float, default=30, help="seconds of steady traffic")
    parser.add_argument("--rows-per-s", type=int, default=500, help="of that traffic")
    parser.add_argument("--output", type=Path, default=TARGET)
    asked = parser.parse_args(arguments)
    command = " ".join(["python -m scripts.bench_follower", *arguments])
    told = facts(command if arguments else "make bench-follower")
    sizes = Sizes(asked.rows, asked.trail, asked.rows_per_s)
    section = render(uvloop.run(run(sizes)), told)
    write("follower", section, asked.output)
    print(section)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
