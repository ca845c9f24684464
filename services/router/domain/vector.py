"""
Features → φ, the 48 numbers that learning sees: 1, the difficulty, and how the prompt resembles
each of 46 kinds of prompts.

Quality is no linear function of single features (a long story problem and a long article ask for
different models), but it is close to one of resemblance: with a Gaussian kernel, whitened over the
kinds, a linear model on φ is a Gaussian process on the named features. Far from every kind, φ is
(1, difficulty, 0, ...): there, learning goes by level and difficulty alone.

φ is kept with a decision in place of the prompt, from which nobody can read the prompt back.

Source: Williams and Seeger 2001, "Using the Nyström method to speed up kernel machines".
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.router.domain.complexity import Complexity
from services.router.domain.features import NAMES
from services.router.domain.kinds import KINDS, USUAL

Floats: TypeAlias = NDArray[np.float64]

USUAL_DIFFICULTY = 0.5
DIFFICULTY_SCALE = 0.3
MOST_UNITS = 3.0  # one strange feature must not outweigh all others
REACH = 6.0  # length scale of the kernel, in units of scaled features
GAIN = 5.0  # size of the resemblances: sets what one prior precision means for all of φ
_JITTER = 1e-3

_CENTRES = np.array([USUAL[name][0] for name in NAMES])
_SCALES = np.array([USUAL[name][1] for name in NAMES])


def scaled(complexity: Complexity) -> Floats:
    """Return the named features, each centred and scaled to about one unit."""
    values = np.fromiter(complexity.features.values.values(), float, len(NAMES))
    units: Floats = (values - _CENTRES) / _SCALES
    return np.clip(units, -MOST_UNITS, MOST_UNITS)


def _resemblance(units: Floats) -> Floats:
    """Compare one prompt, shape (46,), or many, shape (n, 46), with every kind."""
    distance = (units**2).sum(-1)[..., None] - 2 * units @ _KINDS.T + _KINDS_SQUARED
    found: Floats = np.exp(distance / (-2 * REACH**2))
    return found


_KINDS = np.array(KINDS.split(), float).reshape(-1, len(USUAL)) / 10
SIZE = 2 + len(_KINDS)
_PACKED_BYTES = 4 * SIZE
_KINDS_SQUARED = (_KINDS**2).sum(1)
_WHITEN = GAIN * np.linalg.inv(
    np.linalg.cholesky(_resemblance(_KINDS) + _JITTER * np.eye(len(_KINDS)))
)


def vector_of(complexity: Complexity) -> Floats:
    """Return φ of a prompt, as it was read for its complexity."""
    phi = np.empty(SIZE)
    phi[0] = 1.0
    difficulty = (complexity.score - USUAL_DIFFICULTY) / DIFFICULTY_SCALE
    phi[1] = max(-MOST_UNITS, min(difficulty, MOST_UNITS))
    phi[2:] = _WHITEN @ _resemblance(scaled(complexity))
    return phi


def packed(phi: Floats) -> bytes:
    """Return φ as bytes, to be kept."""
    return phi.astype("<f4").tobytes()


def unpacked(kept: bytes) -> Floats | None:
    """Return what was kept; None when it can be no φ."""
    found, _ = unpacked_many([kept])
    return found[0] if len(found) else None


def unpacked_many(kept: Sequence[bytes]) -> tuple[Floats, Sequence[bool]]:
    """Return those that can be a φ, shape (n, SIZE), and of each whether it can."""
    sized = [len(one) == _PACKED_BYTES for one in kept]
    whole = b"".join(one for one, fits in zip(kept, sized, strict=True) if fits)
    found: Floats = np.frombuffer(whole, "<f4").reshape(-1, SIZE).astype(np.float64)
    most = 1 + MOST_UNITS**2 + GAIN**2  # of whitened resemblances the squares add up to GAIN²
    with np.errstate(over="ignore", invalid="ignore"):
        good = (found[:, 0] == 1) & ((found**2).sum(1) <= 1.01 * most)  # False also for nan
    verdicts = iter(good.tolist())
    return found[good], [fits and next(verdicts) for fits in sized]
