"""Tables 1 and 2: means over repeats, the best of a column, the paper's figures, and text for a terminal."""

from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from reviewllm.errors import SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.contenders import Kind
from reviewllm.report.content import ScoreTable
from reviewllm.report.score_tables import cells, is_best, plain_text, score_tables
from reviewllm.tables import METRICS


def _line(metric: str, value: float, **changes: Any) -> dict[str, Any]:
    row = {"run": "r", "model": "tiny", "split": "simple", "with_rating": True, "repeat": 0}
    row |= {"slice": "all", "group": "all"}
    row |= {"metric": metric, "value": value, "ci_low": value - 2.0, "ci_high": value + 4.0, "n": 10}
    return row | changes


def _lines(rouge1: float, rouge_l: float, cosine: float, **changes: Any) -> list[dict[str, Any]]:
    values = {"rouge1": rouge1, "rougeL": rouge_l, "meteor": rouge_l, "sbert_cosine": cosine}
    return [_line(metric, value, **changes) for metric, value in values.items()]


def _tables(rows: list[dict[str, Any]], **kinds: Kind) -> tuple[ScoreTable, ScoreTable]:
    """The tables of these rows, whose models are bases where nothing else is said."""
    known: dict[str, Kind] = {row["model"]: "base" for row in rows}
    return score_tables(_metrics(rows), known | kinds)


def _metrics(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=METRICS.schema)


def test_score_tables_average_values_and_interval_ends_over_repeats():
    simple, _ = _tables(_lines(10.0, 20.0, 30.0) + _lines(13.0, 20.0, 30.0, repeat=1))
    row = simple.rows[0]

    assert (row.n, row.repeats) == (10, 2)
    assert row.cells["rouge1"].value == (10.0 + 13.0) / 2
    assert row.cells["rouge1"].ci_low == (10.0 - 2.0 + 13.0 - 2.0) / 2
    assert row.cells["rouge1"].ci_high == (10.0 + 4.0 + 13.0 + 4.0) / 2


def test_score_tables_give_the_standard_deviation_over_repeats():
    values = (10.0, 13.0, 19.0)
    rows = [line for repeat, value in enumerate(values) for line in _lines(value, 20.0, 30.0, repeat=repeat)]
    found = _tables(rows)[0].rows[0].cells
    mean = (10.0 + 13.0 + 19.0) / 3

    assert found["rouge1"].sd == pytest.approx((sum((value - mean) ** 2 for value in values) / (3 - 1)) ** 0.5)
    assert found["rougeL"].sd == 0.0
    assert _tables(rows[:4])[0].rows[0].cells["rouge1"].sd is None  # one repeat


def test_score_tables_know_the_kind_of_each_model():
    rows = _lines(1.0, 2.0, 3.0) + _lines(1.0, 2.0, 3.0, model="ours") + _lines(1.0, 2.0, 3.0, model="copy")
    simple, _ = _tables(rows, ours="adapter", copy="baseline")

    assert [(row.model, row.kind) for row in simple.rows] == [("tiny", "base"), ("ours", "adapter"), ("copy", "baseline")]


def test_score_tables_leave_the_real_reviews_out():
    simple, hard = _tables(_lines(1.0, 2.0, 3.0) + _lines(100.0, 100.0, 100.0, model=REAL.name, with_rating=False))

    assert [row.model for row in simple.rows] == ["tiny"]
    assert hard.rows == ()


def test_score_tables_take_a_baseline_once_beside_five_repeats():
    rows = [line for repeat in range(5) for line in _lines(10.0 + repeat, 20.0, 30.0, repeat=repeat)]
    simple, _ = _tables(rows + _lines(9.0, 9.0, 9.0, model="copy", with_rating=False), copy="baseline")

    assert [(row.repeats, row.cells["rouge1"].sd is None) for row in simple.rows] == [(5, False), (1, True)]
    assert plain_text(simple).splitlines() == [
        "Table 1: simple evaluation (10 rows, 5 repeats)",
        "  model                    ROUGE-1        ROUGE-L  METEOR (no synonyms)   sbert_cosine",
        f"  tiny (w/ rating)   * 12.00 ±{(2 * (2**2 + 1**2) / (5 - 1)) ** 0.5:.2f}  * 20.00 ±0.00         * 20.00 ±0.00  "
        "* 30.00 ±0.00",
        "  copy (w/o rating)     9.00           9.00                  9.00           9.00",
    ]


def test_cells_of_figures_without_an_interval_have_none():
    rows = [_line("distinct1", value, repeat=repeat, ci_low=None, ci_high=None) for repeat, value in enumerate((20.0, 30.0))]
    found = cells(pl.DataFrame(_metrics(rows)))["distinct1"]

    assert (found.value, found.ci_low, found.ci_high) == ((20.0 + 30.0) / 2, None, None)
    assert found.sd == pytest.approx((2 * 5.0**2 / (2 - 1)) ** 0.5)


def test_cells_count_the_rows_of_the_fullest_repeat():
    rows = [_line("polite", 50.0, n=7), _line("polite", 50.0, repeat=1, n=9)]

    assert cells(pl.DataFrame(_metrics(rows)))["polite"].n == 9


def test_score_tables_keep_to_all_rows_and_to_their_split():
    sliced = _lines(99.0, 99.0, 99.0, slice="category", group="Picks")
    rows = [*_lines(10.0, 20.0, 30.0), *sliced, _line("words", 3.0), *_lines(1.0, 2.0, 3.0, split="hard")]
    simple, hard = _tables(rows)

    assert [row.cells["rouge1"].value for row in simple.rows] == [10.0]
    assert [row.cells["rouge1"].value for row in hard.rows] == [1.0]
    assert (simple.number, simple.split, hard.number, hard.split) == (1, "simple", 2, "hard")


