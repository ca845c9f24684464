"""
How hard a prompt is: a weighted sum of named features; it never learns and explains itself.

What counts as hard differs from deployment to deployment, so the tiers are cut at quantiles of its
own recent prompts, and at fixed thresholds only while there are few.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.router.domain.catalog import Tier
from services.router.domain.features import Features, features_of

TIERS: tuple[Tier, ...] = ("simple", "moderate", "complex")
MODERATE_FROM = 0.3
COMPLEX_FROM = 0.7
ENOUGH_PROMPTS = 200  # below it a quantile of them says little
SIMPLE_SHARE = 0.4  # of recent prompts; the next ones are moderate
COMPLEX_SHARE = 0.2
TERMS_SHOWN = 3
PATTERNS = ("code", "mathematics", "reasoning", "translation", "creative", "lookup", "greeting")
OTHER = "other"

# Positive: harder. The main term has no cap. Long words are terms to know, not thoughts to think.
WEIGHTS = {
    "length": 0.08,
    "code": 0.09,
    "mathematics": 0.05,
    "reasoning": 0.14,
    "steps": 0.05,
    "conditions": 0.06,
    "constraints": 0.03,
    "negation": 0.08,
    "people": 0.05,
    "numbers": 0.03,
    "signs": 0.04,
    "commas": 0.03,
    "lines": 0.02,
    "long_words": -0.07,
    "greeting": -0.08,
    "lookup": -0.05,
    "translation": -0.06,
    "creative": -0.06,
}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where the tiers begin."""

    moderate: float = MODERATE_FROM
    complex: float = COMPLEX_FROM
    prompts: int = 0  # whose quantiles they are; 0: fixed


FIXED = Thresholds()


@dataclass(frozen=True, slots=True)
class Complexity:
    score: float  # 0: trivial; no upper bound
    tier: Tier
    terms: tuple[tuple[str, float], ...]  # (feature, what it adds), the largest first
    features: Features
    thresholds: Thresholds = FIXED

    @property
    def pattern(self) -> str:
        """Name the kind of work that most words of the prompt speak of."""
        values = self.features.values
        most = max(PATTERNS, key=lambda name: values[name])
        return most if values[most] else OTHER

    def explain(self) -> dict[str, object]:
        return {
            "pattern": self.pattern,
            "score": round(self.score, 3),
            "tier": self.tier,
            "terms": [
                {"feature": name, "adds": round(adds, 3)} for name, adds in self.terms[:TERMS_SHOWN]
            ],
            "words": self.features.words,
            "moderate_from": round(self.thresholds.moderate, 3),
            "complex_from": round(self.thresholds.complex, 3),
            "thresholds_from_prompts": self.thresholds.prompts,
        }

    def __str__(self) -> str:
        terms = ", ".join(f"{name} {adds:+.2f}" for name, adds in self.terms[:TERMS_SHOWN])
        return f"{self.tier} ({self.score:.2f}: {terms})" if terms else f"{self.tier} (empty)"


def complexity_of(text: str, thresholds: Thresholds = FIXED) -> Complexity:
    """Score *text*."""
    features = features_of(text)
    values = features.values
    terms = [(name, weight * value) for name, weight in WEIGHTS.items() if (value := values[name])]
    terms.sort(key=lambda term: -abs(term[1]))
    score = max(0.0, sum(adds for _, adds in terms))
    return Complexity(score, tier_of(score, thresholds), tuple(terms), features, thresholds)


def tier_of(score: float, thresholds: Thresholds = FIXED) -> Tier:
    """Return the tier of a score: a score on a threshold belongs above it."""
    if score >= thresholds.complex:
        return "complex"
    return "moderate" if score >= thresholds.moderate else "simple"


def thresholds_of(scores: Sequence[float]) -> Thresholds:
    """
    Cut the tiers at quantiles of *scores*, those of the deployment's recent prompts.

    Where most prompts score alike, the fixed thresholds would send all of them one way; where
    there are few prompts, or all score the same, they stand.
    """
    if len(scores) < ENOUGH_PROMPTS:
        return FIXED
    ordered = sorted(scores)
    moderate = ordered[int(SIMPLE_SHARE * len(ordered))]
    hard = ordered[int((1 - COMPLEX_SHARE) * len(ordered))]
    if not 0 <= moderate < hard:  # also not a number
        return FIXED
    return Thresholds(moderate, hard, len(ordered))
