"""A score table -> one bar plot as SVG text, to be set inline in a page."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from reviewllm.report.content import ScoreRow, ScoreTable
from reviewllm.report.score_tables import LABELS, row_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

# Okabe and Ito's palette: told apart with every common colour blindness, and visible on white and on black.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
_FAINT = 0.35  # opacity of bars without ratings
_INK = "#787878"  # of text, axes and intervals; replaced by the text colour of the page around
_SIZE_INCHES = (4.7, 2.7)  # narrow, so that its letters stay legible on a phone of 360 pixels
_LEGEND_LINE_INCHES = 0.18
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` in the name of a model is a `$`
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def plot_svg(table: ScoreTable) -> str:
    """Draw a table's own rows as bars with their 95 % intervals, grouped by score; empty text where it has no rows.

    A model has one colour: full with ratings in its prompts, faint without. The background is transparent, letters are text,
    and text and axes take the colour of the page around (`currentColor`). The same table gives the same bytes. Ids carry
    the name of the split, so that several plots can stand in one page.
    """
    if not table.rows:
        return ""
    import matplotlib  # here, because it takes a second, and jobs that only want the tables should not wait for it
    from matplotlib.figure import Figure

    width, height = _SIZE_INCHES
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": table.split}):
        # A Figure without pyplot: no window, no global state, nothing to close.
        figure = Figure(figsize=(width, height + _LEGEND_LINE_INCHES * len(table.rows)), layout="constrained")
        keys = _draw_bars(figure.add_subplot(), table)
        figure.legend(keys, [row_label(row) for row in table.rows], loc="outside lower left", frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(text.getvalue(), table.split)


def _draw_bars(axes: Axes, table: ScoreTable) -> list[Rectangle]:
    """Draw the bars and intervals of every row, and return a bar of each row for the legend."""
    models = list(dict.fromkeys(row.model for row in table.rows))
    width = 0.85 / len(table.rows)
    keys = []
    for place, row in enumerate(table.rows):
        left = (place - (len(table.rows) - 1) / 2) * width
        positions = [group + left for group in range(len(table.metrics))]
        colour = _COLOURS[models.index(row.model) % len(_COLOURS)]
        fill = (colour, 1.0 if row.with_rating else _FAINT)
        values = [row.cells[metric].value for metric in table.metrics]
        bars = axes.bar(positions, values, width * 0.85, color=fill, edgecolor=colour, linewidth=1)
        keys.append(bars[0])
        axes.errorbar(
            positions, values, _error_lengths(row, table.metrics), fmt="none", ecolor=_INK, elinewidth=1, capsize=2
        )
    axes.set_xticks(range(len(table.metrics)), [LABELS[metric] for metric in table.metrics])
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("score, 0 to 100")
    return keys


def _error_lengths(row: ScoreRow, metrics: tuple[str, ...]) -> list[list[float]]:
    """Lengths of the intervals below and above the means; a mean may lie a rounding error outside one without width."""
    cells = [row.cells[metric] for metric in metrics]
    return [
        [max(0.0, cell.value - cell.ci_low) for cell in cells],
        [max(0.0, cell.ci_high - cell.value) for cell in cells],
    ]


def _inline(svg: str, prefix: str) -> str:
    """Cut what only a file of its own needs, and make ids and colours fit the page around."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    return svg.replace(_INK, "currentColor").strip()
