"""Running a service: how it starts, how it is stopped, what it says when it dies."""

import asyncio
import json
import signal
import sys

import pytest

PROGRAM = """
import asyncio
from common.errors import Unavailable
from common.logs import setup_logs
from common.service import run

setup_logs("test", "info")

async def main(stop):
    print("up", type(asyncio.get_running_loop()).__module__, flush=True)
    {body}

run(main)
"""


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
