"""A service's role sees its own schema and nothing else."""

import asyncpg
import pytest

from deploy.embedded.postgres import ROLES, apply_roles


async def connect(url):
    return await asyncpg.connect(url, timeout=5, command_timeout=5)


async def test_a_role_works_in_its_own_schema(database):
    conn = await connect(database.url("metrics"))

    await conn.execute("CREATE TABLE metrics.mine (a integer)")
    await conn.execute("INSERT INTO metrics.mine VALUES (1)")

    assert 1 == await conn.fetchval("SELECT a FROM metrics.mine")
    await conn.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM router.ledger",
        "INSERT INTO router.ledger VALUES (1)",
        "DROP TABLE router.ledger",
        "CREATE TABLE router.theirs (a integer)",
        "CREATE TABLE public.nobodys (a integer)",
        "CREATE TEMPORARY TABLE passing (a integer)",
        "CREATE SCHEMA another",
        "SET ROLE router",
        "ALTER ROLE router PASSWORD 'guessed'",
        "GRANT router TO metrics",
    ],
)
async def test_a_role_has_no_way_into_another_schema(database, statement):
    owner = await connect(database.url("router"))
    await owner.execute("CREATE TABLE router.ledger (a integer)")
    await owner.close()
    stranger = await connect(database.url("metrics"))

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await stranger.execute(statement)
    await stranger.close()


async def test_a_role_needs_its_own_password(database):
    password = database.url("metrics").partition("metrics:")[2].partition("@")[0]
    posing = database.url("router").replace(
        database.url("router").partition("router:")[2].partition("@")[0], password
    )

    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(posing)


async def test_applying_the_roles_again_changes_nothing(database):
    owner = await connect(database.url("router"))
    await owner.execute("CREATE TABLE router.kept AS SELECT 7 AS a")

    await apply_roles(database.superuser_url, {})

    assert 7 == await owner.fetchval("SELECT a FROM router.kept")
    for role in ROLES:
        await (await connect(database.url(role))).close()
    await owner.close()
