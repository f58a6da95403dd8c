"""Parts of a report, made by hand."""

from __future__ import annotations

from typing import Any

from reviewllm.report.content import Cell, Compared, Example, Output, ScoreRow, ScoreTable, SliceRow, SliceTable, Split

SCORES = ("rouge1", "rougeL", "meteor", "sbert_cosine")


def cell(value: float, *, half: float = 1.0, n: int = 100) -> Cell:
    """A figure in the middle of its interval."""
    return Cell(value=value, ci_low=value - half, ci_high=value + half, n=n)


def unread_cell(unread: int, *, n: int) -> Cell:
    """A figure that is not given, as too many rows cannot be read."""
    return Cell(value=None, ci_low=None, ci_high=None, n=n, unread=unread, asked=unread + n)


def row(model: str, *values: float, half: float = 1.0, **changes: Any) -> ScoreRow:
    """A row of 100 purchases with four scores: the three of the paper, METEOR as ROUGE-L; or one for all."""
    scores = (*values[:2], values[1], values[2]) if len(values) == 3 else values * 4
    cells = {name: cell(value, half=half) for name, value in zip(SCORES, scores, strict=True)}
    kind = "base" if model == "tiny" else "adapter"
    made: dict[str, Any] = {"model": model, "with_rating": True, "kind": kind, "n": 100, "repeats": 1, "cells": cells}
    return ScoreRow(**made | changes)


def table(*rows: ScoreRow, split: Split = "simple") -> ScoreTable:
    return ScoreTable(number=1 if split == "simple" else 2, split=split, metrics=SCORES, rows=rows, paper=())


def compared(
    metric: str, difference: float, verdict: str, *, other: str = "tiny", half: float = 1.0, **changes: Any
) -> Compared:
    """'tiny + adapter' with ratings against another model with ratings."""
    made: dict[str, Any] = {"split": "simple", "model": "tiny + adapter", "with_rating": True}
    made |= {"other": other, "other_with_rating": True, "metric": metric, "difference": difference}
    made |= {"ci_low": difference - half, "ci_high": difference + half, "effect_size": 0.5, "p_corrected": 0.012}
    return Compared(**made | {"users": 100, "n": 100, "verdict": verdict} | changes)


def output(model: str, cosine: float | None, *, review: str | None = "A text.", **scores: float | None) -> Output:
    """What a model that is shown ratings wrote; without a review it failed."""
    error = "too long" if review is None else None
    return Output(model=model, with_rating=True, review=review, error=error, scores={"sbert_cosine": cosine, **scores})


def shown(example_id: str, *outputs: Output, **changes: Any) -> Example:
    """An evaluated purchase of 4 stars."""
    made: dict[str, Any] = {"example_id": example_id, "split": "simple", "category": "Strings", "title": "A pick"}
    return Example(**made | {"rating": 4.0, "reference": "Good.", "outputs": outputs} | changes)


def slice_table(*models: str, groups: tuple[str, ...] = ("4", "5")) -> SliceTable:
    """sbert_cosine by stars, 20 everywhere."""
    rows = [SliceRow(model=name, with_rating=True, cells={group: cell(20.0) for group in groups}) for name in models]
    return SliceTable(split="simple", slice="rating", figure="sbert_cosine", groups=groups, rows=tuple(rows))
