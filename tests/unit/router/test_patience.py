"""How long a model's first word may take before somebody else is asked as well."""

import pytest

from services.router.domain.catalog import Timeouts
from services.router.providers.patience import KNOWN_FROM, Patience
from tests.router_builders import a_model

LARGE = a_model("acme/large")
TIMES = Timeouts(failover_s=10)


def limit_after(*waits, streamed=False):
    patience = Patience()
    for wait in waits:
        patience.answered(LARGE, streamed=False, waited_s=wait)
    return patience.limit_s(LARGE, TIMES, streamed=streamed)


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ([], 10),
        ([0.5] * 20, 10),  # a quick one has as long as the catalog says
        ([20.0] * (KNOWN_FROM - 1), 10),  # a few slow answers are no habit
        ([20.0] * KNOWN_FROM, 60),  # one that always thinks for long is slow, not broken
        ([0.5] * 20 + [40.0], 10),  # one accident is none either
    ],
)
def test_known_slowness_is_waited_for(waits, expected):
    assert expected == limit_after(*waits)


def test_first_tokens_and_whole_answers_are_told_apart():
    assert 10 == limit_after(*[20.0] * KNOWN_FROM, streamed=True)
