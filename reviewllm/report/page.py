"""Content of a report -> one HTML page that needs no network, and both files on disk."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from reviewllm.annotation.plots import annotation_plot_svg
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.comparisons import Side
from reviewllm.evaluation.figures import FIGURES
from reviewllm.files import write_text
from reviewllm.report.changes import Changes
from reviewllm.report.content import Example, Report, report_json
from reviewllm.report.figure_tables import SLICES
from reviewllm.report.findings import p_text, verdict_text
from reviewllm.report.likelihood import is_likeliest
from reviewllm.report.plots import comparison_svg, length_svg, plot_svg, rating_svg, slice_svg
from reviewllm.report.score_tables import LABELS, PAPER_MARK, is_best, rating_label, table_title, unread_notes
from reviewllm.report.svg import palette
from reviewllm.report.templates import page_environment

_FOLDER = Path(__file__).parent
_CHOICES = ("split", "rating", "category")  # by which examples can be chosen


def render_page(report: Report) -> str:
    """Render a report as one HTML page.

    Every text is escaped, whatever it holds; control characters become U+FFFD. The page loads nothing and runs one script, its
    own, to search the examples: a Content-Security-Policy says so to the browser. Without the script all examples are shown.
    The same report gives the same bytes.
    """
    environment = page_environment(_FOLDER)
    environment.filters["flatten"] = flatten
    script = (_FOLDER / "browse.js").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        report=report,
        script=Markup(script),
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **_plots(report),
        **_choices(report),
        labels=LABELS,
        figures=FIGURES,
        slice_names=SLICES,
        units={"rating": " stars", "category": "", "history": " reviews", "age": " days", "reference": " words"},
        real=REAL.name,
        written={model.name for model in report.evaluation.models if model.kind != "baseline"}
        if report.evaluation
        else set(),
        paper_mark=PAPER_MARK,
        is_best=is_best,
        is_likeliest=is_likeliest,
        verdict_text=verdict_text,
        unread_notes=unread_notes,
        candidate=_candidate_label(report),
        rating_label=rating_label,
        table_title=table_title,
        p_text=p_text,
    )


def _plots(report: Report) -> dict[str, Any]:
    """Every plot; not escaped again: matplotlib has escaped the names in them."""
    candidate = _candidate(report)
    colours = palette(row.model for table in report.tables for row in table.rows)
    against = {
        split: [
            pair for pair in report.comparisons if pair.split == split and Side(pair.model, pair.with_rating) == candidate
        ]
        for split in ("simple", "hard")
    }
    return {
        "plots": {table.split: Markup(plot_svg(table, colours=colours)) for table in report.tables},
        "comparison_plots": {
            split: Markup(comparison_svg(pairs, metric="sbert_cosine", prefix=f"ahead-{split}"))
            for split, pairs in against.items()
        },
        "slice_plots": [
            Markup(slice_svg(table, _contrasted(report, table.split), prefix=f"slice-{number}", colours=colours))
            if table.slice != "category"
            else ""
            for number, table in enumerate(report.slices)
        ],
        "length_plot": Markup(length_svg(_contrasted_lengths(report), prefix="lengths")),
        "rating_plot": Markup(rating_svg(report.ratings, prefix="ratings")),
        "human_plot": Markup(annotation_plot_svg(report.human)) if report.human else "",
    }


def _candidate(report: Report) -> Side | None:
    return Side(report.evaluation.candidate, report.evaluation.candidate_with_rating) if report.evaluation else None


def _candidate_label(report: Report) -> str:
    side = _candidate(report)
    return f"{side.model} ({rating_label(with_rating=side.with_rating)})" if side else ""


def _contrasted(report: Report, split: str) -> list[tuple[str, bool]]:
    """Who is worth a line in a plot by slices: the candidate, models asked as it was, and the best text copied by rule."""
    candidate = _candidate(report)
    rows = next((table.rows for table in report.tables if table.split == split), ())
    models = [Side(row.model, row.with_rating) for row in rows if row.kind != "baseline"]
    alike = [side for side in models if candidate and side.with_rating == candidate.with_rating]
    alike += [candidate] if candidate and candidate not in alike else []
    rules = sorted(
        (row for row in rows if row.kind == "baseline"), key=lambda row: -(row.cells["sbert_cosine"].value or 0.0)
    )
    best = [Side(row.model, row.with_rating) for row in rules[:1]]
    return [*sorted(alike, key=lambda side: side != candidate), *(side for side in best if side not in alike)]


def _contrasted_lengths(report: Report) -> dict[str, tuple[int, ...]]:
    """Lengths of the texts of the candidate and of the models asked as it was, and of the real reviews."""
    sides = {side for table in report.tables for side in _contrasted(report, table.split)}
    wanted = {f"{model} ({rating_label(with_rating=with_rating)})" for model, with_rating in sides} | {REAL.name}
    return {name: counts for name, counts in report.lengths.items() if name in wanted}


def _choices(report: Report) -> dict[str, Any]:
    """What examples can be chosen and put in order by."""
    values = {
        name: sorted(
            {f"{value:g}" if isinstance(value := getattr(example, name), float) else value for example in report.examples}
        )
        for name in _CHOICES
    }
    return {"choices": values, "orders": [_order(example, _candidate(report), report) for example in report.examples]}


def _order(example: Example, candidate: Side | None, report: Report) -> dict[str, object]:
    """The candidate's score of an example and its gain over the base; empty where there is none."""
    bases = {model.name for model in report.evaluation.models if model.kind == "base"} if report.evaluation else set()
    scores = {(one.model, one.with_rating): one.scores.get("sbert_cosine") for one in example.outputs}
    mine = scores.get(candidate) if candidate else None
    base = next((scores.get((name, candidate.with_rating)) for name in bases), None) if candidate else None
    gain = None if mine is None or base is None else mine - base
    found = {"score": mine, "gain": gain, "loss": None if gain is None else -gain}
    return {name: "" if value is None else round(value, 2) for name, value in found.items()}


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write `index.html` and `metrics.json` into a folder, each aside and renamed; return their paths.

    Both are rendered before the first is written. A crash between the two leaves a new page beside older JSON.
    """
    files = {folder / "index.html": render_page(report), folder / "metrics.json": report_json(report)}
    for path, text in files.items():
        write_text(text, path)
    page, data = files
    return page, data


def write_changes(changes: Changes, folder: Path) -> Path:
    """Write `changes.html` and `changes.json` into a folder; returns the page."""
    page = page_environment(_FOLDER).get_template("changes.html")
    text = page.render(changes=changes, figures=FIGURES, rating_label=rating_label, p_text=p_text, verdict_text=verdict_text)
    write_text(changes.model_dump_json(indent=1), folder / "changes.json")
    write_text(text, folder / "changes.html")
    return folder / "changes.html"


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a nested configuration as dotted keys with their values as JSON, text without its quotes.

    >>> list(flatten({"seed": 0, "engine": {"name": "rule", "limits": [1, 2]}}))
    [('seed', '0'), ('engine.name', 'rule'), ('engine.limits', '[1, 2]')]
    """
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
