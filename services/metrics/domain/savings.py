"""What routing saved: paid against baseline, over exactly the requests where both are known."""

from dataclasses import dataclass

from common.money import usd


@dataclass(frozen=True, slots=True)
class Savings:
    """Both costs are over the same requests."""

    intelligent_cost_nano_usd: int
    baseline_cost_nano_usd: int

    @property
    def saved_nano_usd(self) -> int:
        """Negative if routing cost more than the baseline: that is shown, not hidden."""
        return self.baseline_cost_nano_usd - self.intelligent_cost_nano_usd

    @property
    def percent(self) -> float:
        """Percent of the baseline; 0 while there is nothing to compare with."""
        if self.baseline_cost_nano_usd == 0:
            return 0.0
        return 100 * self.saved_nano_usd / self.baseline_cost_nano_usd

    def as_json(self) -> dict[str, float | None]:
        return {
            "total_saved": usd(self.saved_nano_usd),
            "percent_saved": self.percent,
            "intelligent_cost": usd(self.intelligent_cost_nano_usd),
            "baseline_cost": usd(self.baseline_cost_nano_usd),
        }
