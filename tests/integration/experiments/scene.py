"""Experiments under way: requests of users, in the arms that the rule puts them in."""

import asyncio
from itertools import count

import asyncpg
import orjson
from optimizer.experiments.v1 import experiments_pb2 as pb

from services.experiments.domain.assignment import assign
from tests.followed_ledger import closed

ARMS = ("control", "test")


def users_of(arm, *, experiment_id=1, arms=ARMS):
    """User after user whom the rule puts into *arm*, for ever."""
    names = (f"user{n}" for n in count())
    return (name for name in names if assign(experiment_id, name, arms) == arm)


def first_users(arm, number, **which):
    users = users_of(arm, **which)
    return [next(users) for _ in range(number)]


def answered(user, *, experiment_id=1, arms=ARMS, words=None, **changes):
    """A request of *user*, in the arm of the rule."""
    arm = assign(experiment_id, user, arms)
    fields = {"experiment_id": experiment_id, "arm": arm, "user_id": user}
    if words is not None:
        fields["details_json"] = orjson.dumps({"complexity": {"words": words}})
    return closed(**(fields | changes))


def plan(*, arms=None, **changes):
    arms = arms or [
        pb.Arm(name="control", strategy="complexity"),
        pb.Arm(name="test", strategy="hybrid"),
    ]
    return pb.CreateRequest(**({"name": "x", "arms": arms, "sample_size": 100} | changes))


async def create(it, **changes):
    return (await it.stub.Create(plan(**changes))).experiment


async def look(it, experiment_id=1):
    return await it.stub.Analyze(pb.AnalyzeRequest(experiment_id=experiment_id), timeout=60)


async def analyze(it, experiment_id=1):
    """Look when all of the ledger is in: on a busy machine that may take longer than one try."""
    async with asyncio.timeout(30):
        while (told := await look(it, experiment_id)).stale:
            pass
    return told


async def get(it, experiment_id=1):
    return (await it.stub.Get(pb.GetRequest(id=experiment_id))).experiment


def report(told):
    return orjson.loads(told.report_json)


async def rows(database, query, *arguments):
    conn = await asyncpg.connect(database.url("experiments"))
    try:
        return [tuple(row) for row in await conn.fetch(query, *arguments)]
    finally:
        await conn.close()
