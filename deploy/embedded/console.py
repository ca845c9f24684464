"""What the terminal shows: each process's lines behind its name, JSON told in words."""

import contextlib
import json
import os
import sys
from typing import TextIO

WIDTH = 11
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
TOLD_ALREADY = ("event", "level", "timestamp", "service")


class Console:
    """Colours on a terminal only, and not where NO_COLOR asks for none."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._colour = not os.environ.get("NO_COLOR") and self._out.isatty()
        self._seen: dict[str, int] = {}

    def say(self, name: str, line: str) -> None:
        """Write one line of process *name*."""
        prefix = f"{name:<{WIDTH}} | "
        if self._colour:
            number = self._seen.setdefault(name, len(self._seen))
            prefix = f"\033[{COLOURS[number % len(COLOURS)]}m{prefix}\033[0m"
        self.write(prefix + in_words(line))

    def write(self, text: str) -> None:
        """Write *text* as it is. Nobody reading us is no reason to fail."""
        with contextlib.suppress(OSError, ValueError):
            print(text, file=self._out, flush=True)


def in_words(line: str) -> str:
    """Tell a JSON log line as `level: event name=value`; leave any other as it is."""
    if not line.startswith("{"):
        return line
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict) or "event" not in record:
        return line
    rest = " ".join(f"{k}={_shown(v)}" for k, v in record.items() if k not in TOLD_ALREADY)
    level = str(record.get("level", "info"))
    return f"{level}: {record['event']}" + (f"  {rest}" if rest else "")


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value if value and not set(value) & set(" =") else json.dumps(value)
    return json.dumps(value, default=str)
