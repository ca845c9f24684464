"""Who is asking? One admin key for now; without it, only programs on this machine."""

import hashlib
import hmac
from collections.abc import Collection

from pydantic import SecretStr

from common.errors import Denied, Unauthenticated
from common.origins import is_foreign_page, is_loopback_host
from services.gateway.api.context import Caller, Context

OPEN_PATHS = frozenset({"/health", "/livez", "/readyz"})
ANONYMOUS = Caller(tenant="anonymous", everyone=True)
ADMIN = Caller(tenant="admin", everyone=False)


class Gate:
    """
    Lets callers in. Keys are compared as hashes, in constant time.

    Args:
        admin_key: None: whoever is on this machine may ask.
        allowed_origins: Of pages of others that may ask without keys.
        open_paths: What is open to all besides the probes: the page, which asks for the key itself.
    """

    def __init__(
        self,
        admin_key: SecretStr | None,
        *,
        allowed_origins: Collection[str] = frozenset(),
        open_paths: Collection[str] = frozenset(),
    ) -> None:
        self._admin = _hash(admin_key.get_secret_value().encode()) if admin_key else None
        self._allowed_origins = allowed_origins
        self._open_paths = OPEN_PATHS | set(open_paths)

    def admit(self, context: Context, path: str) -> Caller | None:
        """
        Say who is asking; None on a route that is open to all.

        Raises:
            Unauthenticated: the key is missing or wrong.
            Denied: without keys, a web page or another machine's name for us is at work.
        """
        key = _key(context)
        if self._admin is None:
            self._check_local(context)
            return ANONYMOUS
        if path in self._open_paths:
            return None
        if key is None:
            raise Unauthenticated(
                "No key was given: send `Authorization: Bearer <key>` or `x-api-key: <key>`.",
                code="missing_api_key",
            )
        if not hmac.compare_digest(_hash(key), self._admin):
            raise Unauthenticated("This key is not valid.")
        return ADMIN

    def _check_local(self, context: Context) -> None:
        if not is_loopback_host(context.headers.get(b"host", b"")):
            raise Denied(
                "Without keys the gateway answers to localhost, 127.0.0.1 and [::1] only:"
                " use one of these in the URL, or set GATEWAY_ADMIN_KEY.",
                code="foreign_host",
            )
        if is_foreign_page(context.headers, allowed=self._allowed_origins):
            raise Denied(
                "Without keys the gateway does not answer to web pages of other addresses:"
                " name those that may ask in GATEWAY_ALLOWED_ORIGINS.",
                code="foreign_origin",
            )


def _key(context: Context) -> bytes | None:
    authorization = context.headers.get(b"authorization", b"")
    other = context.headers.get(b"x-api-key")
    if not authorization.isascii() or not (other or b"").isascii():
        raise Unauthenticated("A key has ASCII characters only.")
    scheme, _, key = authorization.partition(b" ")
    if scheme.lower() == b"bearer" and key.strip():
        return key.strip()
    return other or None


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
