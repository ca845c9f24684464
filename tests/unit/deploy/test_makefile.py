"""`make` alone says what it can do, and every verb that people and CI use is there."""

import re
import shutil
import subprocess

from scripts.env_example import ROOT

VERBS = {
    *("run", "setup", "fmt", "check", "test", "test-integration", "e2e", "proto", "env", "up"),
    *("down", "logs", "psql", "demo", "bench", "release", "dashboard", "screenshots"),
}


def test_make_alone_lists_every_verb_with_a_line_of_help():
    said = subprocess.run(  # noqa: S603
        [shutil.which("make")], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
    ).stdout
    listed = dict(re.findall(r"^  ([a-z0-9-]+) +(\S.*)$", said, re.MULTILINE))

    assert set(listed) >= VERBS
    assert re.findall(r"^([a-z][a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE) == [
        "help",
        *(verb for verb in listed if verb != "help"),
    ]


def test_ci_and_pre_commit_run_these_verbs_and_nothing_else():
    ci = re.findall(r"^make (\S+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()

    assert ["check", "test", "e2e"] == ci
    assert ["make check"] == re.findall(r"entry: (.*)", hooks)
    assert "repo: local" in hooks
    assert 1 == hooks.count("repo:")
