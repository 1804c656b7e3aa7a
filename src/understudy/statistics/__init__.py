"""Intervals and tests for right-or-wrong answers: pure functions over plain sequences.

`questions` is about one training each, `seeds` about several. Proportions and differences are fractions of
1, never per cent. scipy and numpy load on first use.
"""

from __future__ import annotations

from understudy.statistics.questions import (
    Difference,
    McNemar,
    benjamini_hochberg,
    mcnemar_exact,
    minimum_detectable_difference,
    paired_bootstrap,
    wilson,
)
from understudy.statistics.seeds import (
    Pooled,
    Resampled,
    crossed_accuracy,
    crossed_difference,
    hierarchical_bootstrap,
)

__all__ = [
    "Difference",
    "McNemar",
    "Pooled",
    "Resampled",
    "benjamini_hochberg",
    "crossed_accuracy",
    "crossed_difference",
    "hierarchical_bootstrap",
    "mcnemar_exact",
    "minimum_detectable_difference",
    "paired_bootstrap",
    "wilson",
]
