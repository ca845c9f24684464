"""Properties are tried with fewer examples a run than usual, and never by the clock."""

from hypothesis import HealthCheck, settings

# Every run draws anew: a week of runs sees thousands. `--hypothesis-profile=thorough` sees as many
# at once. On a busy machine any example may take long, and that is no failure.
BY_NO_CLOCK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("brisk", BY_NO_CLOCK, max_examples=50)
settings.register_profile("thorough", BY_NO_CLOCK, max_examples=2_000)
settings.load_profile("brisk")
