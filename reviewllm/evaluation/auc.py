"""How well a figure tells two groups apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auc(higher: Floats, lower: Floats) -> float | None:
    """Chance that one of `higher` is above one of `lower`, ties half (the area under the ROC curve); None without both.

    >>> auc(np.array([3.0, 1.0]), np.array([1.0]))
    0.75
    """
    if not len(higher) or not len(lower):
        return None
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(higher, lower).statistic) / (len(higher) * len(lower))
