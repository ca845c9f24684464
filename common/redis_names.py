"""
Every well-known key and channel in Redis, and how long each lives. Nothing here must last.

Keys that one service keeps for itself start with its own prefix and are listed here too, so that
two services never meet by accident.
"""

METRICS_LATEST = "metrics:latest"  # the snapshot of GET /routing/metrics, JSON; read by anyone
METRICS_LATEST_TTL_S = 30

METRICS_LIVE = "metrics:live"  # channel: each new snapshot, the same JSON
EXPERIMENTS_MOVED = "experiments:moved"  # channel: a change of an experiment or default, JSON
LEDGER_GREW = "ledger:grew"  # channel: rows were committed; the message says nothing more

CONVERSATIONS = "conversations:"  # prefix: who answered the last turn, under the hash of a talk
ANSWERS = "answers:"  # prefix: the router's cached answers, under the hash of the request
