"""Tables 1 and 2: means over repeats, the best of a column, the paper's figures, and text for a terminal."""

from typing import Any

import pyarrow as pa
import pytest

from reviewllm.errors import SchemaError
from reviewllm.report.score_tables import is_best, plain_text, score_tables
from reviewllm.tables import METRICS


def _line(metric: str, value: float, **changes: Any) -> dict[str, Any]:
    row = {"run": "r", "model": "tiny", "split": "simple", "category": "all", "with_rating": True, "repeat": 0}
    row |= {"metric": metric, "value": value, "ci_low": value - 2.0, "ci_high": value + 4.0, "n": 10}
    return row | changes


def _lines(rouge1: float, rouge_l: float, cosine: float, **changes: Any) -> list[dict[str, Any]]:
    values = {"rouge1": rouge1, "rougeL": rouge_l, "sbert_cosine": cosine}
    return [_line(metric, value, **changes) for metric, value in values.items()]


def _metrics(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=METRICS.schema)


def test_score_tables_average_values_and_interval_ends_over_repeats():
    simple, _ = score_tables(_metrics(_lines(10.0, 20.0, 30.0) + _lines(13.0, 20.0, 30.0, repeat=1)))
    row = simple.rows[0]

    assert (row.n, row.repeats) == (10, 2)
    assert row.cells["rouge1"].value == (10.0 + 13.0) / 2
    assert row.cells["rouge1"].ci_low == (10.0 - 2.0 + 13.0 - 2.0) / 2
    assert row.cells["rouge1"].ci_high == (10.0 + 4.0 + 13.0 + 4.0) / 2


def test_score_tables_keep_to_all_categories_and_to_their_split():
    rows = _lines(10.0, 20.0, 30.0) + _lines(99.0, 99.0, 99.0, category="Picks") + _lines(1.0, 2.0, 3.0, split="hard")
    simple, hard = score_tables(_metrics(rows))

    assert [row.cells["rouge1"].value for row in simple.rows] == [10.0]
    assert [row.cells["rouge1"].value for row in hard.rows] == [1.0]
    assert (simple.number, simple.split, hard.number, hard.split) == (1, "simple", 2, "hard")


def test_score_tables_split_that_was_not_evaluated_has_no_rows_and_says_so():
    _, hard = score_tables(_metrics(_lines(10.0, 20.0, 30.0)))

    assert hard.rows == ()
    assert plain_text(hard).splitlines()[1].strip() == "no rows: this split was not evaluated"


def test_score_tables_carry_the_papers_figures():
    simple, hard = score_tables(_metrics(_lines(10.0, 20.0, 30.0)))

    figures = {(row.model, row.with_rating): tuple(row.values.values()) for row in simple.paper}
    assert figures["Review-LLM", True] == (31.15, 26.88, 49.52)
    assert figures["Llama-3-8b", False] == (13.82, 9.59, 30.46)
    figures = {(row.model, row.with_rating): tuple(row.values.values()) for row in hard.paper}
    assert figures["Review-LLM", True] == (21.93, 16.63, 39.35)
    assert figures["GPT-4o", False] == (14.51, 8.73, 38.64)
    assert len(simple.paper) == len(hard.paper) == 4 * 2


def test_is_best_marks_ties_to_the_printed_decimals():
    rows = _lines(10.001, 5.0, 1.0) + _lines(10.004, 4.0, 2.0, model="other")
    simple, _ = score_tables(_metrics(rows))
    tiny, other = simple.rows

    assert [is_best(simple, tiny, metric) for metric in simple.metrics] == [True, True, False]
    assert [is_best(simple, other, metric) for metric in simple.metrics] == [True, False, True]


def test_plain_text_aligns_columns_and_marks_the_best():
    rows = _lines(10.0, 5.0, 1.5) + _lines(9.0, 6.0, 22.25, model="tiny + adapter", with_rating=False)
    simple, _ = score_tables(_metrics(rows))

    assert plain_text(simple).splitlines() == [
        "Table 1: simple evaluation (10 rows, 1 repeat)",
        "  model                        ROUGE-1  ROUGE-L  sbert_cosine",
        "  tiny (w/ rating)             * 10.00     5.00          1.50",
        "  tiny + adapter (w/o rating)     9.00   * 6.00       * 22.25",
    ]


def test_score_tables_refuse_two_runs():
    with pytest.raises(SchemaError, match="rows of the runs r, s together"):
        score_tables(_metrics(_lines(1.0, 2.0, 3.0) + _lines(1.0, 2.0, 3.0, run="s")))


def test_score_tables_refuse_a_figure_twice():
    with pytest.raises(SchemaError, match="2 rows give one figure more than once"):
        score_tables(_metrics([*_lines(1.0, 2.0, 3.0), _line("rouge1", 4.0)]))


def test_score_tables_refuse_a_missing_metric():
    with pytest.raises(SchemaError, match="every repeat needs the metrics"):
        score_tables(_metrics(_lines(1.0, 2.0, 3.0)[:2]))


def test_score_tables_refuse_repeats_of_different_sizes():
    with pytest.raises(SchemaError, match=r"repeats have \[9, 10\] rows"):
        score_tables(_metrics(_lines(1.0, 2.0, 3.0) + _lines(1.0, 2.0, 3.0, repeat=1, n=9)))


def test_score_tables_refuse_what_is_not_a_number():
    with pytest.raises(SchemaError, match="1 rows hold a figure that is not a finite number"):
        score_tables(_metrics([*_lines(1.0, 2.0, 3.0)[1:], _line("rouge1", float("nan"))]))


def test_score_tables_refuse_a_missing_column():
    with pytest.raises(SchemaError, match=r"lacks the column\(s\) ci_low"):
        score_tables(_metrics(_lines(1.0, 2.0, 3.0)).drop_columns("ci_low"))
