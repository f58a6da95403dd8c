"""What needs no reference, and figures by slices."""

from typing import Any

import pyarrow as pa
import pytest

from reviewllm.errors import SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.contenders import Kind
from reviewllm.evaluation.figures import CORPUS, REFERENCE_FREE
from reviewllm.report.figure_tables import figure_tables, slice_tables
from reviewllm.tables import METRICS

KINDS: dict[str, Kind] = {"tiny": "base", "ours": "adapter"}


def _line(metric: str, value: float, **changes: Any) -> dict[str, Any]:
    row = {"run": "r", "model": "tiny", "split": "simple", "with_rating": True, "repeat": 0, "slice": "all"}
    row |= {"group": "all", "metric": metric, "value": value, "ci_low": value - 2.0, "ci_high": value + 4.0, "n": 10}
    return row | changes


def _metrics(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=METRICS.schema)


def _of_group(slice_: str, group: str, value: float, **changes: Any) -> dict[str, Any]:
    return _line("sbert_cosine", value, slice=slice_, group=group, **changes)


def test_figure_tables_hold_the_figures_without_a_reference_of_each_split():
    rows = [_line("words", 30.0), _line("failed", 5.0, ci_low=None, ci_high=None, n=20), _line("rouge1", 9.0)]
    simple, hard = figure_tables(_metrics(*rows, _line("failed", 0.0, split="hard")), KINDS)

    assert simple.figures == hard.figures == tuple(figure.name for figure in (*REFERENCE_FREE, *CORPUS))
    assert (simple.split, hard.split) == ("simple", "hard")
    assert list(simple.rows[0].cells) == ["words", "failed"]
    assert (simple.rows[0].cells["words"].ci_low, simple.rows[0].cells["failed"].ci_low) == (30.0 - 2.0, None)
    assert simple.rows[0].n == 20  # of all rows, also those that failed


def test_figure_tables_keep_the_real_reviews():
    rows = [_line("failed", 0.0), _line("failed", 0.0, model="ours"), _line("failed", 0.0, model=REAL.name)]
    (table,) = figure_tables(_metrics(*rows), KINDS)

    assert [(row.model, row.kind) for row in table.rows] == [("tiny", "base"), ("ours", "adapter"), (REAL.name, "baseline")]


def test_figure_tables_average_over_repeats():
    rows = [
        line
        for repeat, value in enumerate((20.0, 26.0))
        for line in (_line("failed", 0.0, repeat=repeat), _line("words", value, repeat=repeat))
    ]
    (table,) = figure_tables(_metrics(*rows), KINDS)

    assert (table.rows[0].repeats, table.rows[0].cells["words"].value) == (2, (20.0 + 26.0) / 2)
    assert table.rows[0].cells["words"].sd == pytest.approx((2 * 3.0**2 / (2 - 1)) ** 0.5)


def test_figure_tables_of_no_row_are_none():
    assert figure_tables(_metrics(), KINDS) == ()
    assert figure_tables(_metrics(_of_group("rating", "4", 1.0)), KINDS) == ()


def test_slice_tables_hold_groups_in_order_with_a_row_for_each_model():
    rows = [_of_group("history", group, value) for group, value in (("0", 10.0), ("1-4", 20.0), ("5-9", 30.0))]
    rows += [_of_group("history", "1-4", 40.0, model="ours"), _of_group("history", "5-9", 50.0, model="ours")]
    (table,) = slice_tables(_metrics(*rows))

    assert (table.split, table.slice, table.figure, table.groups) == (
        "simple",
        "history",
        "sbert_cosine",
        ("0", "1-4", "5-9"),
    )
    assert [{group: cell.value for group, cell in row.cells.items()} for row in table.rows] == [
        {"0": 10.0, "1-4": 20.0, "5-9": 30.0},
        {"1-4": 40.0, "5-9": 50.0},
    ]


def test_slice_tables_leave_out_a_single_group_and_the_real_reviews():
    single = [_of_group("category", "Picks", 1.0)]
    real = [_of_group("rating", group, 100.0, model=REAL.name) for group in ("4", "5")]

    assert slice_tables(_metrics(*single, *real)) == ()


def test_slice_tables_come_by_split_slice_and_figure():
    rows = [
        _line(metric, 1.0, split=split, slice=slice_, group=group)
        for split in ("hard", "simple")
        for slice_ in ("category", "rating")
        for metric in ("rouge1", "rougeL", "sbert_cosine")
        for group in ("a", "b")
    ]

    assert [(table.split, table.slice, table.figure) for table in slice_tables(_metrics(*rows))] == [
        (split, slice_, figure)
        for split in ("simple", "hard")
        for slice_ in ("rating", "category")
        for figure in ("sbert_cosine", "rougeL")
    ]


def test_slice_tables_average_over_repeats():
    rows = [
        _of_group("rating", group, value + 10.0 * repeat, repeat=repeat)
        for repeat in (0, 1)
        for group, value in (("4", 20.0), ("5", 30.0))
    ]
    (table,) = slice_tables(_metrics(*rows))

    assert {group: cell.value for group, cell in table.rows[0].cells.items()} == {
        "4": (20.0 + 30.0) / 2,
        "5": (30.0 + 40.0) / 2,
    }


def test_figure_and_slice_tables_refuse_a_missing_column():
    table = _metrics(_line("failed", 0.0)).drop_columns("slice")

    for build in (lambda: figure_tables(table, KINDS), lambda: slice_tables(table)):
        with pytest.raises(SchemaError, match=r"lacks the column\(s\) slice"):
            build()
