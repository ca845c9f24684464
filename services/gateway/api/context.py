"""What every handler may know of its request, put into the scope once at the edge."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optimizer.router.v1 import router_pb2
from starlette.types import Scope

KEY = "optimizer.context"


@dataclass(frozen=True, slots=True)
class Caller:
    tenant: str  # scopes the cache and the spend
    everyone: bool  # open mode: "today" is the sum over all tenants


@dataclass(slots=True)
class Context:
    request_id: str  # UUIDv7, the ledger's id of the request
    headers: Mapping[bytes, bytes]  # by lower-case name; of equal names the last
    openai: bool  # the route speaks the OpenAI wire format
    caller: Caller | None = None  # None: an open route
    began: float = field(default_factory=time.perf_counter)
    outcome: router_pb2.Outcome | None = None  # of a completion that was answered
    streamed: bool = False
    broke: bool = False  # it failed after the status had left


def context_of(scope: Scope) -> Context:
    context: Context = scope[KEY]
    return context


def caller_of(scope: Scope) -> Caller:
    caller = context_of(scope).caller
    if caller is None:
        raise RuntimeError("a handler needs a caller on a route that is open to all")
    return caller


def is_openai(scope: Scope) -> bool:
    path: Any = scope.get("path", "")
    return bool(path == "/v1" or path.startswith("/v1/"))
