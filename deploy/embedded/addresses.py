"""Which address each process listens on: checked before anything starts, picked when 0."""

import errno
import socket
from collections.abc import Mapping

from deploy.embedded.refusal import Refusal


def claim(listens: Mapping[str, str]) -> dict[str, str]:
    """
    Check that every address can be listened on, and give each port 0 a free port.

    Args:
        listens: Address by the variable that sets it, `host:port`.

    Raises:
        Refusal: an address is malformed, taken or given twice; names the variable to change.
    """
    held: list[socket.socket] = []
    claimed: dict[str, str] = {}
    try:
        for variable, listen in listens.items():
            taken = _listen(variable, listen, claimed)
            held.append(taken)
            claimed[variable] = f"{listen.rpartition(':')[0]}:{taken.getsockname()[1]}"
    finally:
        for one in held:  # all held until the last is found, so that no two get the same
            one.close()
    return claimed


def url(listen: str) -> str:
    """Return where a client on this machine reaches *listen*."""
    host, _, port = listen.rpartition(":")
    return f"http://{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"


def _listen(variable: str, listen: str, claimed: Mapping[str, str]) -> socket.socket:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  the last port
        raise Refusal(f"{variable} must be host:port, for example 127.0.0.1:8000, not {listen!r}")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
    try:
        one.bind((host.strip("[]"), int(port)))
        one.listen(1)
    except (OSError, OverflowError) as error:
        one.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            twice = next((name for name, other in claimed.items() if other == listen), None)
            by = f"{twice} has it too" if twice else "another program listens there"
            raise Refusal(
                f"{variable}: {listen} is taken ({by}); set {variable} to a free address"
            ) from None
        raise Refusal(f"{variable}: cannot listen on {listen}: {error}") from None
    return one
