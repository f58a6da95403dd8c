"""Metrics -> what needs no reference, and every figure by slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa

from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.contenders import Kind
from reviewllm.evaluation.figures import CORPUS, GROUNDED, LIKELIHOOD, REFERENCE_FREE, Figure
from reviewllm.evaluation.metrics import ALL
from reviewllm.report.content import FigureTable, ScoreRow, SliceRow, SliceTable, Split
from reviewllm.report.score_tables import cells
from reviewllm.tables import METRICS

SLICES = {  # name in METRICS -> in words
    "rating": "by stars",
    "category": "by category",
    "history": "by the number of the user's own reviews",
    "age": "by the age of the user's own reviews (their median)",
    "reference": "by words of the real review",
}
# Nearness in meaning first, and where it was asked for what the history is worth; the other figures are in metrics.json.
SLICED = ("sbert_cosine", "rougeL", "history_worth")
_SPLITS: tuple[Split, ...] = ("simple", "hard")


def figure_tables(metrics: pa.Table, kinds: Mapping[str, Kind]) -> tuple[FigureTable, ...]:
    """Build the table of figures without a reference for each split that has rows, the real reviews last."""
    return _tables(metrics, kinds, (*REFERENCE_FREE, *CORPUS))


def grounded_tables(metrics: pa.Table, kinds: Mapping[str, Kind]) -> tuple[FigureTable, ...]:
    """Build the table of the figures that tie texts to their products, likewise."""
    return _tables(metrics, kinds, GROUNDED)


def likelihood_tables(metrics: pa.Table, kinds: Mapping[str, Kind]) -> tuple[FigureTable, ...]:
    """Build the table of how likely the real reviews are to each model that tells it, likewise; none where no model does.

    Without what nobody was asked: the figures of prompts without a history.
    """
    return tuple(map(_told, _tables(metrics, kinds, LIKELIHOOD)))


def _told(table: FigureTable) -> FigureTable:
    figures = tuple(name for name in table.figures if any(name in row.cells for row in table.rows))
    rows = tuple(row for row in table.rows if set(figures) & set(row.cells))
    return table.model_copy(update={"figures": figures, "rows": rows})


def _tables(metrics: pa.Table, kinds: Mapping[str, Kind], figures: Sequence[Figure]) -> tuple[FigureTable, ...]:
    names = tuple(figure.name for figure in figures)
    wanted = pl.col("metric").is_in([*names, "failed"])  # of which every row has one: it tells how many texts there are
    frame = pl.DataFrame(METRICS.check(metrics, where="metrics")).filter((pl.col("slice") == ALL) & wanted)
    tables = []
    for split in _SPLITS:
        parts = frame.filter(pl.col("split") == split).partition_by("model", "with_rating", maintain_order=True)
        rows = tuple(_row(part, kinds.get(part["model"][0], "baseline")) for part in parts)
        if any(name in row.cells for row in rows for name in names):
            tables.append(FigureTable(split=split, figures=names, rows=rows))
    return tuple(tables)


def slice_tables(metrics: pa.Table) -> tuple[SliceTable, ...]:
    """Build a table for each split, slice and figure of `SLICED`; a slice with a single group tells nothing and is left out."""
    frame = pl.DataFrame(METRICS.check(metrics, where="metrics")).filter(pl.col("model") != REAL.name)
    tables = []
    for split in _SPLITS:
        for name in SLICES:
            for figure in SLICED:
                mine = frame.filter((pl.col("split") == split) & (pl.col("slice") == name) & (pl.col("metric") == figure))
                groups = tuple(mine["group"].unique(maintain_order=True))
                if len(groups) > 1:
                    rows = tuple(map(_slice_row, mine.partition_by("model", "with_rating", maintain_order=True)))
                    tables.append(SliceTable(split=split, slice=name, figure=figure, groups=groups, rows=rows))
    return tuple(tables)


def _row(part: pl.DataFrame, kind: Kind) -> ScoreRow:
    found = cells(part)
    key = {"model": part["model"][0], "with_rating": part["with_rating"][0]}
    return ScoreRow(**key, kind=kind, n=found["failed"].n, repeats=part["repeat"].n_unique(), cells=found)


def _slice_row(part: pl.DataFrame) -> SliceRow:
    groups = {rows["group"][0]: next(iter(cells(rows).values())) for rows in part.partition_by("group", maintain_order=True)}
    return SliceRow(model=part["model"][0], with_rating=part["with_rating"][0], cells=groups)
