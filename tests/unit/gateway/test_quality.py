"""Quality of several sources together."""

import pytest

from services.gateway.domain.quality import mean_quality


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], None),
        ([(0.5, 0.0)], None),  # seen, but not counted
        ([(0.25, 2.0)], 0.25),
        ([(1.0, 3.0), (0.0, 1.0)], 0.75),
        ([(1.0, 3.0), (0.0, 0.0)], 1.0),
        ([(0.5, 1.0), (0.0, float("nan"))], 0.5),  # a weight that is no number counts nothing
    ],
)
def test_each_counts_by_its_weight(parts, expected):
    assert expected == mean_quality(parts)
