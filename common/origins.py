"""Who may speak to us without a key: programs on this machine, but no web page of others. Pure."""

import ipaddress
from collections.abc import Collection, Mapping

LOOPBACK = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
_OWN_FETCHES = frozenset({b"same-origin", b"none"})  # none: typed into the address bar


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback_host(host: bytes) -> bool:
    """Tell whether a Host header names this machine, with or without a number behind it."""
    name, colon, number = host.lower().rpartition(b":")
    if colon and number.isdigit():
        return name in LOOPBACK
    return host.lower() in LOOPBACK


def is_foreign_page(
    headers: Mapping[bytes, bytes], *, allowed: Collection[str] = frozenset()
) -> bool:
    """
    Tell whether a web page that is neither ours nor allowed is asking, on a plain HTTP listener.

    A page that was rebound to a loopback address has a foreign Host and is refused for that;
    one that asks from its own site, be it another port of this machine, has a foreign Origin; one
    that embeds us as an image sends no Origin but says so in Sec-Fetch-Site. Following a link
    (navigate) is fine.

    Args:
        headers: By lower-case name.
        allowed: Origins of others that may ask, such as "http://localhost:3000".
    """
    if b"origin" in headers:
        return not is_own_page(headers, allowed=allowed, schemes=("http",))
    return (
        headers.get(b"sec-fetch-site", b"none") not in _OWN_FETCHES
        and headers.get(b"sec-fetch-mode") != b"navigate"
    )


def is_own_page(
    headers: Mapping[bytes, bytes],
    *,
    allowed: Collection[str],
    schemes: Collection[str] = ("http", "https"),
) -> bool:
    """
    Tell whether the asking page, if a page asks, came from this very address or is allowed.

    Args:
        headers: By lower-case name.
        allowed: Origins of others that may ask.
        schemes: Of our own pages; behind a proxy that ends TLS it may be either.
    """
    origin = headers.get(b"origin")
    if origin is None:
        return True
    text = origin.decode("latin-1").lower()
    host = headers.get(b"host", b"").decode("latin-1").lower()
    return text in allowed or (host != "" and text in {f"{scheme}://{host}" for scheme in schemes})
