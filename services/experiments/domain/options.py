"""What can be said of an experiment beside what it compares. Nothing of it has to be."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from common.errors import Invalid

MAX_TEXT = 200
MAX_HYPOTHESIS = 10_000
MAX_DAYS = 365
MAX_BUDGET_NANO_USD = 10**15


@dataclass(frozen=True, slots=True)
class Margins:
    """How much worse an arm may be in what is not being compared, before it is stopped."""

    quality_ratio: float = 0.02  # relative loss of the mean rating
    latency_ratio: float = 0.10  # relative growth of the 95th percentile
    failures: float = 0.01  # growth of the share of failed requests


@dataclass(frozen=True, slots=True)
class Scope:
    """Which requests are meant; empty: all of them."""

    tenant: str = ""
    tag: str = ""

    def overlaps(self, other: "Scope") -> bool:
        """Return whether one request can be in both."""
        return (not self.tenant or not other.tenant or self.tenant == other.tenant) and (
            not self.tag or not other.tag or self.tag == other.tag
        )


@dataclass(frozen=True, slots=True)
class Comparing:
    """The other arm answers a share of the requests as well, and a judge compares the two."""

    share: float
    judge_model: str
    budget_nano_usd: int


@dataclass(frozen=True, slots=True)
class Options:
    hypothesis: str = ""
    auto_complete: bool = True
    auto_promote: bool = False
    freeze_learning: bool = True
    margins: Margins = field(default_factory=Margins)
    scope: Scope = field(default_factory=Scope)
    enrol: bool = False  # requests in scope join by their user
    traffic_share: float = 1.0
    layer: str = ""  # experiments of one layer never share a user; empty: one of its own
    max_duration_days: int = 0  # 0: no limit
    comparing: Comparing | None = None

    def dump(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def load(cls, kept: Mapping[str, Any]) -> "Options":
        """Read what `dump` wrote; what an older version did not write has its default."""
        fields = {name: kept[name] for name in cls.__slots__ if name in kept}
        if "margins" in fields:
            fields["margins"] = Margins(**fields["margins"])
        if "scope" in fields:
            fields["scope"] = Scope(**fields["scope"])
        if fields.get("comparing"):
            fields["comparing"] = Comparing(**fields["comparing"])
        return cls(**fields)


def check_options(options: Options) -> None:
    """
    Raises:
        Invalid: a bound is broken, so that no experiment can be run by them.
    """
    margins = options.margins
    _within(margins.quality_ratio, "quality_margin", 0, 0.5)
    _within(margins.latency_ratio, "latency_margin", 0, 10)
    _within(margins.failures, "failure_margin", 0, 0.5)
    if not 0 < options.traffic_share <= 1:
        raise Invalid("traffic_share must be within (0, 1]", param="traffic_share")
    if not 0 <= options.max_duration_days <= MAX_DAYS:
        raise Invalid(
            f"max_duration_days must be within [0, {MAX_DAYS}]", param="max_duration_days"
        )
    for value, name, longest in (
        (options.hypothesis, "hypothesis", MAX_HYPOTHESIS),
        (options.layer, "layer", MAX_TEXT),
        (options.scope.tenant, "scope", MAX_TEXT),
        (options.scope.tag, "scope", MAX_TEXT),
    ):
        if len(value) > longest or "\x00" in value:
            raise Invalid(f"{name} must have at most {longest} characters, no NUL", param=name)
    if options.comparing:
        _check_comparing(options.comparing)


def _check_comparing(comparing: Comparing) -> None:
    if not 0 < comparing.share <= 1:
        raise Invalid("the share to compare must be within (0, 1]", param="comparing")
    if not comparing.judge_model or len(comparing.judge_model) > MAX_TEXT:
        raise Invalid('judge_model must be a "provider/model"', param="comparing")
    if not 0 < comparing.budget_nano_usd <= MAX_BUDGET_NANO_USD:
        raise Invalid("the budget must be positive, a million dollars at most", param="comparing")


def _within(value: float, name: str, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN fails this too
        raise Invalid(f"{name} must be within [{low}, {high}]", param=name)
