"""Metrics: hand-computed means and intervals, failed rows, and what is refused."""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from reviewllm.errors import SchemaError
from reviewllm.report import metrics as metrics_module
from reviewllm.report.metrics import bootstrap, summarise
from reviewllm.tables import GENERATIONS, METRICS

OTHER = {"adapter": "out/adapter"}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=GENERATIONS.schema)


def _summary(rows: list[dict[str, Any]], names: Any, **options: Any) -> pl.DataFrame:
    return pl.DataFrame(summarise(_table(rows), run="r", repeat=0, names=names, **options))


def _value(summary: pl.DataFrame, **key: Any) -> float:
    found = summary.filter(**({"metric": "rouge1", "category": "all"} | key))
    assert len(found) == 1
    return float(found["value"][0])


def test_summarise_averages_rows_and_counts_a_failed_row_as_zero(generation, names):
    failed = generation("c", None, review=None, error="too long")
    summary = _summary([generation("a", 30.0), generation("b", 60.0), failed], names)

    assert _value(summary) == (30.0 + 60.0 + 0.0) / 3
    assert summary["n"].to_list() == [3] * len(summary)


def test_summarise_ignores_the_scores_of_a_failed_row(generation, names):
    assert _value(_summary([generation("a", 30.0), generation("b", 90.0, review=None, error="died")], names)) == 30.0 / 2


def test_summarise_gives_every_category_and_all_with_one_line_for_each_score(generation, names):
    rows = [generation("a", 10.0, category="Picks"), generation("b", 40.0), generation("c", 70.0)]
    summary = _summary(rows, names)

    assert _value(summary) == (10.0 + 40.0 + 70.0) / 3
    assert _value(summary, category="Picks") == 10.0
    assert _value(summary, category="Strings") == (40.0 + 70.0) / 2
    assert summary["category"].to_list() == ["all"] * 3 + ["Picks"] * 3 + ["Strings"] * 3
    assert summary["metric"].to_list() == ["rouge1", "rougeL", "sbert_cosine"] * 3


def test_summarise_gives_a_category_named_all_no_lines_of_its_own(generation, names):
    summary = _summary([generation("a", 10.0, category="all"), generation("b", 40.0)], names)

    assert _value(summary, category="all") == (10.0 + 40.0) / 2


def test_summarise_keeps_models_ratings_and_splits_apart(generation, names):
    rows = [
        generation("a", 10.0),
        generation("a", 20.0, with_rating=False),
        generation("a", 30.0, **OTHER),
        generation("h", 5.0, split="hard"),
        generation("h", 6.0, split="hard", with_rating=False),
        generation("h", 7.0, split="hard", **OTHER),
    ]
    summary = _summary(rows, names)
    lines = summary.filter(metric="rouge1", category="all").select("split", "model", "with_rating", "value").rows()

    assert lines == [
        ("simple", "tiny", True, 10.0),
        ("simple", "tiny", False, 20.0),
        ("simple", "tiny + adapter", True, 30.0),
        ("hard", "tiny", True, 5.0),
        ("hard", "tiny", False, 6.0),
        ("hard", "tiny + adapter", True, 7.0),
    ]


def test_summarise_joins_two_adapters_of_one_name_that_differ_in_rating(generation):
    names = {("models/tiny", "with"): "Review-LLM", ("models/tiny", "without"): "Review-LLM"}
    rows = [generation("a", 10.0, adapter="with"), generation("a", 20.0, adapter="without", with_rating=False)]
    summary = _summary(rows, names)

    assert _value(summary, model="Review-LLM", with_rating=True) == 10.0
    assert _value(summary, model="Review-LLM", with_rating=False) == 20.0


def test_summarise_equal_rows_give_an_interval_without_width(generation, names):
    summary = _summary([generation(name, 50.0) for name in "abcde"], names)

    assert summary["ci_low"].to_list() == summary["ci_high"].to_list() == summary["value"].to_list() == [50.0] * len(summary)


def test_summarise_is_deterministic_whatever_the_order_of_rows(generation, names):
    rows = [generation(str(number), float(number % 7)) for number in range(40)]
    first, again = _summary(rows, names), _summary(rows[::-1], names)

    assert first.equals(again)
    assert not first.equals(_summary(rows, names, seed=1))
    assert pa.table(first.to_arrow()).column_names == METRICS.schema.names


