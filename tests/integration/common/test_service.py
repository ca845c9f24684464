"""Running a service: how it starts, how it is stopped, what it says when it dies."""

import asyncio
import json
import os
import signal
import sys

import pytest

PROGRAM = """
import asyncio
from common.errors import Unavailable
from common.service import run

async def main(stop):
    print("up", type(asyncio.get_running_loop()).__module__, flush=True)
    {body}

run("test", main)
"""
SECRET = "hush"


async def start(body):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM.format(body=body)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert b"up uvloop" in await asyncio.wait_for(process.stdout.readline(), 20)
    return process


async def ended(process):
    out, err = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("program", "wrong", "value"),
    [
        ("services.gateway", "GATEWAY_LIVE_POLL_S", "-1"),
        ("services.router", "ROUTER_COMMIT_TIMEOUT_S", "soon"),
        ("services.experiments", "EXPERIMENTS_CATCH_UP_S", "-5"),
        ("services.metrics", "METRICS_LOG_LEVEL", "loud"),
        ("services.metrics.rebuild", "METRICS_GRPC_MESSAGE_BYTES", "1"),
        ("sandbox", "SANDBOX_SEED", "x"),
    ],
)
async def test_a_wrong_variable_is_named_and_nothing_secret_told(program, wrong, value):
    service = wrong.partition("_")[0]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program),
        env=os.environ
        | {
            f"{service}_DATABASE_URL": f"postgresql://role:{SECRET}@localhost/db",
            f"{service}_INTERNAL_TOKEN": SECRET,
            wrong: value,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    code, out, err = await ended(process)

    assert (1, "") == (code, err)
    told = json.loads(out)
    assert (service.lower(), "stopped") == (told["service"], told["event"])
    assert told["reason"].startswith(f"{wrong}: ")
    assert SECRET not in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_asks_it_to_stop(number):
    process = await start("await stop.wait(); print('drained')")

    process.send_signal(number)

    assert (0, "drained\n", "") == await ended(process)


async def test_a_second_signal_does_not_wait_for_the_drain():
    process = await start(
        "await stop.wait(); print('draining', flush=True); await asyncio.sleep(60)"
    )
    process.send_signal(signal.SIGTERM)
    assert b"draining\n" == await process.stdout.readline()

    process.send_signal(signal.SIGTERM)

    assert (1, "", "") == await ended(process)


async def test_a_foreseen_failure_is_one_line():
    code, out, err = await ended(await start("raise Unavailable('the database is silent')"))

    assert (1, "") == (code, err)
    assert "the database is silent" == json.loads(out)["reason"]
    assert "Traceback" not in out


async def test_a_bug_is_logged_with_its_traceback():
    code, out, err = await ended(await start("1 / 0"))

    assert (1, "") == (code, err)
    assert "ZeroDivisionError" in json.loads(out)["exception"]


async def test_a_stray_task_that_fails_is_not_lost():
    body = "asyncio.get_running_loop().create_future().set_exception(KeyError('astray'))"
    code, out, _ = await ended(await start(body))

    assert 0 == code
    assert "astray" in json.loads(out)["exception"]
