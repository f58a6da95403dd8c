"""The likelihood of the real reviews in a terminal."""

from __future__ import annotations

from report.parts import cell, row

from reviewllm.evaluation.baselines import REAL
from reviewllm.report.content import FigureTable, ScoreRow, Split
from reviewllm.report.likelihood import is_likeliest, likelihood_text, untold

NAMES = ("reference_nll", "reference_nll_per_byte")


def told(model: str, nll: float) -> ScoreRow:
    cells = {"reference_nll": cell(nll), "reference_nll_per_byte": cell(nll / 4)}
    return row(model, 0.0).model_copy(update={"cells": cells})


def table(*rows: ScoreRow, split: Split = "simple") -> FigureTable:
    return FigureTable(split=split, figures=NAMES, rows=rows)


def test_the_lowest_is_the_best_to_the_decimals_that_are_shown() -> None:
    found = table(told("tiny", 3.86), told("ours", 3.5641), told("alike", 3.5644))
    assert [is_likeliest(found, one, "reference_nll") for one in found.rows] == [False, True, True]


def test_likelihood_text_has_both_sets_beside_each_other_and_who_tells_none() -> None:
    kinds = {"tiny": "base", "ours": "adapter", "gpt": "endpoint", "own latest review": "baseline", REAL.name: "baseline"}
    tables = [table(told("tiny", 3.86), told("ours", 3.564)), table(told("ours", 4.0), split="hard")]
    lines = likelihood_text(tables, kinds).splitlines()
    assert lines[1].split("  ")[-1].strip() == "NLL per byte, hard"
    assert lines[2].split() == ["tiny", "(w/", "rating)", "3.860", "0.965", "–", "–"]
    assert lines[3].split() == ["ours", "(w/", "rating)", "*", "3.564", "*", "0.891", "*", "4.000", "*", "1.000"]
    assert lines[4].strip() == "not told for gpt: an endpoint tells no likelihood of a text that it has not written"
    assert lines[5].strip() == "not told for own latest review: texts copied by rule come of no model"
    assert len(lines) == 6


def test_of_the_worth_of_a_history_the_highest_is_the_best() -> None:
    rows = [
        one.model_copy(update={"cells": {"history_worth": cell(worth)}})
        for one, worth in ((told("a", 1), 0.2), (told("b", 1), 0.3))
    ]
    found = table(*rows).model_copy(update={"figures": ("history_worth",)})
    assert [is_likeliest(found, one, "history_worth") for one in found.rows] == [False, True]
    assert likelihood_text([found], {"a": "base", "b": "base"}).splitlines()[-1].split()[-2:] == ["*", "0.300"]


def test_likelihood_of_a_dry_run_is_told_by_nobody() -> None:
    kinds = {"tiny": "base", "ours": "adapter"}
    assert untold([], kinds) == ["not told for tiny, ours: a dry run has no model"]
    assert len(likelihood_text([], kinds).splitlines()) == 2
