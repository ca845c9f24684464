"""What routers are compared with."""

import numpy as np

from scripts.routing.data import Table
from services.router.domain.vector import Floats

# The rule that many routers start with: some words anywhere in the text, and a length with a cap.
_KEYWORDS = (
    "analyze analyse compare contrast evaluate critique assess research synthesize explain why"
    " prove deduce infer justify reason interpret design architecture implement debug optimize"
    " refactor algorithm code function program api database sql regex test calculate equation"
    " solve derive integral matrix probability step strategy plan trade-off complex detailed"
    " comprehensive"
)
_CAP_WORDS = 20
_LENGTH, _KEYWORD = 0.3, 0.2


def capped_rule(table: Table, *, cap_words: int = _CAP_WORDS) -> Floats:
    """Score by the capped keyword rule: length up to *cap_words*, then only keywords count."""
    scores, keywords = [], _KEYWORDS.split()
    for prompt in table.prompts:
        lower = prompt.lower()
        length = _LENGTH * min(len(prompt.split()) / cap_words, 1)
        scores.append(length + min(_KEYWORD * sum(word in lower for word in keywords), 0.7))
    return np.array(scores)


def chance(table: Table) -> Floats:
    found: Floats = np.random.default_rng(7).random(len(table.ids))
    return found


def oracle(table: Table) -> Floats:
    """Score by the outcome itself: no router can do better."""
    found: Floats = table.outcomes[:, 1] - table.outcomes[:, 0]
    return found
