"""The summary says what the intervals carry, and no more."""

from typing import Any

import pytest

from reviewllm.report.content import Cell, Finding, ScoreRow, ScoreTable, Split
from reviewllm.report.findings import difference, findings

BASES = {"tiny + adapter": "tiny"}
METRICS = ("rouge1", "rougeL", "sbert_cosine")


def _row(model: str, *values: float, half: float = 1.0, **changes: Any) -> ScoreRow:
    """A row of 100 with three values (or one for all), each in an interval of +- `half`."""
    cells = {
        metric: Cell(value=value, ci_low=value - half, ci_high=value + half)
        for metric, value in zip(METRICS, values if len(values) == 3 else values * 3, strict=True)
    }
    return ScoreRow(**{"model": model, "with_rating": True, "n": 100, "repeats": 1, "cells": cells} | changes)


def _table(*rows: ScoreRow, split: Split = "simple") -> ScoreTable:
    return ScoreTable(number=1, split=split, metrics=METRICS, rows=rows, paper=())


def _one(*rows: ScoreRow, split: Split = "simple") -> Finding:
    return findings([_table(*rows, split=split)], BASES)[0]


@pytest.mark.parametrize(
    ("mine", "theirs", "half", "outcome"),
    [
        (13.0, 10.0, 1.0, "higher"),  # [12, 14] and [9, 11]
        (10.0, 13.0, 1.0, "lower"),
        (12.0, 10.0, 1.0, "unclear"),  # [11, 13] and [9, 11] touch
        (11.0, 10.0, 1.0, "unclear"),
    ],
)
def test_difference_needs_intervals_that_do_not_overlap(mine, theirs, half, outcome):
    assert difference(_row("a", mine, half=half), _row("b", theirs, half=half), "rouge1") == outcome


def test_difference_of_few_rows_is_unclear():
    assert difference(_row("a", 90.0, n=19), _row("b", 10.0), "rouge1") == "unclear"
    assert difference(_row("a", 90.0, n=20), _row("b", 10.0), "rouge1") == "higher"


def test_findings_adapter_beats_its_base_with_figures():
    finding = _one(_row("tiny", 10.0), _row("tiny + adapter", 30.0))

    assert finding.verdict == "better"
    assert finding.claim == "On the simple set, tiny + adapter (w/ rating) beats its base tiny on every score."
    assert finding.evidence[0] == "ROUGE-1: 30.00 [29.00, 31.00] against 10.00 [9.00, 11.00], +20.00"


def test_findings_adapter_behind_its_base():
    finding = _one(_row("tiny", 30.0), _row("tiny + adapter", 10.0))

    assert (finding.verdict, "is behind its base tiny on every score" in finding.claim) == ("worse", True)


def test_findings_overlap_is_no_clear_difference():
    finding = _one(_row("tiny", 10.0), _row("tiny + adapter", 11.0))

    assert (finding.verdict, "shows no clear difference from its base tiny" in finding.claim) == ("unclear", True)
    assert finding.evidence[0].endswith("+1.00: no clear difference")


def test_findings_say_which_scores_differ():
    finding = _one(_row("tiny", 10.0, 10.0, 10.0), _row("tiny + adapter", 20.0, 5.0, 10.5))

    assert finding.verdict == "mixed"
    assert finding.claim.endswith("higher on ROUGE-1; lower on ROUGE-L; no clear difference on sbert_cosine.")


def test_findings_few_rows_are_too_few_to_tell():
    finding = _one(_row("tiny", 10.0, n=3), _row("tiny + adapter", 30.0, n=3))

    assert finding.verdict == "unclear"
    assert finding.claim.endswith("With 3 rows there are too few to tell.")


def test_findings_compare_without_ratings_where_nothing_else_was_run():
    finding = _one(_row("tiny", 10.0, with_rating=False), _row("tiny + adapter", 30.0, with_rating=False))

    assert finding.claim.startswith("On the simple set, tiny + adapter (w/o rating) beats")


def test_findings_ratings_help_on_the_hard_set():
    rows = [_row("tiny", 10.0), _row("tiny + adapter", 30.0), _row("tiny + adapter", 20.0, with_rating=False)]
    _, ratings = findings([_table(*rows, split="hard")], BASES)

    assert ratings.verdict == "better"
    assert ratings.claim == ("On the hard set, tiny + adapter (w/ rating) beats tiny + adapter (w/o rating) on every score.")


def test_findings_adapter_without_its_twin_cannot_tell_about_ratings():
    _, ratings = findings([_table(_row("tiny", 10.0), _row("tiny + adapter", 30.0), split="hard")], BASES)

    assert ratings.verdict == "unknown"
    assert ratings.claim.endswith("cannot be told: it was evaluated w/ rating only.")


def test_findings_without_the_base_or_an_adapter_say_so():
    assert "cannot be compared with its base tiny" in _one(_row("tiny + adapter", 30.0)).claim
    assert "no adapter stands beside its base" in _one(_row("tiny", 30.0)).claim


def test_findings_split_without_rows_says_so():
    assert _one(split="hard").claim == "The hard set has no rows, so nothing can be said about it."
