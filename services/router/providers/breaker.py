"""
Which models are left alone for a while, because they or their provider failed again and again.

A model's breaker opens after consecutive failures and lets one call try it out when its rest is
over. A provider that refuses our key or our account rests as a whole. A rate limit is no failure:
the model rests as long as it asked for.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import structlog
from purgatory.domain.model import CLOSED, OPENED, ClosedState, Context, OpenedState

from services.router.domain.catalog import Model
from services.router.domain.provider_failure import (
    BREAKS,
    OUT_OF_RATE,
    PROVIDER_WIDE,
    Kind,
    ProviderFailure,
)
from services.router.providers.metrics import BREAKER, OUT_OF_ROTATION

FAILURES_TO_OPEN = 5
REST_S = 15.0  # an outage that ends is noticed within 30 s, by a trial that hangs for 10 s too
REFUSED_REST_S = 300.0  # a key or an account does not mend itself by the minute
LONGEST_RATE_REST_S = 60.0
PROBE_S = 60.0  # a trial that never reports back does not block the next one for ever

log = structlog.get_logger()


class Standing(NamedTuple):
    """How a model stands with us, for people to read."""

    state: Literal["closed", "open", "half_open"]
    left_s: float = 0  # of its rest, while it is open
    reason: Kind | None = None  # the failure that keeps it from being closed


class _Rest(NamedTuple):
    until: float
    reason: Kind


@dataclass(slots=True)
class _State:
    context: Context
    probing_until: float = 0
    resting_until: float = 0
    broken_by: Kind | None = None  # the last failure that counted


@dataclass(slots=True)
class Breakers:
    """
    Asked before each call, told after it.

    Args:
        failures_to_open: Consecutive failures of one model.
        rest_s: How long it is left alone then.
        now: A monotonic clock.
    """

    failures_to_open: int = FAILURES_TO_OPEN
    rest_s: float = REST_S
    now: Callable[[], float] = time.monotonic
    _models: dict[str, _State] = field(default_factory=dict)
    _providers: dict[str, _Rest] = field(default_factory=dict)

    def allows(self, model: Model) -> bool:
        """Return whether *model* may be called now. True for a trial is given to one call only."""
        now = self.now()
        state = self._state(model)
        provider = self._providers.get(model.provider)
        if (provider and now < provider.until) or now < state.resting_until:
            return False
        try:
            state.context.handle_new_request()
        except OpenedState:
            self._show(model, 2)
            return False
        if state.context.state == CLOSED:
            return True
        if now < state.probing_until:
            return False
        state.probing_until = now + PROBE_S
        self._show(model, 1)
        return True

    def trusts(self, model: Model) -> bool:
        """Return whether *model* is in use as ever: neither left alone nor being tried out."""
        return bool(self._state(model).context.state == CLOSED)

    def standing(self, model: Model) -> Standing:
        """Say how *model* stands. Looking changes nothing: the trial is left to a call."""
        now = self.now()
        state, provider = self._state(model), self._providers.get(model.provider)
        rests: list[tuple[float, Kind | None]] = [(state.resting_until - now, "rate_limited")]
        if provider:
            rests.append((provider.until - now, provider.reason))
        if state.context.state == OPENED:
            opened_at = state.context.opened_at or 0  # on time.time, as purgatory has it
            rests.append((opened_at + self.rest_s - time.time(), state.broken_by))
        left_s, reason = max(rests, key=lambda rest: rest[0])
        if left_s > 0:
            return Standing("open", left_s, reason)
        if state.context.state != CLOSED:
            return Standing("half_open", reason=state.broken_by)
        if provider:
            return Standing("half_open", reason=provider.reason)
        return Standing("closed")

    def succeeded(self, model: Model) -> None:
        state = self._state(model)
        was = state.context.state
        state.context.handle_end_request()
        if was == OPENED:  # it was asked all the same, for want of another
            state.context.set_state(ClosedState())
        self._after(model, state)
        if self._providers.pop(model.provider, None) is not None:
            OUT_OF_ROTATION.labels(model.provider).set(0)
            log.info("provider_back", provider=model.provider)
        if was != CLOSED:
            log.info("model_back", model=model.name)

    def failed(self, model: Model, failure: ProviderFailure) -> None:
        """Take note of a failure. One that is the caller's fault shows that the model works."""
        state = self._state(model)
        if failure.kind in PROVIDER_WIDE:
            self._rest_provider(model, failure)
        if failure.kind in OUT_OF_RATE:
            asked = failure.retry_after_s or 0
            state.resting_until = self.now() + min(asked, LONGEST_RATE_REST_S)
        if failure.kind in BREAKS:
            was = state.context.state
            state.broken_by = failure.kind
            state.context.handle_exception(failure)
            if was != state.context.state:
                log.warning("model_left_alone", model=model.name, kind=failure.kind)
        elif failure.caller_fault:
            state.context.handle_end_request()
        self._after(model, state)

    def undecided(self, model: Model) -> None:
        """Take note of a call that ended without saying anything about the model."""
        self._after(model, self._state(model))

    def _rest_provider(self, model: Model, failure: ProviderFailure) -> None:
        self._providers[model.provider] = _Rest(self.now() + REFUSED_REST_S, failure.kind)
        OUT_OF_ROTATION.labels(model.provider).set(1)
        log.error(
            "provider_out_of_rotation",
            provider=model.provider,
            kind=failure.kind,
            rest_s=REFUSED_REST_S,
            what_to_do="check its key and its account",
        )

    def _after(self, model: Model, state: _State) -> None:
        state.probing_until = 0
        state.context.messages.clear()  # nobody listens on purgatory's bus
        self._show(model, 0 if state.context.state == CLOSED else 2)

    def _state(self, model: Model) -> _State:
        if model.name not in self._models:
            context = Context(model.name, threshold=self.failures_to_open, ttl=self.rest_s)
            self._models[model.name] = _State(context)
        return self._models[model.name]

    def _show(self, model: Model, state: int) -> None:
        BREAKER.labels(model.provider, model.name).set(state)
