"""Intervals against counting by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from reviewllm.evaluation import bootstrap as module
from reviewllm.evaluation.bootstrap import bootstrap


def test_bootstrap_two_users_gives_the_ends_that_can_be_counted_by_hand() -> None:
    # Two users of means 0 and 100 with one row each: a resample has mean 0, 50 or 100 with probability 1/4, 1/2, 1/4, so
    # the 2.5 % and 97.5 % points are 0 and 100.
    estimate = bootstrap(pl.DataFrame({"user_id": ["u", "v"], "x": [0.0, 100.0]}), ["x"])
    assert [part.tolist() for part in estimate] == [[(0.0 + 100.0) / 2], [0.0], [100.0], [2]]


def test_bootstrap_draws_users_and_not_rows() -> None:
    # One user with nine rows of 0, one with a single row of 100: the mean over rows is 10, and drawing users gives 0 (twice
    # the first), 10 (both) or 100 (twice the second). Drawing rows would almost never give 100.
    rows = pl.DataFrame({"user_id": ["u"] * 9 + ["v"], "x": [0.0] * 9 + [100.0]})
    assert [part.tolist() for part in bootstrap(rows, ["x"])] == [[(9 * 0.0 + 100.0) / 10], [0.0], [100.0], [10]]


def test_bootstrap_rows_that_do_not_count_do_not_count() -> None:
    rows = pl.DataFrame(
        {"user_id": ["u", "u", "v"], "x": [10.0, None, 30.0], "y": [None] * 3}, schema_overrides={"y": pl.Float64}
    )
    estimate = bootstrap(rows, ["x", "y"])
    assert estimate.value[0] == (10.0 + 30.0) / 2
    assert estimate.n.tolist() == [2, 0]
    assert np.isnan([estimate.value[1], estimate.ci_low[1], estimate.ci_high[1]]).all()


def test_bootstrap_is_near_the_normal_interval_of_many_users() -> None:
    # For 400 users with one row each, a standard deviation s and a mean m: m - 1.96 s / 20 to m + 1.96 s / 20.
    scores = np.random.default_rng(3).normal(30.0, 10.0, 400)
    estimate = bootstrap(pl.DataFrame({"user_id": [str(n) for n in range(400)], "x": scores}), ["x"])
    half = 1.96 * scores.std() / np.sqrt(400)
    assert estimate.ci_low[0] == pytest.approx(scores.mean() - half, abs=0.15)
    assert estimate.ci_high[0] == pytest.approx(scores.mean() + half, abs=0.15)


def test_bootstrap_gives_the_same_in_small_blocks_and_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.DataFrame({"user_id": list("abcdefghij"), "x": [float(n) for n in range(10)]})
    whole = [part.tolist() for part in bootstrap(rows, ["x"], resamples=100)]
    assert [part.tolist() for part in bootstrap(rows.reverse(), ["x"], resamples=100)] == whole
    assert [part.tolist() for part in bootstrap(rows, ["x"], resamples=100, seed=1)] != whole
    monkeypatch.setattr(module, "DRAWS_AT_ONCE", 30)
    assert [part.tolist() for part in bootstrap(rows, ["x"], resamples=100)] == whole
