"""
Is a model right about a prompt? A pure function, so that tests and demos know the truth.

A model is right with a probability that falls as the prompt's difficulty passes its skill; the
draw is a hash, so the same seed, model and prompt always end the same way.
"""

import hashlib
import math
import re

from sandbox.models import CHAT_MODELS
from sandbox.tasks import find_task

_STEEPNESS = 14.0  # of the fall from right to wrong around a model's skill
_HEAD_START = 1.5  # right four times in five where difficulty equals skill
_DIRECTIVE = re.compile(r"\s*\[\[fault:[^\]]{0,300}\]\]\s*")
_WORD = re.compile(r"[a-z]+")
_LOOKED_AT = 20_000  # characters: longer prompts are hard by length alone
_HARD = frozenset(
    re.findall(
        r"\w+",
        """
        prove proof derive theorem lemma integral asymptotic complexity optimise
        optimize architecture concurrency deadlock race debug refactor algorithm
        differential eigenvalue bayesian constraint constraints trade tradeoffs formally
        rigorous regulation liability
        """,
    )
)
_EASY = frozenset(
    {"hello", "hi", "thanks", "translate", "spell", "synonym", "greet", "list", "name", "rephrase"}
)


def is_right(model: str, prompt: str, *, seed: int = 0) -> bool:
    """
    Say whether a model answers a prompt rightly.

    Args:
        model: A chat model's upstream name, such as `tiny`.
        prompt: The text of the last user message; fault directives in it do not matter.
        seed: `SANDBOX_SEED` of the sandbox that answers.
    """
    bare = without_directives(prompt)
    return right_at(model, bare, difficulty(bare), seed=seed)


def right_at(model: str, bare_prompt: str, how_hard: float, *, seed: int) -> bool:
    """Decide as `is_right` does, for a prompt whose difficulty is known already."""
    draw = hashlib.blake2b(f"{seed}\0{model}\0{bare_prompt}".encode(), digest_size=8).digest()
    return int.from_bytes(draw) / 2**64 < chance_right(CHAT_MODELS[model].skill, how_hard)


def chance_right(skill: float, how_hard: float) -> float:
    """Return the probability of a right answer: a logistic curve around the skill."""
    return 1 / (1 + math.exp(-_STEEPNESS * (skill - how_hard) - _HEAD_START))


def difficulty(prompt: str) -> float:
    """
    Rate a prompt from 0 (anyone can) to 1 (hardly anyone can).

    Tasks know their own difficulty. Everything else is rated by its length and by words that
    promise work; this is the sandbox's truth, on purpose not the router's own estimate.
    """
    if task := find_task(prompt):
        return task.difficulty
    words = _WORD.findall(prompt[:_LOOKED_AT].lower())
    kinds = set(words)
    length = 0.11 * math.log2(1 + len(words) / 4)
    hard = min(0.45, 0.18 * len(kinds & _HARD))
    easy = 0.12 if kinds & _EASY else 0.0
    code = 0.12 if "```" in prompt or "def " in prompt or "SELECT " in prompt else 0.0
    return min(0.98, max(0.02, round(length + hard + code - easy, 4)))


def without_directives(prompt: str) -> str:
    return _DIRECTIVE.sub(" ", prompt).strip() if "[[fault:" in prompt else prompt
