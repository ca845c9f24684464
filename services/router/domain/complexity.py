"""How hard a prompt is: a weighted sum of named features; it never learns and explains itself."""

from dataclasses import dataclass

from services.router.domain.catalog import Tier
from services.router.domain.features import Features, features_of

TIERS: tuple[Tier, ...] = ("simple", "moderate", "complex")
MODERATE_FROM = 0.3
COMPLEX_FROM = 0.7
TERMS_SHOWN = 3

# Chosen by hand on prompts like those of the tests; positive: harder. The main term has no cap.
BASE = -0.12
WEIGHTS = {
    "length": 0.09,
    "code": 0.09,
    "mathematics": 0.08,
    "reasoning": 0.14,
    "steps": 0.05,
    "conditions": 0.06,
    "constraints": 0.05,
    "negation": 0.05,
    "numbers": 0.03,
    "questions": 0.0,
    "lines": 0.02,
    "greeting": -0.08,
    "lookup": -0.08,
    "translation": -0.06,
    "creative": -0.06,
}


@dataclass(frozen=True, slots=True)
class Complexity:
    score: float  # 0: trivial; 0.7 and above: complex; no upper bound
    tier: Tier
    terms: tuple[tuple[str, float], ...]  # (feature, what it adds), the largest first
    features: Features

    def explain(self) -> dict[str, object]:
        return {
            "score": round(self.score, 3),
            "tier": self.tier,
            "terms": [
                {"feature": name, "adds": round(adds, 3)} for name, adds in self.terms[:TERMS_SHOWN]
            ],
            "base": BASE,
            "words": self.features.words,
        }

    def __str__(self) -> str:
        terms = ", ".join(f"{name} {adds:+.2f}" for name, adds in self.terms[:TERMS_SHOWN])
        return f"{self.tier} ({self.score:.2f}: {terms})" if terms else f"{self.tier} (empty)"


def complexity_of(text: str) -> Complexity:
    """Score *text*."""
    features = features_of(text)
    terms = [
        (name, WEIGHTS[name] * value)
        for name, value in features.values.items()
        if value and WEIGHTS[name]
    ]
    terms.sort(key=lambda term: -abs(term[1]))
    score = max(0.0, BASE + sum(adds for _, adds in terms))
    return Complexity(score, tier_of(score), tuple(terms), features)


def tier_of(score: float) -> Tier:
    """Return the tier of a score: a score on a threshold belongs above it."""
    if score >= COMPLEX_FROM:
        return "complex"
    return "moderate" if score >= MODERATE_FROM else "simple"
