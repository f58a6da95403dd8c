"""Metrics: means, slices and counts by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pyarrow as pa
from evaluated import NAMES, example, generation, generations, rows_of

from reviewllm.evaluation.metrics import ranges, summarise
from reviewllm.evaluation.rows import evaluated_rows
from reviewllm.tables import EXAMPLES, METRICS

OTHER = {"adapter": "out/adapter"}


def summary_of(rows: list[dict[str, Any]], **options: Any) -> pl.DataFrame:
    return pl.DataFrame(summarise(rows_of(rows), run="r", repeat=0, **options))


def value(summary: pl.DataFrame, **key: Any) -> float:
    found = summary.filter(**({"metric": "rouge1", "slice": "all"} | key))
    assert len(found) == 1
    return float(found["value"][0])


def test_summarise_averages_rows_and_counts_a_failed_row_as_zero() -> None:
    failed = generation("c", None, review=None, error="too long", words=None, sentiment=None)
    summary = summary_of([generation("a", 30.0), generation("b", 60.0), failed])
    assert value(summary) == (30.0 + 60.0 + 0.0) / 3
    assert value(summary, metric="failed") == 100 * 1 / 3
    assert value(summary, metric="words") == (3 + 3) / 2
    counts = dict(summary.filter(slice="all").select("metric", "n").rows())
    assert counts["rouge1"] == counts["failed"] == 3
    assert counts["words"] == counts["sentiment_agreement"] == counts["distinct1"] == 2
    assert "polite" not in counts  # no purchase has 1 or 2 stars


def test_summarise_slices() -> None:
    rows = [generation("a", 10.0, category="Picks", rating=1.0), generation("b", 40.0), generation("c", 70.0)]
    history = [{"item_id": "x", "title": "t", "rating": 5.0, "review": "r", "purchased_at": example("a")["purchased_at"]}]
    older = [{**history[0], "purchased_at": history[0]["purchased_at"] - timedelta(days=days)} for days in (900, 179.5, 3)]
    asked = [
        *(example("a"), example("b", history=older), example("c", history=history * 30, reference="w " * 100)),
        *(
            example("d", history=history),
            example("e", history=older[:2]),
        ),  # of two the median lies between them: 539.75 days
    ]
    rows += [generation("d", 20.0), generation("e", 60.0)]
    table = pa.Table.from_pylist(asked, schema=EXAMPLES.schema)
    found = evaluated_rows(generations(rows), table, names=NAMES)
    summary = pl.DataFrame(summarise(found, run="r", repeat=0))
    lines = summary.filter(metric="rouge1").select("slice", "group", "value", "n").rows()
    assert lines == [
        ("all", "all", (10.0 + 40.0 + 70.0 + 20.0 + 60.0) / 5, 5),
        ("category", "Picks", 10.0, 1),
        ("category", "Strings", (40.0 + 70.0 + 20.0 + 60.0) / 4, 4),
        ("rating", "1", 10.0, 1),
        ("rating", "4", (40.0 + 70.0 + 20.0 + 60.0) / 4, 4),
        ("history", "0", 10.0, 1),
        ("history", "1", 20.0, 1),
        ("history", "2", 60.0, 1),
        ("history", "3-4", 40.0, 1),
        ("history", "20+", 70.0, 1),
        ("age", "0-29", (70.0 + 20.0) / 2, 2),
        ("age", "30-179", 40.0, 1),
        ("age", "365-1094", 60.0, 1),
        ("reference", "2-19", (10.0 + 40.0 + 20.0 + 60.0) / 4, 4),
        ("reference", "100+", 70.0, 1),
    ]
    assert ranges([0, 2]) == ["0-1", "2+"]


def test_summarise_distinct_is_of_all_texts_together() -> None:
    summary = summary_of([generation("a", review="good good"), generation("b", review="good bad")])
    assert value(summary, metric="distinct1") == 100 * 2 / 4
    assert summary.filter(metric="distinct1")["ci_low"].null_count() == 1


def test_summarise_keeps_models_ratings_and_splits_apart() -> None:
    rows = [
        generation("a", 10.0),
        generation("a", 20.0, with_rating=False),
        generation("a", 30.0, **OTHER),
        generation("h", 5.0, split="hard"),
        generation("h", 6.0, split="hard", with_rating=False),
        generation("h", 7.0, split="hard", **OTHER),
    ]
    lines = summary_of(rows).filter(metric="rouge1", slice="all").select("split", "model", "with_rating", "value").rows()
    assert lines == [
        ("simple", "tiny", True, 10.0),
        ("simple", "tiny", False, 20.0),
        ("simple", "tiny + adapter", True, 30.0),
        ("hard", "tiny", True, 5.0),
        ("hard", "tiny", False, 6.0),
        ("hard", "tiny + adapter", True, 7.0),
    ]


def test_summarise_is_deterministic_whatever_the_order_of_rows() -> None:
    rows = [generation(str(number), float(number % 7)) for number in range(40)]
    first = summary_of(rows)
    assert first.equals(summary_of(rows[::-1]))
    assert not first.equals(summary_of(rows, seed=1))
    assert pa.table(first.to_arrow()).column_names == METRICS.schema.names


def test_summarise_gives_no_value_where_too_many_rows_cannot_be_read() -> None:
    read = [generation(str(number), 40.0) for number in range(9)]
    foreign = {"rouge1": None, "rougeL": None, "sentiment": None, "claims": None}
    one, two = (
        summary_of([*read, *(generation(name, 50.0, review="非常好", **foreign) for name in names)]).filter(slice="all")
        for names in ("x", "xy")
    )
    columns = ["value", "n", "unread", "asked"]
    assert one.filter(metric="rouge1").select(columns).rows() == [(40.0, 9, 1, 10)]  # a tenth
    assert two.filter(metric="rouge1").select(columns).rows() == [(None, 9, 2, 11)]
    assert two.filter(metric="rouge1").select("ci_low", "ci_high").rows() == [(None, None)]
    assert two.filter(metric="sentiment_agreement").select(columns).rows() == [(None, 9, 2, 11)]
    assert two.filter(metric="sbert_cosine").select(columns).rows() == [((9 * 40.0 + 2 * 50.0) / 11, 11, 0, 11)]
    assert two.filter(metric="words").select(columns).rows() == [(3.0, 11, None, None)]  # reads every text


def test_summarise_reckons_texts_that_cannot_be_read_among_all_texts_and_not_among_those_that_claim_something() -> None:
    silent = [generation(str(number)) for number in range(18)]
    told = generation("x", claims=1, hallucination=100.0)
    summary = summary_of([*silent, told, generation("y", claims=None, sentiment=None)]).filter(slice="all")
    columns = ["value", "n", "unread", "asked"]
    assert summary.filter(metric="hallucination").select(columns).rows() == [(100.0, 1, 1, 20)]
