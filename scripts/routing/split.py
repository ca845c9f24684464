"""What is held out: a hash of the id decides, so that whoever reruns it holds out the same."""

import hashlib

HELD_OUT = 0.3
SUBJECT_GROUPS = 5


def share_of(text: str) -> float:
    """Map *text* to [0, 1), evenly and for ever the same."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def held_out(row_id: str) -> bool:
    return share_of(row_id) < HELD_OUT


def group_of(subject: str) -> int:
    return int(share_of(subject) * SUBJECT_GROUPS)
