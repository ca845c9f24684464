"""Fails when something generated no longer matches what it is generated from. Needs no network."""

import filecmp
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts import env_example, protos

ROOT = Path(__file__).parents[1]


def stale_protos() -> Iterator[str]:
    """Generate the contracts anew and name every file that differs."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        protos.generate(fresh)
        expected = {path.relative_to(fresh) for path in fresh.rglob("*.py*")}
        committed = {
            path.relative_to(protos.COMMITTED) for path in protos.COMMITTED.rglob("*_pb2*.py*")
        }
        for path in sorted(expected | committed):
            if path.suffix == ".pyc":
                continue
            both = path in expected and path in committed
            if not both or not filecmp.cmp(fresh / path, protos.COMMITTED / path, shallow=False):
                yield f"protos/gen/{path} is stale: run `make proto`"


def stale_lock(project: str, lock: str) -> Iterator[str]:
    """Name every requirement of *project* (pyproject.toml) that *lock* does not satisfy."""
    pins: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock, re.MULTILINE):
        pins.setdefault(canonicalize_name(name), []).append(Version(version))
    table = tomllib.loads(project)["project"]
    wanted = [table["dependencies"], *table["optional-dependencies"].values()]
    for text in (text for texts in wanted for text in texts):
        requirement = Requirement(text)
        if canonicalize_name(requirement.name) == canonicalize_name(table["name"]):
            continue  # the dev extra asks for the other extras
        versions = pins.get(canonicalize_name(requirement.name), [])
        if not any(version in requirement.specifier for version in versions):
            yield f"requirements.lock does not satisfy `{text}`: run `make lock`"


def stale_env_example() -> Iterator[str]:
    """Compare .env.example and the containers' environment with the settings classes."""
    if env_example.TARGET.read_text() != env_example.render():
        yield ".env.example is stale: run `make env-example`"
    text = env_example.COMPOSE.read_text()
    if text != env_example.compose(text):
        yield "docker-compose.yml passes on stale settings: run `make env-example`"


def main() -> int:
    """Report everything stale at once."""
    problems = [
        *stale_protos(),
        *stale_lock(
            (ROOT / "pyproject.toml").read_text(), (ROOT / "requirements.lock").read_text()
        ),
        *stale_env_example(),
    ]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
