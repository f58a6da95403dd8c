"""Results of a human evaluation -> the paper's figure 2 as SVG text, to be set inline in a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reviewllm.annotation.results import AnnotationResults
from reviewllm.report.svg import COLOURS, INK, inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_SIZE_INCHES = (4.7, 2.7)  # as the report's plots
_LEGEND_LINE_INCHES = 0.18


def annotation_plot_svg(results: AnnotationResults) -> str:
    """Draw each model's mean share of similar reviews as a bar, with an error bar from the lowest to the highest annotator.

    Models have the colours of their order in the results. The same results give the same bytes.
    """

    def draw(figure: Figure) -> None:
        keys = _draw_bars(figure.add_subplot(), results)
        figure.legend(keys, [result.model for result in results.models], loc="outside lower left", frameon=False)

    width, height = _SIZE_INCHES
    size = (width, height + _LEGEND_LINE_INCHES * len(results.models))
    return inline_svg(draw, size_inches=size, prefix="annotation")


def _draw_bars(axes: Axes, results: AnnotationResults) -> list[Rectangle]:
    """Draw the bar and the error bar of every model, and return the bars for the legend."""
    keys = []
    for place, result in enumerate(results.models):
        mean, low, high = (100 * (share or 0.0) for share in (result.mean, result.minimum, result.maximum))
        keys.append(axes.bar([place], [mean], 0.6, color=COLOURS[place % len(COLOURS)])[0])
        if result.mean is not None:  # a mean may lie a rounding error outside of equal shares
            lengths = [[max(0.0, mean - low)], [max(0.0, high - mean)]]
            axes.errorbar([place], [mean], lengths, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
        label = "no answers" if result.mean is None else f"{mean:.1f}"
        axes.annotate(label, (place, high), (0, 3), textcoords="offset points", ha="center", va="bottom")
    axes.set_xticks([])
    axes.set_ylim(0, 108)  # room for a figure above a full bar
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("judged similar, %")
    return keys
