"""The page's own rules: pinned, short, small, and never reading markup."""

import gzip
import json
import re

import pytest

from services.gateway.api.dashboard import FOLDER

PAGE = FOLDER.parent
SOURCES = sorted([*PAGE.glob("src/**/*.ts"), *PAGE.glob("src/**/*.css")])
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|srcdoc")
LONGEST_FILE = 400  # lines
LARGEST = 150_000  # bytes, squeezed


def test_there_are_sources():
    assert SOURCES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_file_can_be_read_in_one_sitting_and_sets_text_as_text(path):
    text = path.read_text()

    assert LONGEST_FILE > text.count("\n")
    assert [] == MARKUP.findall(text)


def test_everything_is_pinned_and_no_registry_is_named():
    wanted = json.loads((PAGE / "package.json").read_text())
    lock = json.loads((PAGE / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}

    for version in (wanted["dependencies"] | wanted["devDependencies"]).values():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert [] == [name for name, one in packages.items() if "resolved" in one]
    assert [] == [name for name, one in packages.items() if "integrity" not in one]


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the page is not built: make dashboard")
def test_it_is_small():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]

    assert LARGEST > sum(len(gzip.compress(path.read_bytes())) for path in files)
