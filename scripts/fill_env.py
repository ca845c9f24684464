"""
Writes .env from .env.example with fresh secrets, once; an existing .env stays as it is.

It runs before anything is installed, on any Python 3, so it needs the standard library only.
"""

import os
import re
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
EMPTY_SECRET = re.compile(r"^(\w+(?:PASSWORD|TOKEN|ADMIN_KEY))=$", re.MULTILINE)


def filled(example: str) -> str:
    """Give every empty secret of ours a random value; others' (provider keys) stay empty."""
    return EMPTY_SECRET.sub(lambda match: f"{match[1]}={secrets.token_hex(24)}", example)


def main() -> None:
    """Create .env for its owner only."""
    target = ROOT / ".env"
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "w") as out:
        out.write(filled((ROOT / ".env.example").read_text()))
    print(".env: written, with fresh secrets; add provider keys there", file=sys.stderr)


if __name__ == "__main__":
    main()
