"""What may be said of experiments over HTTP, and what is answered. Shapes only."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["running", "completed", "cancelled"]
Text = Annotated[str, Field(min_length=1, max_length=200)]
MAX_REASON = 1000


class _Exact(BaseModel):
    """Knows all its fields: a typo must not leave an option at its default."""

    model_config = ConfigDict(extra="forbid")


class ArmForm(_Exact):
    name: str | None = Field(default=None, description="default: control, test, test_2, ...")
    strategy: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    weight: float = Field(default=1, gt=0, le=1000, description="share of the users, relative")


class GuardrailsForm(_Exact):
    """How much worse an arm may be before it is stopped."""

    quality: float | None = Field(default=None, ge=0, le=0.5, description="relative; default 0.02")
    latency: float | None = Field(
        default=None, ge=0, le=10, description="relative, of the 95th percentile; default 0.1"
    )
    failures: float | None = Field(
        default=None, ge=0, le=0.5, description="growth of the share; default 0.01"
    )


class ScopeForm(_Exact):
    tenant: str = Field(default="", max_length=200, description="empty: of any key")
    tag: str = Field(default="", max_length=200, description="of x-optimizer-tag; empty: any")


class ComparingForm(_Exact):
    share: float = Field(gt=0, le=1, description="of the requests that both arms answer")
    judge_model: Text
    budget_usd: float = Field(gt=0, le=1_000_000)


class ExperimentForm(_Exact):
    name: str = Field(min_length=1, max_length=200, pattern=r"\S")
    description: str | None = Field(default=None, max_length=10_000)
    control_strategy: str | None = None
    test_strategy: str | None = None
    sample_size: int = Field(ge=1, le=10**9, description="results, all arms together")
    control_parameters: dict[str, Any] = Field(default_factory=dict)
    test_parameters: dict[str, Any] = Field(default_factory=dict)
    arms: list[ArmForm] | None = Field(
        default=None,
        min_length=2,
        max_length=8,
        description="instead of control_... and test_...: the control first",
    )
    hypothesis: str = Field(default="", max_length=10_000)
    auto_complete: bool = Field(default=True, description="end once there is a verdict")
    auto_promote: bool = Field(
        default=False, description="a winner whose guardrails all hold becomes the default"
    )
    freeze_learning: bool = Field(
        default=True, description="arms decide by what was learned when it began"
    )
    guardrails: GuardrailsForm = Field(default_factory=GuardrailsForm)
    enroll: bool = Field(
        default=False, description="requests in scope join by their user, without being told to"
    )
    scope: ScopeForm = Field(default_factory=ScopeForm)
    traffic_share: float = Field(default=1, gt=0, le=1, description="of the users that may join")
    layer: str = Field(
        default="", max_length=200, description="experiments of one layer never share a user"
    )
    max_duration_days: int = Field(default=0, ge=0, le=365, description="0: no limit")
    comparing: ComparingForm | None = Field(
        default=None, description="also let the other arm answer, and a judge compare the two"
    )


class ReasonForm(BaseModel):
    reason: str = Field(default="", max_length=MAX_REASON)


class PlanForm(_Exact):
    minimum_detectable_effect: float | None = Field(
        default=None, gt=0, lt=1, description="relative change of the cost per request"
    )
    sample_size: int | None = Field(default=None, ge=1, le=10**9)
    arms: int = Field(default=2, ge=2, le=8)


class ResultForm(_Exact):
    """One result that was observed elsewhere."""

    request_id: Text
    user_id: str = Field(min_length=1, max_length=256)
    provider: Text
    model: Text
    cost: float = Field(ge=0, le=1_000_000, allow_inf_nan=False, description="USD")
    latency_ms: float = Field(ge=0, le=1e12, allow_inf_nan=False)
    quality_score: float | None = Field(
        default=None, ge=1, le=5, allow_inf_nan=False, description="whole stars"
    )
    success: bool = True
    prompt_tokens: int | None = Field(default=None, ge=0, le=10**9)
    occurred_at: str | None = Field(
        default=None, min_length=1, max_length=40, description="RFC 3339"
    )
    arm: str | None = Field(default=None, description="refused if the rule says another")


class ArmAnswer(BaseModel):
    name: str
    strategy: str
    parameters: dict[str, Any]
    weight: float


class VerdictAnswer(BaseModel):
    winner: str | None
    reason: str
    rule: str = Field(description="boundary, guardrail, sample_size, duration or stopped")
    at: str


class ExperimentAnswer(BaseModel):
    id: int
    name: str
    description: str | None
    control_strategy: str
    test_strategy: str
    control_parameters: dict[str, Any]
    test_parameters: dict[str, Any]
    arms: list[ArmAnswer]
    sample_size: int
    status: Status
    created_at: str
    completed_at: str | None
    verdict: VerdictAnswer | None
    hypothesis: str
    auto_complete: bool
    auto_promote: bool
    freeze_learning: bool
    guardrails: dict[str, float]
    enroll: bool
    scope: dict[str, str]
    traffic_share: float
    layer: str
    max_duration_days: int
    comparing: dict[str, Any] | None
    history: list[dict[str, Any]] = Field(description="who did what, when and why; not in lists")


class MadeAnswer(ExperimentAnswer):
    minimum_detectable_effect: float | None = Field(
        description="the relative change of cost that this size finds 4 times of 5"
    )


class ResultsAnswer(BaseModel):
    model_config = ConfigDict(extra="allow")

    experiment_id: int
    control_strategy: str
    test_strategy: str
    control_count: int
    control_users: int
    control_avg_cost: float | None
    control_avg_latency: float | None
    control_avg_quality: float | None
    control_failures: int
    control_unpriced: int
    test_count: int
    test_users: int
    test_avg_cost: float | None
    test_avg_latency: float | None
    test_avg_quality: float | None
    test_failures: int
    test_unpriced: int
    arms: list[dict[str, Any]]
    p_value: float | None = Field(description="valid at every look")
    p_value_fixed: float | None = Field(description="Welch on users, valid for one look")
    is_significant: bool
    winner: str | None
    confidence_level: float
    stale: bool
    verdict: VerdictAnswer | None
    information_fraction: float
    samples_remaining: int
    decision_ready: bool
    mde: float | None
    srm: dict[str, Any]
    comparisons: dict[str, Any] = Field(description="by arm: each metric raw and CUPED")
    guardrails: dict[str, Any]
    series: list[dict[str, Any]]
    pairs: dict[str, Any] | None


class AssignmentAnswer(BaseModel):
    experiment_id: int
    user_id: str
    assignment: str
    strategy: str
    recorded: bool


class ProgressAnswer(BaseModel):
    experiment_id: int
    status: Status
    sample_size: int
    total_count: int
    control_count: int
    test_count: int
    counts: dict[str, int]
    progress_ratio: float = Field(description="0 to 1")
    stale: bool


class PlanAnswer(BaseModel):
    minimum_detectable_effect: float
    users_per_arm: int
    users: int
    requests: int
    sample_size: int
    days: float | None = Field(description="at the traffic of the last seven days")
    variation: float = Field(description="of a user's share in the cost per request")
    requests_per_user: float
    explained_ratio: float = Field(description="of the variance, by the length of prompts")
    measured: bool = Field(description="false: assumed, for want of traffic")


class ImportAnswer(BaseModel):
    imported: int
    already_there: int


class PromotionAnswer(BaseModel):
    id: int
    experiment_id: int
    scope: dict[str, str]
    arm: str
    strategy: str
    parameters: dict[str, Any]
    promoted_at: str
    promoted_by: str
    reason: str
    reverted_at: str | None
    reverted_by: str | None
