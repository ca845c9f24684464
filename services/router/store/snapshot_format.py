"""
All that is believed, as bytes: whoever reads them decides alike, to the last bit.

    beliefs 1, a line feed, zlib( a line of JSON: numbers, and of each part its name and length
                                  the parts: sums as `Evidence.pack` gives them, corrections )

Nothing that is read is trusted: a part that is absurd is left out, and the prior stands in for it.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.router.domain.beliefs import NOTHING_LEARNED, Beliefs
from services.router.domain.complexity import FIXED, Thresholds
from services.router.domain.learning import NO_EVIDENCE, Evidence, correction_of
from services.router.domain.vector import Floats

VERSION = b"beliefs 1\n"
MOST_BYTES = 64 * 2**20  # unpacked: some three thousand models
MOST_PROMPTS = 2**53

_EVIDENCE, _FAULTS, _CORRECTION, _LENGTHS, _VERDICTS = "evidence", "faults", "θ₀", "length", "wrong"


def pack(beliefs: Beliefs) -> bytes:
    """Return *beliefs* as bytes, to be kept."""
    parts = [
        *((_EVIDENCE, model, one.pack()) for model, one in sorted(beliefs.evidence.items())),
        *((_FAULTS, model, one.pack()) for model, one in sorted(beliefs.faults.items())),
        *(
            (_CORRECTION, model, one.astype("<f8").tobytes())
            for model, one in sorted(beliefs.corrections.items())
        ),
        (_LENGTHS, "", beliefs.lengths.pack()),
        (_VERDICTS, "", beliefs.verdicts.pack()),
    ]
    cuts = beliefs.thresholds
    facts = {
        "output_tokens": dict(beliefs.output_tokens),
        "usual_cost_nano_usd": beliefs.usual_cost_nano_usd,
        "thresholds": [cuts.moderate, cuts.complex, cuts.prompts],
        "fallen_back": beliefs.fallen_back,
        "parts": [[kind, name, len(state)] for kind, name, state in parts],
    }
    whole = b"\n".join((orjson.dumps(facts), b"".join(state for *_, state in parts)))
    return VERSION + zlib.compress(whole)


def unpack(kept: bytes) -> tuple[Beliefs, int]:
    """Read what `pack` gave: what is sane of it, and how many parts were not."""
    opened = _open(kept)
    if opened is None:
        return NOTHING_LEARNED, 1
    facts, states = opened
    sorted_in = _Sorted()
    at = 0
    for part in facts["parts"]:
        kind, name, length = part
        sorted_in.add(kind, name, states[at : at + length])
        at += length
    thresholds = _thresholds(facts.get("thresholds"))
    usual = facts.get("usual_cost_nano_usd")
    return Beliefs(
        evidence=sorted_in.sums[_EVIDENCE],
        faults=sorted_in.sums[_FAULTS],
        corrections=sorted_in.corrections,
        output_tokens=_tokens(facts.get("output_tokens")),
        lengths=sorted_in.sums[_LENGTHS].get("", NO_EVIDENCE),
        usual_cost_nano_usd=usual if _positive(usual) else None,
        thresholds=thresholds,
        fallen_back=facts.get("fallen_back") is True,
        verdicts=sorted_in.sums[_VERDICTS].get("", NO_EVIDENCE),
    ), sorted_in.refused


@dataclass(slots=True)
class _Sorted:
    """The parts, each with its kind."""

    sums: dict[str, dict[str, Evidence]] = field(
        default_factory=lambda: {_EVIDENCE: {}, _FAULTS: {}, _LENGTHS: {}, _VERDICTS: {}}
    )
    corrections: dict[str, Floats] = field(default_factory=dict)
    refused: int = 0

    def add(self, kind: str, name: str, state: bytes) -> None:
        if kind == _CORRECTION and (correction := correction_of(state)) is not None:
            self.corrections[name] = correction
        elif kind in self.sums and (found := Evidence.unpack(state)) is not None:
            self.sums[kind][name] = found
        else:
            self.refused += 1


def _open(kept: bytes) -> tuple[Mapping[str, Any], bytes] | None:
    """Return the facts and the parts behind them; None for anything of another form."""
    if not kept.startswith(VERSION):
        return None
    unpacker = zlib.decompressobj()
    try:
        whole = unpacker.decompress(kept[len(VERSION) :], MOST_BYTES)
        line, states = whole.split(b"\n", 1)
        facts = orjson.loads(line)
    except (zlib.error, ValueError):
        return None
    if not unpacker.eof or not isinstance(facts, dict) or not _listed(facts.get("parts")):
        return None
    return facts, states


def _listed(parts: Any) -> bool:
    return isinstance(parts, list) and all(
        isinstance(part, list) and list(map(type, part)) == [str, str, int] and part[2] >= 0
        for part in parts
    )


def _tokens(found: Any) -> dict[str, float]:
    found = found if isinstance(found, dict) else {}
    return {model: mean for model, mean in found.items() if _positive(mean)}


def _thresholds(found: Any) -> Thresholds:
    if not isinstance(found, list) or list(map(type, found)) != [float, float, int]:
        return FIXED
    moderate, hard, prompts = found
    sane = 0 <= moderate < hard < math.inf and 0 <= prompts < MOST_PROMPTS
    return Thresholds(moderate, hard, prompts) if sane else FIXED


def _positive(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < math.inf
