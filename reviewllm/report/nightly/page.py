"""Content of a nightly report -> one HTML page that needs no network and runs no script, and both files in their place."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from reviewllm.place import Place
from reviewllm.report.nightly.content import Column, NightReport, nightly_json
from reviewllm.report.nightly.plots import distribution_svg, stars_svg, trend_svg
from reviewllm.report.nightly.words import counted, duration, figure, percent
from reviewllm.report.templates import page_environment

_FOLDER = Path(__file__).parent
PAGE = "index.html"
JSON = "night.json"


def render_night(report: NightReport) -> str:
    """Render a nightly report as one HTML page.

    Every text is escaped; the page loads nothing and runs no script, and a Content-Security-Policy says so to the browser. The
    same report gives the same bytes.
    """
    environment = page_environment(_FOLDER, _FOLDER.parent)
    environment.filters.update(percent=percent, figure=figure, duration=duration)
    return environment.get_template("nightly.html").render(
        report=report,
        counted=counted,
        # Not escaped again: matplotlib has escaped the names in its plots.
        distributions={column.name: Markup(distribution_svg(column)) for column in report.columns},
        trends={column.name: Markup(_column_trend(report, column)) for column in report.columns},
        night_trends={label: Markup(svg) for label, svg in _night_trends(report).items()},
        stars=Markup(stars_svg(report.stars)) if report.stars else "",
    )


def write_night(report: NightReport, target: Place) -> str:
    """Write `index.html` and `night.json` into a place, each whole; returns where the page lies.

    Both are rendered before the first is written. A crash between the two leaves a new page beside older JSON.

    Raises:
        StorageError: one cannot be written.
    """
    files = {PAGE: render_night(report), JSON: nightly_json(report)}
    for name, text in files.items():
        target.write(name, text.encode())
    return f"{target.where}/{PAGE}"


def _column_trend(report: NightReport, column: Column) -> str:
    """Its mean, on an axis of a standard deviation at least: of a normal distribution 3.3 lie between 5 % and 95 %."""
    low, _, high = column.quantiles
    means = [night.means.get(column.name) for night in report.nights]
    return trend_svg(report.nights, means, label="mean", name=column.name, least_span=(high - low) / 3.3 or 1.0)


def _night_trends(report: NightReport) -> dict[str, str]:
    """Rows, failed and cut rows, and speed, night by night; what no night has is left out."""
    nights = report.nights
    series: dict[str, list[float | None]] = {
        "Purchases taken care of": [night.rows for night in nights],
        "Failed, % of purchases": [100 * night.failed / night.rows if night.rows else None for night in nights],
        "Texts cut at the limit, %": [
            None if night.length_stopped is None or not night.written else 100 * night.length_stopped / night.written
            for night in nights
        ],
        "Prompt and completion tokens per second": [night.tokens_per_second for night in nights],
    }
    return {
        label: trend_svg(nights, values, label="", name=f"night-{number}")
        for number, (label, values) in enumerate(series.items())
        if any(value is not None for value in values)
    }