def test_score_tables_split_that_was_not_evaluated_has_no_rows_and_says_so():
    _, hard = _tables(_lines(10.0, 20.0, 30.0))

    assert hard.rows == ()
    assert plain_text(hard).splitlines()[1].strip() == "no rows: this split was not evaluated"


def test_score_tables_carry_the_papers_figures():
    simple, hard = _tables(_lines(10.0, 20.0, 30.0))

    figures = {(row.model, row.with_rating): tuple(row.values.values()) for row in simple.paper}
    assert figures["Review-LLM", True] == (31.15, 26.88, 49.52)
    assert figures["Llama-3-8b", False] == (13.82, 9.59, 30.46)
    figures = {(row.model, row.with_rating): tuple(row.values.values()) for row in hard.paper}
    assert figures["Review-LLM", True] == (21.93, 16.63, 39.35)
    assert figures["GPT-4o", False] == (14.51, 8.73, 38.64)
    assert len(simple.paper) == len(hard.paper) == 4 * 2
    printed = plain_text(simple, paper=True).splitlines()[-1]  # it has no METEOR
    assert printed.split() == ["Review-LLM", "(w/o", "rating)", "30.47", "26.38", "–", "48.56"]


def test_is_best_marks_ties_to_the_printed_decimals():
    rows = _lines(10.001, 5.0, 1.0) + _lines(10.004, 4.0, 2.0, model="other")
    simple, _ = _tables(rows)
    tiny, other = simple.rows

    assert [is_best(simple, tiny, metric) for metric in simple.metrics] == [True, True, True, False]
    assert [is_best(simple, other, metric) for metric in simple.metrics] == [True, False, False, True]


def test_plain_text_aligns_columns_and_marks_the_best():
    rows = _lines(10.0, 5.0, 1.5) + _lines(9.0, 6.0, 22.25, model="tiny + adapter", with_rating=False)
    simple, _ = _tables(rows)

    assert plain_text(simple).splitlines() == [
        "Table 1: simple evaluation (10 rows, 1 repeat)",
        "  model                        ROUGE-1  ROUGE-L  METEOR (no synonyms)  sbert_cosine",
        "  tiny (w/ rating)             * 10.00     5.00                  5.00          1.50",
        "  tiny + adapter (w/o rating)     9.00   * 6.00                * 6.00       * 22.25",
    ]


def test_plain_text_says_how_many_references_cannot_be_scored_in_place_of_a_number():
    nothing = {"value": None, "ci_low": None, "ci_high": None}
    rows = [
        *(_line("rouge1", 0.0, n=3, unread=7, asked=10, model=model) | nothing for model in ("tiny", "ours")),
        *(_line("rougeL", value, n=9, unread=1, asked=10, model=model) for model, value in (("tiny", 5.0), ("ours", 6.0))),
        *(_line("meteor", value, model=model) for model, value in (("tiny", 8.0), ("ours", 7.0))),
        *(_line("sbert_cosine", value, model=model) for model, value in (("tiny", 70.0), ("ours", 60.0))),
    ]
    simple, _ = _tables(rows)

    assert simple.rows[0].n == 10
    assert plain_text(simple).splitlines() == [
        "Table 1: simple evaluation (10 rows, 1 repeat)",
        "  model             ROUGE-1  ROUGE-L  METEOR (no synonyms)  sbert_cosine",
        "  tiny (w/ rating)        –     5.00                * 8.00       * 70.00",
        "  ours (w/ rating)        –   * 6.00                  7.00         60.00",
        "  ROUGE-1: 7 of 10 references cannot be scored by this; --rouge-words unicode counts words of any script",
        "  ROUGE-L: without 1 of 10 references, which cannot be scored by this",
    ]


def test_cells_of_a_figure_that_one_repeat_does_not_give_have_no_value():
    nothing = {"value": None, "ci_low": None, "ci_high": None}
    rows = [_line("polite", 50.0, unread=1, asked=19), _line("polite", 0.0, repeat=1, unread=9, asked=19) | nothing]
    found = cells(pl.DataFrame(_metrics(rows)))["polite"]

    assert (found.value, found.ci_low, found.sd, found.unread, found.unread_of) == (None, None, None, 9, "9 of 19")


def test_score_tables_refuse_two_runs():
    with pytest.raises(SchemaError, match="rows of the runs r, s together"):
        _tables(_lines(1.0, 2.0, 3.0) + _lines(1.0, 2.0, 3.0, run="s"))


def test_score_tables_refuse_a_figure_twice():
    with pytest.raises(SchemaError, match="2 rows give one figure more than once"):
        _tables([*_lines(1.0, 2.0, 3.0), _line("rouge1", 4.0)])


def test_score_tables_refuse_a_missing_metric():
    with pytest.raises(SchemaError, match="every repeat needs the metrics"):
        _tables(_lines(1.0, 2.0, 3.0)[:2])


def test_score_tables_refuse_repeats_of_different_sizes():
    with pytest.raises(SchemaError, match=r"repeats have \[9, 10\] rows"):
        _tables(_lines(1.0, 2.0, 3.0) + _lines(1.0, 2.0, 3.0, repeat=1, n=9))


def test_score_tables_refuse_what_is_not_a_number():
    with pytest.raises(SchemaError, match="1 rows hold a figure that is not a finite number"):
        _tables([*_lines(1.0, 2.0, 3.0)[1:], _line("rouge1", float("nan"))])


def test_score_tables_refuse_a_missing_column():
    with pytest.raises(SchemaError, match=r"lacks the column\(s\) ci_low"):
        score_tables(_metrics(_lines(1.0, 2.0, 3.0)).drop_columns("ci_low"), {"tiny": "base"})
