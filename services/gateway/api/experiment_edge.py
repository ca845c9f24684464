"""What all routes of experiments share: which one, who asks, and what failures mean here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Path, Request

from common.errors import Invalid, NotFound
from services.gateway.api.context import caller_of
from services.gateway.domain.options import MAX_ID

ExperimentId = Annotated[int, Path(ge=1, le=MAX_ID)]


def by(request: Request) -> str:
    return caller_of(request.scope).tenant


@contextmanager
def as_missing_experiment(experiment_id: int | None = None) -> Iterator[None]:
    """Whatever the experiments service does not find is the experiment: 404, by its code."""
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
