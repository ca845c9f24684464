"""`make run` as its user meets it: one command, one terminal, nothing left behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deploy.embedded.environment import of_system

ANY_PORT = "127.0.0.1:0"
LISTENS = (
    *("GATEWAY_LISTEN", "SANDBOX_LISTEN", "GATEWAY_OPERATIONS_LISTEN", "ROUTER_OPERATIONS_LISTEN"),
    *("EXPERIMENTS_OPERATIONS_LISTEN", "METRICS_OPERATIONS_LISTEN"),
)
START_S = 90


class Run:
    """`python -m deploy.embedded` in a folder of the user's, with a space in its name."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.embedded"],
            cwd=folder,
            env={
                **of_system(os.environ),
                **dict.fromkeys(LISTENS, ANY_PORT),
                "SANDBOX_LATENCY_SCALE": "0",
                **variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches; the test's timeout ends a silence."""
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no {pattern!r} in:\n" + "\n".join(self.lines[-40:]))

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    runs = []

    def start(**variables):
        runs.append(Run(folder, **variables))
        return runs[-1]

    yield start
    for one in runs:
        one.end()


def test_one_command_answers_and_ctrl_c_leaves_nothing_behind(run):
    started = run()
    url = started.until(r"^ready: (http://127\.0\.0\.1:\d+)$")[1]
    family = started.family()
    modules = modules_of(family)

    answer = ask(url, "/complete", {"prompt": "What is 2 + 2?"})
    again = run()
    refusal = again.process.communicate()[0]
    started.process.send_signal(signal.SIGINT)
    rest, _ = started.process.communicate(timeout=30)

    assert answer["model"].startswith("sandbox/")
    assert {
        "services.gateway",
        "services.router",
        "services.experiments",
        "services.metrics",
        "sandbox",
    } == modules
    assert f"another instance (pid {started.process.pid})" in refusal
    assert 1 == again.process.returncode
    assert 0 == started.process.returncode, rest
    assert [] == still_there(family, within_s=1)


def test_when_the_supervisor_is_killed_its_children_go_and_the_next_start_finds_the_data(run):
    killed = run()
    url = killed.until(r"^ready: (http\S+)")[1]
    ask(url, "/complete", {"prompt": "Name three rivers."})
    family = killed.family()

    killed.process.send_signal(signal.SIGKILL)
    left = still_there(family, within_s=15)
    second = run()
    url = second.until(r"^ready: (http\S+)")[1]

    assert [] == left
    assert eventually(lambda: 1 == ask(url, "/routing/metrics")["total_decisions"], within_s=20)


def test_a_port_that_is_taken_is_refused_before_anything_starts(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        started = time.monotonic()
        refused = run(GATEWAY_LISTEN=taken)
        said = refused.process.communicate(timeout=30)[0]

    assert 1 == refused.process.returncode
    assert f"refused: GATEWAY_LISTEN: {taken} is taken" in said
    assert "Traceback" not in said
    assert not (tmp_path / "a folder/.data/postgres").exists()
    assert time.monotonic() - started < 10


def test_data_of_another_postgres_is_refused_and_left_alone(run, tmp_path):
    cluster = tmp_path / "a folder/.data/postgres/cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("12\n")
    (cluster.parent / "passwords.json").write_text("{}")

    refused = run()
    said = refused.process.communicate(timeout=30)[0]

    assert 1 == refused.process.returncode
    assert "made by Postgres 12" in said
    assert "Traceback" not in said
    assert ["PG_VERSION"] == [path.name for path in cluster.iterdir()]


def test_a_setting_that_a_service_refuses_is_told_with_its_own_words(run):
    refused = run(ROUTER_CATALOG_PATH="no-such-catalog.yaml")
    said = refused.process.communicate(timeout=START_S)[0]

    assert 1 == refused.process.returncode
    assert re.search(r"refused: router did not start \(exit code 1\); its last lines:", said)
    assert "no-such-catalog.yaml" in said


def ask(url, path, body=None):
    request = urllib.request.Request(  # noqa: S310
        url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return json.load(answer)


def eventually(condition, *, within_s):
    deadline = time.monotonic() + within_s
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def modules_of(family):
    lines = []
    for process in family:
        with suppress(psutil.NoSuchProcess):  # a connection's process may have ended meanwhile
            lines.append(process.cmdline())
    return {line[line.index("-m") + 1] for line in lines if "-m" in line}


def still_there(family, *, within_s):
    _, alive = psutil.wait_procs(family, timeout=within_s)
    return alive
