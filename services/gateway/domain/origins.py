"""Who may speak to a gateway without a key: programs on this machine, but no web page."""

from collections.abc import Mapping
from urllib.parse import urlsplit

LOOPBACK = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})


def is_loopback_host(host: bytes) -> bool:
    """Tell whether a Host header names this machine, with or without a number behind it."""
    name, colon, number = host.lower().rpartition(b":")
    if colon and number.isdigit():
        return name in LOOPBACK
    return host.lower() in LOOPBACK


def is_foreign_page(headers: Mapping[bytes, bytes]) -> bool:
    """
    Tell whether a web page of another site is asking.

    A page that was rebound to a loopback address has a foreign Host and is refused for that;
    one that asks from its own site has a foreign Origin; one that embeds us as an image sends
    no Origin but says so in Sec-Fetch-Site. Following a link (navigate) is fine.
    """
    origin = headers.get(b"origin")
    if origin is not None and not _is_loopback_origin(origin):
        return True
    return (
        headers.get(b"sec-fetch-site") == b"cross-site"
        and headers.get(b"sec-fetch-mode") != b"navigate"
    )


def is_own_page(headers: Mapping[bytes, bytes], allowed: frozenset[str]) -> bool:
    """Tell whether the asking page, if a page asks, is our own or one the operator allows."""
    origin = headers.get(b"origin")
    if origin is None:
        return True
    text = origin.decode("latin-1")
    host = text.partition("://")[2].encode("latin-1")
    return text in allowed or (host != b"" and host == headers.get(b"host"))


def _is_loopback_origin(origin: bytes) -> bool:
    try:
        parts = urlsplit(origin.decode("ascii"))
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and is_loopback_host(parts.netloc.encode())
