"""What was tried for a request, and which failure that amounts to when nothing answered. Pure."""

import re
from dataclasses import dataclass, field

from common.errors import AllFailed, Failure, Invalid, OverBudget, TimedOut
from services.router.domain.catalog import Model
from services.router.domain.provider_failure import OUT_OF_RATE, ProviderFailure

_CODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
UNKNOWN_WAIT_S = 5.0  # what a caller is told when no provider said how long


@dataclass(slots=True)
class Tried:
    failures: list[tuple[Model, ProviderFailure]] = field(default_factory=list)
    resting: list[Model] = field(default_factory=list)  # not asked: they failed too often lately
    inexpressible: list[Invalid] = field(default_factory=list)  # their wire has no words for it

    def add(self, model: Model, failure: ProviderFailure) -> None:
        self.failures.append((model, failure))

    @property
    def billed(self) -> bool:
        """Whether anybody may have been paid: then the caller's retry may pay twice."""
        return any(f.maybe_billed or f.doubtful or f.usage is not None for _, f in self.failures)

    @property
    def accepted(self) -> bool:
        """Whether somebody took the request as it is, and began to answer it."""
        return any(f.kind == "truncated" for _, f in self.failures)

    def fallbacks(self, answered: Model) -> int:
        """Count the other models that failed before *answered* did not."""
        return len({m.name for m, _ in self.failures} - {answered.name})

    def too_small(self, model: Model) -> bool:
        """Return whether a context at least as large was found too small already."""
        return any(
            f.kind == "too_long" and model.context_tokens <= m.context_tokens
            for m, f in self.failures
        )

    def verdict(self, *, time_is_up: bool = False) -> Failure:
        """Say what all this amounts to."""
        kinds = {f.kind for _, f in self.failures}
        if not self.failures and self.inexpressible:
            return self.inexpressible[0]
        if kinds == {"too_long"}:
            return Invalid(
                f"the request does not fit the context of {self._names()}",
                code="context_length_exceeded",
                param="messages",
                billed=self.billed,
            )
        if time_is_up:
            return TimedOut(f"the caller's time is up: {self._told()}", billed=self.billed)
        if kinds and kinds <= OUT_OF_RATE and not self.billed:
            waits = [f.retry_after_s for _, f in self.failures if f.retry_after_s is not None]
            return OverBudget(
                f"every candidate is out of rate or credit: {self._told()}",
                code="insufficient_quota" if kinds == {"out_of_credit"} else None,
                retry_after_s=min(waits, default=UNKNOWN_WAIT_S),
            )
        return AllFailed(f"every candidate failed: {self._told()}", billed=self.billed)

    def _told(self) -> str:
        told: dict[str, list[str]] = {}
        for model, failure in self.failures:
            told.setdefault(model.name, []).append(failure.brief)
        for model in self.resting:
            told.setdefault(model.name, ["left alone after failures"])
        return ", ".join(f"{name} ({', then '.join(briefs)})" for name, briefs in told.items())

    def _names(self) -> str:
        return ", ".join(dict.fromkeys(m.name for m, _ in self.failures))


def refusal(model: Model, failure: ProviderFailure) -> Invalid:
    """Hand the caller what is the caller's to mend."""
    policy = failure.kind == "blocked"
    message = failure.message or ("a content policy" if policy else "the request was refused")
    code = failure.code if failure.code and _CODE.fullmatch(failure.code) else None
    return Invalid(
        f"{model.name} refuses this request: {message}",
        code="content_policy_violation" if policy else code,
        param=failure.param,
        billed=failure.usage is not None,
    )
