"""What all routes of experiments share: who asks, and what failures mean here."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import Request

from common.errors import Invalid, NotFound
from services.gateway.api.context import caller_of


def by(request: Request) -> str:
    return caller_of(request.scope).tenant


@contextmanager
def known(experiment_id: int | None = None) -> Iterator[None]:
    name = "Experiment" if experiment_id is None else f"Experiment {experiment_id}"
    try:
        yield
    except NotFound as failure:
        raise NotFound(f"{name} not found", code="experiment_not_found") from failure


@contextmanager
def as_bounds() -> Iterator[None]:
    """Whatever the experiments service refuses is a bound: 422."""
    try:
        yield
    except Invalid as failure:
        failure.param = failure.param or "body"
        raise
