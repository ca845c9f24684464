"""Generates `protos/gen` from the contracts; `make check` compares with a fresh folder."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "protos/gen"


def generate(out: Path) -> None:
    """Write the Python code and the type stubs of every contract into *out*."""
    out.mkdir(parents=True, exist_ok=True)
    contracts = sorted(
        str(path.relative_to(ROOT)) for path in ROOT.glob("protos/optimizer/**/*.proto")
    )
    plugins = Path(sys.executable).parent  # protoc looks for protoc-gen-mypy on the PATH
    done = subprocess.run(  # noqa: S603 - our own files, our own interpreter
        [
            sys.executable,
            *("-m", "grpc_tools.protoc", "--proto_path=protos"),
            *(f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")),
            *contracts,
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PATH": f"{plugins}{os.pathsep}{os.environ.get('PATH', '')}"},
    )
    if done.returncode:  # the plugins chat on stderr: heard only when it matters
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    for old in COMMITTED.rglob("*_pb2*.py*"):
        old.unlink()
    generate(COMMITTED)
