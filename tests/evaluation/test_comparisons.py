"""Comparisons by hand, and how often they speak where there is nothing to tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from evaluated import generation, rows_of

from reviewllm.evaluation.comparisons import Side, compare, sign_flip
from reviewllm.tables import COMPARISONS

BASE, ADAPTED = Side("tiny", True), Side("tiny + adapter", True)


def pairs(differences: list[float], **changes: Any) -> list[dict[str, Any]]:
    """Base at 50, and the adapter that many points above it."""
    rows = []
    for number, difference in enumerate(differences):
        user = {"user_id": f"u{number}"} | changes
        rows += [generation(str(number), 50.0, **user)]
        rows += [generation(str(number), 50.0 + difference, adapter="out/adapter", **user)]
    return rows


def compared(*repeats: list[dict[str, Any]], candidate: Side = ADAPTED) -> pl.DataFrame:
    return pl.DataFrame(compare([rows_of(rows) for rows in repeats], run="r", candidate=candidate))


def test_compare_a_steady_gain_is_higher_from_either_side() -> None:
    gains = [4.0, 6.0] * 15
    found = compared(pairs(gains)).row(0, named=True)
    assert (found["difference"], found["users"], found["n"], found["verdict"]) == (5.0, 30, 30, "higher")
    assert found["effect_size"] == pytest.approx(5.0 / np.std(gains, ddof=1))
    assert found["ci_low"] > 4
    other = compared(pairs(gains), candidate=BASE).row(0, named=True)
    assert (other["difference"], other["verdict"], other["p_value"]) == (-5.0, "lower", found["p_value"])


def test_compare_without_a_difference_says_so() -> None:
    found = compared(pairs([5.0, -5.0] * 20))
    assert found["verdict"].to_list() == ["no difference"] * 5
    assert found["p_value"][0] > 0.9
    assert found.filter(metric="sentiment_agreement").select("difference", "effect_size", "p_value").row(0) == (
        0.0,
        None,
        1.0,
    )


def test_compare_few_users_are_told_apart_from_no_difference() -> None:
    assert compared(pairs([5.0] * 19))["verdict"][0] == "too few users"
    assert compared(pairs([5.0] * 40, user_id="one"))["verdict"][0] == "too few users"


def test_compare_takes_the_mean_of_a_row_over_the_repeats() -> None:
    first, second = pairs([2.0] * 20), [row for row in pairs([6.0] * 20) if row["adapter"]]
    found = compared(first, second).row(0, named=True)
    assert (found["difference"], found["n"]) == ((2.0 + 6.0) / 2, 20)


def test_compare_with_against_without_ratings_too() -> None:
    rows = pairs([1.0] * 20) + [generation(str(n), 45.0, user_id=f"u{n}", with_rating=False) for n in range(20)]
    found = compared(rows).filter(metric="rouge1").select("model", "with_rating", "other", "other_with_rating", "difference")
    assert found.rows() == [
        ("tiny + adapter", True, "tiny", True, 1.0),
        ("tiny + adapter", True, "tiny", False, 6.0),
        ("tiny", True, "tiny", False, 5.0),
    ]


def test_compare_corrects_for_the_number_of_comparisons() -> None:
    drawn = np.random.default_rng(5).normal(1.0, 2.5, 30)
    found = compared(pairs(drawn.tolist())).filter(pl.col("metric") != "sentiment_agreement")
    # Four equal p-values and one of 1: Holm multiplies the smallest by 5, and what follows is never smaller.
    assert found["p_corrected"].to_list() == pytest.approx([min(1.0, 5 * found["p_value"][0])] * 4)


def test_compare_seldom_finds_what_is_not_there() -> None:
    draw = np.random.default_rng(0)
    p_values = np.array([sign_flip(draw.standard_t(3, 30), seed=seed) for seed in range(300)])
    assert (p_values < 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_sign_flip_by_hand() -> None:
    assert sign_flip(np.array([3.0, 1.0])) == pytest.approx(2 / 4, abs=0.01)  # sums 4, 2, -2, -4: two are as far from 0 as 4
    assert sign_flip(np.full(60, 0.1)) == 1 / 100_000  # no drawn sum is as far
    assert sign_flip(np.zeros(5)) == 1.0


def test_compare_of_one_model_is_empty() -> None:
    found = compared([generation("a")])
    assert found.columns == COMPARISONS.schema.names
    assert found.is_empty()


def test_compare_leaves_out_a_figure_that_cannot_read_too_many_rows() -> None:
    rows = pairs([5.0] * 40)
    foreign = {"rouge1": None, "rougeL": None, "meteor": None}
    few = [row | (foreign if int(row["example_id"]) < 4 else {}) for row in rows]
    assert compared(few).filter(metric="rouge1").select("n", "verdict").rows() == [(36, "higher")]
    many = [row | (foreign if int(row["example_id"]) < 5 else {}) for row in rows]
    assert compared(many)["metric"].to_list() == ["sbert_cosine", "sentiment_agreement"]
    # Texts are each model's own: those of one that is not read leave nothing to compare the other's with.
    strange = [row | ({"sentiment": None, "claims": None} if row["adapter"] else {}) for row in rows]
    assert compared(strange)["metric"].to_list() == ["rouge1", "rougeL", "meteor", "sbert_cosine"]
