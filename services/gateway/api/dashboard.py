"""The live page: a few files that were there at the start, and no other."""

import gzip
import hashlib
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Receive, Scope, Send

FOLDER = Path(__file__).parents[1] / "dashboard" / "dist"
INDEX = "index.html"
_POLICY = (  # 'self' covers the live socket too: a browser takes ws: for http: of the same address
    b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none';"
    b" frame-ancestors 'none'"
)
_FRESH = b"no-cache"  # asked for anew each time, and answered in a line if it is the same
_FOREVER = b"public, max-age=31536000, immutable"  # the hash is in the name
_NOT_BUILT = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>AI cost optimizer</title>
<main><h1>The gateway runs; its page is not built</h1>
<p><code>make dashboard</code> builds it. Start the gateway again afterwards.</p></main></html>
"""
_SQUEEZED = frozenset({".css", ".html", ".js", ".svg"})


@dataclass(frozen=True, slots=True)
class _Body:
    content: bytes
    headers: tuple[tuple[bytes, bytes], ...]


class PageFile:
    """One file of the page, as plain ASGI; read once."""

    def __init__(self, route_path: str, name: str, content: bytes) -> None:
        self.route_path = route_path
        suffix = Path(name).suffix
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        self._etag = b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()
        self._common = (
            (b"etag", self._etag),
            (b"cache-control", _FOREVER if route_path.startswith("/assets/") else _FRESH),
            (b"vary", b"accept-encoding"),
            (b"content-security-policy", _POLICY),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        )
        described = (*self._common, (b"content-type", kind.encode()))
        self._plain = _Body(content, (*described, _length(content)))
        self._squeezed = self._plain
        if suffix in _SQUEEZED:
            squeezed = gzip.compress(content, mtime=0)
            self._squeezed = _Body(
                squeezed, (*described, (b"content-encoding", b"gzip"), _length(squeezed))
            )

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        given: Mapping[bytes, bytes] = dict(scope["headers"])
        if self._etag in given.get(b"if-none-match", b""):
            await _send(send, 304, self._common, b"")
            return
        gzips = b"gzip" in given.get(b"accept-encoding", b"").lower()
        body = self._squeezed if gzips else self._plain
        content = b"" if scope["method"] == "HEAD" else body.content
        await _send(send, 200, body.headers, content)


def page_files(folder: Path = FOLDER) -> list[PageFile]:
    """
    Read the page. What is not listed now is never served, so no address can lead elsewhere.

    Without a build there is one file, which says how to build it.
    """
    index = folder / INDEX
    if not index.is_file():
        return [PageFile("/", INDEX, _NOT_BUILT)]
    return [PageFile("/", INDEX, index.read_bytes()), *_assets(folder / "assets")]


def _assets(folder: Path) -> Iterator[PageFile]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            yield PageFile(f"/assets/{path.name}", path.name, path.read_bytes())


def _length(content: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(content)


async def _send(
    send: Send, status: int, headers: tuple[tuple[bytes, bytes], ...], content: bytes
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": content})