def test_bootstrap_two_users_gives_the_ends_that_can_be_counted_by_hand():
    # Two users of means 0 and 100 with one row each: a resample has mean 0, 50 or 100 with probability 1/4, 1/2, 1/4, so
    # the 2.5 % and 97.5 % points are 0 and 100.
    rows = pl.DataFrame(
        {"user_id": ["u", "v"], "rouge1": [0.0, 100.0], "rougeL": [0.0, 100.0], "sbert_cosine": [0.0, 100.0]}
    )
    estimate = bootstrap(rows, resamples=1_000, seed=0)

    assert estimate.value.tolist() == [(0.0 + 100.0) / 2] * 3
    assert estimate.ci_low.tolist() == [0.0] * 3
    assert estimate.ci_high.tolist() == [100.0] * 3


def test_bootstrap_draws_users_and_not_rows():
    # One user with nine rows of 0, one with a single row of 100: the mean over rows is 10, and drawing users gives 0 (twice
    # the first), 10 (both) or 100 (twice the second). Drawing rows would almost never give 100.
    scores = [0.0] * 9 + [100.0]
    rows = pl.DataFrame({"user_id": ["u"] * 9 + ["v"], "rouge1": scores, "rougeL": scores, "sbert_cosine": scores})
    estimate = bootstrap(rows, resamples=1_000, seed=0)

    assert estimate.value.tolist() == [(9 * 0.0 + 100.0) / 10] * 3
    assert (estimate.ci_low[0], estimate.ci_high[0]) == (0.0, 100.0)


def test_bootstrap_is_near_the_normal_interval_of_many_users():
    # For 400 users with one row each, a standard deviation s and a mean m: m - 1.96 s / 20 to m + 1.96 s / 20.
    scores = np.random.default_rng(3).normal(30.0, 10.0, 400)
    rows = pl.DataFrame(
        {"user_id": [str(n) for n in range(400)], "rouge1": scores, "rougeL": scores, "sbert_cosine": scores}
    )
    estimate = bootstrap(rows, resamples=1_000, seed=0)
    half = 1.96 * scores.std() / np.sqrt(400)

    assert estimate.ci_low[0] == pytest.approx(scores.mean() - half, abs=0.15)
    assert estimate.ci_high[0] == pytest.approx(scores.mean() + half, abs=0.15)


def test_bootstrap_gives_the_same_in_small_blocks(monkeypatch):
    scores = [float(n) for n in range(10)]
    rows = pl.DataFrame({"user_id": list("abcdefghij"), "rouge1": scores, "rougeL": scores, "sbert_cosine": scores})
    whole = bootstrap(rows, resamples=100, seed=0)
    monkeypatch.setattr(metrics_module, "DRAWS_AT_ONCE", 30)

    assert [part.tolist() for part in bootstrap(rows, resamples=100, seed=0)] == [part.tolist() for part in whole]


@pytest.mark.parametrize("score", [None, float("nan")])
def test_summarise_refuses_a_review_without_a_score(generation, names, score):
    with pytest.raises(SchemaError, match=r"without all of its scores, in 1 row\(s\), first of them b"):
        _summary([generation("a"), generation("b", rougeL=score)], names)


def test_summarise_refuses_a_missing_column(generation, names):
    with pytest.raises(SchemaError, match=r"lacks the column\(s\) sbert_cosine"):
        summarise(_table([generation("a")]).drop_columns("sbert_cosine"), run="r", repeat=0, names=names)


def test_summarise_refuses_a_model_without_a_name(generation, names):
    with pytest.raises(SchemaError, match=r"no name was given for .*'another'"):
        _summary([generation("a", model="another")], names)


def test_summarise_refuses_rows_of_a_backfill(generation, names):
    with pytest.raises(SchemaError, match="split backfill is not evaluated"):
        _summary([generation("a", split="backfill")], names)


def test_summarise_refuses_an_example_that_is_there_twice(generation, names):
    with pytest.raises(SchemaError, match="an example twice"):
        _summary([generation("a"), generation("a")], names)


def test_summarise_refuses_models_that_answered_different_examples(generation, names):
    with pytest.raises(SchemaError, match=r"tiny \+ adapter .* has 1 of the 2 examples of split simple"):
        _summary([generation("a"), generation("b"), generation("a", **OTHER)], names)


def test_summarise_refuses_an_evaluation_without_rows(names):
    with pytest.raises(SchemaError, match="there is no row"):
        _summary([], names)
