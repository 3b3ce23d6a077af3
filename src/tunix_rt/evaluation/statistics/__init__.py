"""The statistics of evaluations: pure functions, no input or output, checked against SciPy in the tests.

Scores are shares, 0 to 1. Where nothing was scored the answer is None, never NaN. With several samples an item, its
score is their mean, and the item stays the unit: of intervals, of tests and of resampling.
"""

from tunix_rt.evaluation.statistics.comparison import ESTABLISHED, MARGIN, Comparison, Verdict, compare, verdict
from tunix_rt.evaluation.statistics.intervals import RESAMPLES, Interval, bootstrap, clustered, typical, wilson
from tunix_rt.evaluation.statistics.paired import (
    ALPHA,
    detectable,
    mcnemar,
    mcnemar_all,
    sign_flip,
    sufficient,
)
from tunix_rt.evaluation.statistics.ranking import Ranking, holm, rank
from tunix_rt.evaluation.statistics.samples import pass_at

__all__ = [
    "ALPHA",
    "ESTABLISHED",
    "MARGIN",
    "RESAMPLES",
    "Comparison",
    "Interval",
    "Ranking",
    "Verdict",
    "bootstrap",
    "clustered",
    "compare",
    "detectable",
    "holm",
    "mcnemar",
    "mcnemar_all",
    "pass_at",
    "rank",
    "sign_flip",
    "sufficient",
    "typical",
    "verdict",
    "wilson",
]
