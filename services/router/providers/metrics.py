"""What Prometheus learns about provider traffic. Labels are names from the catalog only."""

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter(
    "optimizer_upstream_attempts_total",
    "Calls to providers by how they ended: ok, cancelled, or the kind of failure",
    ["provider", "model", "outcome"],
)
DURATION = Histogram(
    "optimizer_upstream_duration_seconds",
    "From sending a call to its last byte",
    ["provider", "model"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640),
)
FIRST_TOKEN = Histogram(
    "optimizer_upstream_first_token_seconds",
    "From sending a streamed call to its first content",
    ["provider", "model"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40),
)
REPEATS = Counter(
    "optimizer_upstream_repeats_total",
    "Wishes to ask a provider again, by what the retry budget said: granted, refused",
    ["provider", "verdict"],
)
OUT_OF_ROTATION = Gauge(
    "optimizer_provider_out_of_rotation",
    "1: the provider refuses our key or our account, so it is not asked; needs a person",
    ["provider"],
)
BREAKER = Gauge(
    "optimizer_breaker_state",
    "0: in use; 1: one call is trying it out; 2: left alone",
    ["provider", "model"],
)
