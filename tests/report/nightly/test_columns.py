"""Columns and shares of a night beside those before, and their common bins."""

from collections import Counter

import numpy as np
import pytest

from reviewllm.report.nightly.columns import columns_of, histogram, share_of
from reviewllm.report.nightly.measure import Floats, Measures, Sum


def _measures(rows: int = 1_000, users: int = 1_000, **samples: Floats) -> Measures:
    sums = {name: Sum(len(its), float(its.sum()), float((its**2).sum())) for name, its in samples.items()}
    return Measures(rows, users, sums, samples, {}, Counter(), Counter())


def test_columns_of_compare_with_all_nights_before_together() -> None:
    tonight = _measures(words=np.arange(1_000.0), sentiment=np.zeros(1_000))
    before = [_measures(words=np.arange(1_000.0)), _measures(words=np.arange(1_000.0) + 600)]

    words, sentiment = columns_of(tonight, before)

    assert (words.name, words.given, words.rows, words.mean) == ("words", False, 1_000, 499.5)
    assert words.mean_before == (499.5 + 1099.5) / 2
    assert words.quantiles == pytest.approx((49.95, 499.5, 949.05))
    # at or below 999 lie all of tonight, and 1,000 + 400 of the 2,000 before
    assert words.drift.distance == pytest.approx(1 - 1_400 / 2_000)
    assert words.drift.stability == "drifted"
    assert (sentiment.mean_before, sentiment.drift.stability) == (None, "unknown")
    assert sentiment.histogram.low == ()


def test_columns_of_count_users_where_they_are_fewer_than_rows() -> None:
    column = np.arange(1_000.0)
    (of_rows,) = columns_of(_measures(words=column), [_measures(words=column)])
    (of_users,) = columns_of(_measures(users=100, words=column), [_measures(users=100, words=column)])

    assert (of_rows.drift.stability, of_users.drift.stability) == ("steady", "unknown")


def test_columns_of_a_column_that_the_sample_missed_show_its_mean() -> None:
    tonight = _measures(words=np.array([]))._replace(sums={"words": Sum(2, 10.0, 50.0)})

    (words,) = columns_of(tonight, [])

    assert (words.mean, words.quantiles, words.drift.stability) == (5.0, (5.0, 5.0, 5.0), "unknown")


def test_histogram_of_whole_numbers_has_a_bin_each_and_the_band_of_the_nights_before() -> None:
    tonight, first, second = np.array([1.0, 1, 2, 5]), np.array([1.0, 5]), np.array([2.0, 2, 2, 5])

    found = histogram(tonight, [first, second])

    assert found.edges == (0.5, 1.5, 2.5, 3.5, 4.5, 5.5)
    assert found.tonight == (2 / 4, 1 / 4, 0, 0, 1 / 4)
    assert found.low == (0, 0, 0, 0, 1 / 4)
    assert found.high == (1 / 2, 3 / 4, 0, 0, 1 / 2)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(1),
        np.full(5, 7.25),
        np.linspace(0, 1, 999),
        np.arange(5_000.0),
        np.array([0.0] * 999 + [1e9]),
        np.array([-3.0]),
    ],
    ids=["one", "equal", "fractions", "thousands", "far out", "negative"],
)
def test_histogram_counts_every_row_once_in_few_bins(values: Floats) -> None:
    found = histogram(values, [values])

    assert sum(found.tonight) == pytest.approx(1)
    assert len(found.edges) == len(found.tonight) + 1 <= 42
    assert (np.diff(found.edges) > 0).all()


def test_share_of_adds_the_nights_before_up() -> None:
    share = share_of("failed", "m", (40, 1_000), [(5, 1_000), (15, 1_000)], _measures(), [_measures(), _measures()])

    assert (share.share, share.share_before) == (0.04, 0.01)
    assert share.drift.stability == "drifted"


def test_share_of_nothing_is_unknown() -> None:
    alone = share_of("failed", "m", (1, 10), [], _measures(rows=9, users=9), [])
    empty = share_of("failed", "m", (0, 0), [(1, 10)], _measures(rows=0, users=0), [_measures()])

    assert (alone.share_before, alone.drift.stability) == (None, "unknown")
    assert (empty.share, empty.drift.stability) == (None, "unknown")
