"""Do two nights differ? A rule for distributions and one for shares, each with a bound of effect and a bound of chance.

With millions of rows every difference is beyond chance, and with a hundred rows a large one may be chance. So a figure has
drifted where its distance is above both bounds; it is steady where the distance is below and there are rows enough that a
drift would have been seen; anything else cannot be told.

Distributions: the distance of Kolmogorov and Smirnov, the largest difference between the two shares of rows at or below a
value. It needs no bins, unlike the population stability index, which with few rows rises with their number. Bound of effect:
0.1, ten rows in a hundred on another side of some value; of two normal distributions of the same spread, means a quarter of
a standard deviation apart, a little over what Cohen calls a small effect (Statistical Power Analysis for the Behavioral
Sciences, 1988, section 2.2). Bound of chance: Smirnov's (Table for Estimating the Goodness of Fit of Empirical
Distributions, 1948). Where values are few, as of stars, it is wider than it need be.

Shares, as of failed rows: Cohen's h, the difference of arcsines 2 asin(sqrt(p)); bound of effect 0.2, which he calls small
(section 6.2): from 1 % to 4 %, or from 45 % to 55 %. Bound of chance: that of a normal test of h (section 6.5).

The bound of chance is one in a thousand, since a night has a dozen figures. It counts users, not rows: a user's rows are
alike.
"""

from __future__ import annotations

import math

import numpy as np

from reviewllm.report.nightly.content import Drift
from reviewllm.report.nightly.measure import Floats

CHANCE = 0.001
KS_BOUND = 0.1
SHARE_BOUND = 0.2
_KS_CRITICAL = math.sqrt(-math.log(CHANCE / 2) / 2)  # 1.95
_NORMAL_CRITICAL = 3.2905  # of the normal distribution, for CHANCE on both sides together


def distribution_drift(tonight: Floats, before: Floats, *, independent: float, independent_before: float) -> Drift:
    """Compare a column of tonight with that of the nights before; "unknown" where either is empty.

    Args:
        independent: how many independent values tonight's are worth: its users.
        independent_before: the same of the nights before.
    """
    if not len(tonight) or not len(before):
        return Drift(stability="unknown", distance=None, limit=None)
    chance = _KS_CRITICAL * _spread(independent, independent_before)
    return _judge(ks_distance(tonight, before), bound=KS_BOUND, chance=chance)


def share_drift(tonight: float, before: float, *, independent: float, independent_before: float) -> Drift:
    """Compare a share (0 to 1) of tonight with that of the nights before; arguments as of `distribution_drift`."""
    if not independent or not independent_before:
        return Drift(stability="unknown", distance=None, limit=None)
    chance = _NORMAL_CRITICAL * _spread(independent, independent_before)
    return _judge(cohen_h(tonight, before), bound=SHARE_BOUND, chance=chance)


def ks_distance(some: Floats, others: Floats) -> float:
    """The largest difference between two empirical distribution functions, 0 to 1.

    >>> round(ks_distance(np.array([1.0, 2.0, 3.0]), np.array([3.0, 3.0, 3.0])), 2)
    0.67
    """
    values = np.concatenate([some, others])
    below, below_others = (np.searchsorted(np.sort(side), values, side="right") / len(side) for side in (some, others))
    return float(np.abs(below - below_others).max())


def cohen_h(share: float, other: float) -> float:
    """Cohen's h of two shares, without its sign.

    >>> round(cohen_h(0.04, 0.01), 2)
    0.2
    """
    return abs(2 * math.asin(math.sqrt(share)) - 2 * math.asin(math.sqrt(other)))


def _spread(some: float, others: float) -> float:
    return math.sqrt(1 / some + 1 / others)


def _judge(distance: float, *, bound: float, chance: float) -> Drift:
    limit = max(bound, chance)
    if distance > limit:
        return Drift(stability="drifted", distance=distance, limit=limit)
    return Drift(stability="steady" if chance <= bound else "unknown", distance=distance, limit=limit)
