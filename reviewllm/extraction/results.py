"""Scores of the models -> rows of the metrics table, one JSON file, and a table for the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from reviewllm.extraction.answers import Answer
from reviewllm.extraction.scores import MEASURES, Scores
from reviewllm.tables import METRICS

_SHOWN_CHARS = 2_000


def metric_rows(results: Mapping[str, Scores], *, run: str) -> pa.Table:
    """Every figure of every model, times 100, as rows of the metrics table."""
    rows = [
        {
            "run": run,
            "split": "test",
            "model": model,
            "with_rating": False,
            "slice": score.slice,
            "group": score.group,
            "repeat": 0,
            "metric": score.measure,
            "value": score.value,
            "ci_low": score.ci_low,
            "ci_high": score.ci_high,
            "n": score.n,
        }
        for model, scores in results.items()
        for score in scores.scores
    ]
    return pa.Table.from_pylist(rows, schema=METRICS.schema)


def report(results: Mapping[str, Scores], *, about: Mapping[str, object]) -> dict[str, object]:
    """Everything as one JSON object: what was measured, the figures over all and by category, and every decision's class."""
    return {
        **about,
        "models": {
            model: {
                "scores": [score._asdict() for score in scores.scores],
                "classes": [{"slice": kind, "group": group, **counts} for (kind, group), counts in scores.classes.items()],
            }
            for model, scores in results.items()
        },
    }


def plain_text(results: Mapping[str, Scores], *, title: str) -> str:
    """The figures over all with their intervals, what they count, then F1 by category; a star stands at the best."""
    width = max(len(name) for name in [*results, "model"]) + 2
    lines = [title, f"  {'model':{width}}" + "".join(f"{measure:>23}" for measure in MEASURES)]
    best = {measure: max(_value(scores, "all", "all", measure)[0] for scores in results.values()) for measure in MEASURES}
    for model, scores in results.items():
        cells = []
        for measure in MEASURES:
            value, low, high = _value(scores, "all", "all", measure)
            cells.append(f"{'*' if value == best[measure] else ''}{value:.1f} [{low:.1f}, {high:.1f}]")
        lines.append(f"  {model:{width}}" + "".join(f"{cell:>23}" for cell in cells))
    lines += _counted(results)
    categories = [
        score.group for score in next(iter(results.values())).scores if (score.slice, score.measure) == ("category", "f1")
    ]
    lines += ["", "  F1 by category" + "".join(f"{model:>18}" for model in results)]
    for category in categories:
        figures = [f"{_value(scores, 'category', category, 'f1')[0]:18.1f}" for scores in results.values()]
        lines.append(f"    {category[:28]:28}" + "".join(figures))
    return "\n".join(lines)


def _counted(results: Mapping[str, Scores]) -> list[str]:
    """Which values the two counts take for wrong; no line where they are the same."""
    unlisted = {model: scores.classes["all", "all"]["UV"] for model, scores in results.items()}
    if not any(unlisted.values()):
        return []
    given = ", ".join(f"{model} {number}" for model, number in unlisted.items())
    return [
        "  precision, recall and f1 as ExtractGPT and WDC PAVE count: a value of an attribute that people did not list for a "
        f"product is not judged; strict_* and exact_match are ours: it is wrong ({given})"
    ]


def _value(scores: Scores, kind: str, group: str, measure: str) -> tuple[float, float, float]:
    for score in scores.scores:
        if (score.slice, score.group, score.measure) == (kind, group, measure):
            return score.value, score.ci_low, score.ci_high
    return 0.0, 0.0, 0.0


def unreadable_rows(answers: Sequence[tuple[dict[str, object], Answer]]) -> list[dict[str, object]]:
    """Rows of the unreadable table.

    Args:
        answers: rows of generations with what was read of them.
    """
    return [
        {
            "example_id": row["example_id"],
            "category": row["category"],
            "model": row["model"] if row["adapter"] is None else f"{row['model']} + {row['adapter']}",
            "answer": None if row["review"] is None else str(row["review"])[:_SHOWN_CHARS],
            "problem": row["error"] or answer.problem,
        }
        for row, answer in answers
        if answer.problem
    ]
