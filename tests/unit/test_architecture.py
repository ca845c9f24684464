"""The walls of the house, read off the imports: every rule with a case that breaks it."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("common", "services", "sandbox", "deploy", "scripts", "tests")
LONGEST_FILE = 400  # lines
IMAGES = {"deploy/Dockerfile"}  # the folders in a container are nobody's machine
PURE = {"numpy", "scipy", "common.errors", "common.money"}
STANDARD = sys.stdlib_module_names

# /tmp, /etc, /proc are everybody's.
MACHINE_PATH = re.compile(r"(?<![\w.:/<{}$~-])/(?:home|Users|root|work)/[\w.]")


def imported(source):
    """List the modules a source imports, as dotted names."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                names.append("a relative import")
            else:
                names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def service_of(path):
    parts = path.split("/")
    return f"services.{parts[1]}" if parts[0] == "services" and len(parts) > 2 else None


def complaint(path, name):
    """Say what is wrong about the file at *path* importing *name*; None: nothing."""
    if name == "a relative import":
        return "an import is written in full"
    if re.match(r"(services\.\w+|sandbox|deploy\.\w+)\.__main__\b", name):
        return None if path.split("/")[0] in {"tests", "scripts"} else "__main__ knows all, unknown"
    return _about_pure(path, name) or _about_others(path, name) or _about_rooms(path, name)


def _about_pure(path, name):
    if not re.match(r"services/\w+/domain/", path):
        return None
    allowed = (*PURE, f"{service_of(path)}.domain")
    if name.split(".")[0] in STANDARD or any(within(name, one) for one in allowed):
        return None
    return "domain/ is pure"


STRANGERS = {  # what each folder of the repository does not know
    "common": ("services", "sandbox", "deploy", "scripts", "tests"),
    "sandbox": ("services", "optimizer", "deploy", "scripts", "tests"),
    "services": ("sandbox", "deploy", "scripts", "tests"),
    "deploy": ("services", "sandbox", "scripts", "tests"),
    "scripts": ("tests",),
}


def _about_others(path, name):
    top, own = path.split("/")[0], service_of(path)
    if any(within(name, stranger) for stranger in STRANGERS.get(top, ())):
        return f"{top}/ does not know {name.split('.')[0]}/"
    if own and within(name, "services") and not within(name, own):
        return "no service knows another"
    return None


# Imports point inward: the face, the story, the rooms with I/O side by side, the domain.
FACE, STORY, IO, DOMAIN = 3, 2, 1, 0
DEPTHS = {"servicer": FACE, "api": FACE, "app": FACE, "domain": DOMAIN}
DEPTHS |= dict.fromkeys(("store", "providers", "clients"), IO)


def _about_rooms(path, name):
    own = service_of(path)
    if own is None or not within(name, own) or path.endswith("/__main__.py"):
        return None
    room = path.split("/")[2].removesuffix(".py")
    other = [*name.split("."), ""][2]
    depth, other_depth = DEPTHS.get(room, STORY), DEPTHS.get(other, STORY)
    if other and other_depth > depth:
        return "imports point inward"
    if depth == other_depth == IO and room != other:
        return f"{room}/ and {other}/ meet in the story only"
    return None


@cache
def listed():
    """List the files of the repository, those included that are about to be added."""
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return sorted(path for path in set(found) if path and (ROOT / path).is_file())


def is_text(path):
    return b"\0" not in (ROOT / path).read_bytes()


@cache
def text_of(path):
    return (ROOT / path).read_text("utf-8")


def sources():
    """List our own Python files."""
    return [path for path in listed() if path.endswith(".py") and path.split("/")[0] in ROOMS]


def files():
    """List every text file that is ours, generated code aside."""
    return [path for path in listed() if not path.startswith("protos/gen/") and is_text(path)]


def test_imports_keep_to_the_walls():
    complaints = [
        f"{path}: {name}: {wrong}"
        for path in sources()
        for name in imported(text_of(path))
        if (wrong := complaint(path, name))
    ]

    assert [] == complaints


def test_every_room_is_looked_at():
    assert set(ROOMS) == {path.split("/")[0] for path in sources()}


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("services/router/domain/cost.py", "import asyncpg", "domain/ is pure"),
        ("services/router/domain/cost.py", "import os, orjson", "domain/ is pure"),
        ("services/router/domain/cost.py", "from common import logs", "domain/ is pure"),
        ("services/router/domain/cost.py", "from common.postgres import x", "domain/ is pure"),
        ("services/router/domain/a.py", "from services.router.store import b", "domain/ is pure"),
        ("services/router/domain/a.py", "def f():\n  import redis", "domain/ is pure"),
        ("services/router/usecases.py", "import services.metrics.live", "no service knows another"),
        ("services/router/__main__.py", "from services import metrics", "no service knows another"),
        ("common/cache.py", "from services.router import sent", "common/ does not know services/"),
        ("common/cache.py", "import tests.fakes", "common/ does not know tests/"),
        ("sandbox/app.py", "from services.x import y", "sandbox/ does not know services/"),
        ("sandbox/app.py", "from optimizer.router import v1", "sandbox/ does not know optimizer/"),
        ("services/x/usecases.py", "import deploy.embedded", "services/ does not know deploy/"),
        ("services/x/store/y.py", "from services.x.usecases import Z", "imports point inward"),
        ("services/x/usecases.py", "from services.x.servicer import Z", "imports point inward"),
        ("services/x/usecases.py", "from services.x.api.y import Z", "imports point inward"),
        (
            "services/x/store/y.py",
            "from services.x.providers.z import Q",
            "store/ and providers/ meet in the story only",
        ),
        (
            "services/x/app.py",
            "from services.x.__main__ import build",
            "__main__ knows all, unknown",
        ),
        ("common/cache.py", "from . import logs", "an import is written in full"),
    ],
)
def test_an_import_through_a_wall_is_found(path, source, expected):
    assert expected in {complaint(path, name) for name in imported(source)}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/router/domain/cost.py", "import math\nfrom common.money import usd"),
        ("services/router/domain/a.py", "from services.router.domain.b import C"),
        ("services/router/__main__.py", "from services.router.servicer import RouterServicer"),
        ("services/router/servicer.py", "from services.router.usecases import Routing"),
        ("services/router/usecases.py", "from services.router.store.ledger import Ledger"),
        ("services/router/store/a.py", "from services.router.store.b import C"),
        ("tests/e2e/test_a.py", "from services.router.__main__ import build"),
        ("sandbox/app.py", "from common.money import cost_nano_usd"),
    ],
)
def test_an_import_inside_the_walls_is_none_of_our_business(path, source):
    assert {None} == {complaint(path, name) for name in imported(source)}


def too_long(text):
    return text.count("\n") >= LONGEST_FILE


def test_every_file_can_be_read_in_one_sitting():
    assert [] == [path for path in sources() if too_long(text_of(path))]


def test_a_file_that_is_too_long_is_found():
    assert [False, True] == [too_long("x\n" * 399), too_long("x\n" * 400)]


def test_no_file_knows_somebodys_machine():
    known = [path for path in files() if MACHINE_PATH.search(text_of(path))]

    assert [] == [path for path in known if path not in IMAGES]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("open('/" + "home/ada/project/x')", True),
        ("cd /" + "work/main", True),
        ("path = /" + "Users/ada/x", True),
        ("/" + "root/.cache/pip", True),
        ("/tmp/x, /etc/passwd, /proc/1/stat", False),
        ("see docs/work/main and https://example.com/" + "home/page", False),
    ],
)
def test_a_path_on_somebodys_machine_is_found(text, found):
    assert found == bool(MACHINE_PATH.search(text))
