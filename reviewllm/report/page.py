"""Content of a report -> one HTML page that needs no network and runs no script, and both files on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reviewllm.report.content import Report, report_json
from reviewllm.report.files import write_text
from reviewllm.report.plots import plot_svg
from reviewllm.report.score_tables import LABELS, PAPER_MARK, is_best, rating_label, table_title

# What HTML forbids or shows as nothing: control characters other than tab and line ends.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def render_page(report: Report) -> str:
    """Render a report as one HTML page.

    Every text is escaped, whatever it holds; control characters become U+FFFD. The page loads nothing and runs no script,
    and a Content-Security-Policy says so to the browser. The same report gives the same bytes.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=_count, flatten=flatten)
    return environment.get_template("page.html").render(
        report=report,
        # Not escaped again: matplotlib has escaped the names in its plots.
        plots={table.split: Markup(plot_svg(table)) for table in report.tables},
        labels=LABELS,
        paper_mark=PAPER_MARK,
        is_best=is_best,
        rating_label=rating_label,
        table_title=table_title,
    )


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write `index.html` and `metrics.json` into a folder, each aside and renamed; return their paths.

    Both are rendered before the first is written. A crash between the two leaves a new page beside older JSON.
    """
    files = {folder / "index.html": render_page(report), folder / "metrics.json": report_json(report)}
    for path, text in files.items():
        write_text(text, path)
    page, data = files
    return page, data


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


def _visible(value: object) -> object:
    return (
        _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value)
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
