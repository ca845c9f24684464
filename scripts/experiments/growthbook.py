"""
The p-values of GrowthBook's statistics, `gbstats`, for sums that others made.

Runs in an environment of its own (.bench/), so that the product does not depend on it:

    .bench/bin/python scripts/experiments/growthbook.py <sums.npy> <p_values.npy>
"""

import sys
from collections.abc import Sequence

import numpy as np
from gbstats.frequentist.tests import (  # type: ignore[import-not-found]
    SequentialConfig,
    SequentialTwoSidedTTest,
)
from gbstats.models.statistics import (  # type: ignore[import-not-found]
    RatioStatistic,
    SampleMeanStatistic,
)

SCALES = ("relative", "absolute")


def statistic(sums: Sequence[float]) -> RatioStatistic:
    """Return the ratio of *sums*: n, ΣM, ΣD, ΣM², ΣMD, ΣD²."""
    n, m, d, mm, md, dd = sums
    return RatioStatistic(
        n=int(n),
        m_statistic=SampleMeanStatistic(n=int(n), sum=m, sum_squares=mm),
        d_statistic=SampleMeanStatistic(n=int(n), sum=d, sum_squares=dd),
        m_d_sum_of_products=md,
    )


def p_values(arms: np.ndarray) -> list[float]:
    """Return the p-value on each scale; *arms*: the sums of both."""
    control, test = (statistic(sums) for sums in arms.tolist())
    return [
        SequentialTwoSidedTTest(control, test, SequentialConfig(difference_type=scale))
        .compute_result()
        .p_value
        for scale in SCALES
    ]


def main(read: str, write: str) -> None:
    sums = np.load(read)  # experiments, looks, arms, sums
    found = [[p_values(arms) for arms in experiment] for experiment in sums]
    np.save(write, np.array(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
