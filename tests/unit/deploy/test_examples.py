"""What `make run` prints when it is ready can be copied as it stands."""

import re
import shlex
from pathlib import Path

import pytest

from deploy.embedded.examples import examples, is_keyed


@pytest.mark.parametrize("keyed", [False, True])
def test_each_line_to_copy_is_one_command_of_the_shell(keyed):
    text = examples("http://127.0.0.1:8000", Path(".data"), keyed=keyed)
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("  ")]
    python = next(words for words in commands if words[0].endswith("python"))

    assert "ready: http://127.0.0.1:8000" in text.splitlines()
    assert (["export"] if keyed else []) + ["curl", ".venv/bin/python", "curl"] == [
        words[0] for words in commands
    ]
    compile(python[2], "the example", "exec")
    assert keyed == ("GATEWAY_ADMIN_KEY" in text)
    assert 2 * keyed == len(re.findall(r"Bearer \$GATEWAY_ADMIN_KEY", text))


def test_an_empty_key_is_none():
    assert not is_keyed({"GATEWAY_ADMIN_KEY": ""})
    assert is_keyed({"GATEWAY_ADMIN_KEY": "x"})
