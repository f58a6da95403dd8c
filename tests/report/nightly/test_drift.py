"""The rule of drift: distances by hand, what is found, what is not, and how often it cries wolf."""

import math

import numpy as np
import pytest
from scipy import stats

from reviewllm.report.nightly.drift import CHANCE, KS_BOUND, cohen_h, distribution_drift, ks_distance, share_drift
from reviewllm.report.nightly.measure import Floats


def _drift(tonight: Floats, before: Floats) -> str:
    return distribution_drift(tonight, before, independent=len(tonight), independent_before=len(before)).stability


def _share(tonight: float, before: float, rows: int = 10_000, rows_before: int = 100_000) -> str:
    return share_drift(tonight, before, independent=rows, independent_before=rows_before).stability


def test_ks_distance_is_the_largest_difference_of_the_two_distribution_functions() -> None:
    some, others = np.array([1.0, 2.0, 2.0, 4.0]), np.array([2.0, 3.0, 5.0, 5.0])

    # at or below 1: 1/4 and 0; 2: 3/4 and 1/4; 3: 3/4 and 2/4; 4: 1 and 2/4; 5: 1 and 1
    assert ks_distance(some, others) == 0.5
    random = np.random.default_rng(0)
    some, others = random.normal(size=300), random.normal(0.2, size=500)
    assert ks_distance(some, others) == pytest.approx(stats.ks_2samp(some, others).statistic)


def test_cohen_h_is_that_of_the_book() -> None:
    assert cohen_h(0.65, 0.45) == pytest.approx(1.876 - 1.471, abs=0.002)  # Cohen 1988, table 6.2.2
    assert cohen_h(0.0, 1.0) == pytest.approx(math.pi)


def test_distribution_drift_limit_is_the_larger_of_effect_and_chance() -> None:
    many = distribution_drift(np.zeros(9), np.zeros(9), independent=20_000, independent_before=80_000)
    few = distribution_drift(np.zeros(9), np.zeros(9), independent=100, independent_before=100)

    assert (many.limit, many.stability) == (KS_BOUND, "steady")
    assert few.limit == pytest.approx(math.sqrt(-math.log(CHANCE / 2) / 2) * math.sqrt(1 / 100 + 1 / 100))
    assert few.stability == "unknown"  # and not steady: a drift of 0.1 could not have been seen


@pytest.mark.parametrize(("shift", "expected"), [(0.0, "steady"), (0.1, "steady"), (0.4, "drifted"), (-0.4, "drifted")])
def test_distribution_drift_of_many_rows_follows_the_size_of_the_effect(shift: float, expected: str) -> None:
    random = np.random.default_rng(1)

    assert _drift(random.normal(shift, size=20_000), random.normal(size=200_000)) == expected


def test_distribution_drift_sees_another_spread_and_a_second_peak_at_the_same_mean() -> None:
    random = np.random.default_rng(2)
    before = random.normal(size=50_000)

    assert _drift(random.normal(scale=2, size=5_000), before) == "drifted"
    assert _drift(np.concatenate([random.normal(-2, size=2_500), random.normal(2, size=2_500)]), before) == "drifted"


def test_distribution_drift_of_few_rows_is_found_where_it_is_large_and_else_unknown() -> None:
    random = np.random.default_rng(3)
    before = random.normal(size=5_000)

    assert _drift(random.normal(3, size=30), before) == "drifted"
    assert _drift(random.normal(size=30), before) == "unknown"
    assert _drift(np.array([]), before) == _drift(before, np.array([])) == "unknown"


def test_distribution_drift_cries_wolf_about_once_in_a_thousand_times() -> None:
    random = np.random.default_rng(4)
    alarms = [_drift(random.normal(size=400), random.normal(size=1_000)) == "drifted" for _ in range(1_000)]
    stars = [
        _drift(
            random.choice(5, size=400, p=[0.1, 0.1, 0.1, 0.2, 0.5]),
            random.choice(5, size=1_000, p=[0.1, 0.1, 0.1, 0.2, 0.5]),
        )
        for _ in range(1_000)
    ]

    assert sum(alarms) <= 5  # of 1,000 at 0.001: more than 5 have a chance of 0.0006
    assert stars.count("drifted") <= 5


def test_distribution_drift_by_users_holds_where_a_user_has_many_equal_rows() -> None:
    random = np.random.default_rng(5)

    def alarms(rows_of_a_user: int) -> int:
        nights = ((np.repeat(random.normal(size=300), 5), np.repeat(random.normal(size=900), 5)) for _ in range(300))
        return sum(
            distribution_drift(*both, independent=300 * rows_of_a_user, independent_before=900 * rows_of_a_user).stability
            == "drifted"
            for both in nights
        )

    assert alarms(1) <= 3
    assert alarms(5) > 3  # had rows been counted, it would


@pytest.mark.parametrize(
    ("tonight", "before", "expected"),
    [
        (0.01, 0.01, "steady"),
        (0.04, 0.01, "drifted"),
        (0.02, 0.01, "steady"),
        (0.5, 0.42, "steady"),
        (0.55, 0.44, "drifted"),
    ],
)
def test_share_drift_of_many_rows_follows_the_size_of_the_effect(tonight: float, before: float, expected: str) -> None:
    assert _share(tonight, before) == expected


def test_share_drift_of_few_rows_is_unknown_unless_it_is_large() -> None:
    assert _share(0.02, 0.01, rows=100) == "unknown"
    assert _share(0.5, 0.01, rows=100) == "drifted"
    assert _share(0.0, 0.0, rows=0) == _share(0.0, 0.0, rows_before=0) == "unknown"


def test_share_drift_cries_wolf_about_once_in_a_thousand_times() -> None:
    random = np.random.default_rng(6)
    for share in (0.005, 0.03, 0.3):
        tonight, before = random.binomial(400, share, 2_000) / 400, random.binomial(2_000, share, 2_000) / 2_000
        alarms = [_share(*both, rows=400, rows_before=2_000) == "drifted" for both in zip(tonight, before, strict=True)]

        assert sum(alarms) <= 8  # of 2,000 at 0.001: more than 8 have a chance of 0.0002
