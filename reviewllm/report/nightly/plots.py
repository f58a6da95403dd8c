"""Columns, nights and stars of a nightly report -> small plots as SVG text, to be set inline in the page."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reviewllm.report.nightly.content import Column, NightRow, Star
from reviewllm.report.svg import COLOURS, INK, inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (3.9, 1.9)  # two stand beside each other on a desk, one fills a phone
_TONIGHT = COLOURS[0]
_BEFORE = COLOURS[1]
_FAINT = 0.35
_DATES = 4  # of the nights below a trend: more do not fit


def distribution_svg(column: Column) -> str:
    """This night's shares of rows as a line, over the band between the least and the most of the nights before."""
    shown = column.histogram

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        if shown.low:
            low, high = _percent(shown.low), _percent(shown.high)
            axes.stairs(high, shown.edges, baseline=low, fill=True, color=_BEFORE, alpha=_FAINT, linewidth=0)
            axes.stairs(high, shown.edges, baseline=None, color=_BEFORE, linewidth=0.7)
        axes.stairs(_percent(shown.tonight), shown.edges, color=_TONIGHT, linewidth=1.6)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("% of rows")
        axes.set_xlabel(column.name)

    return inline_svg(draw, size_inches=_SIZE_INCHES, prefix=f"distribution-{column.name}")


def trend_svg(
    nights: Sequence[NightRow], values: Sequence[float | None], *, label: str, name: str, least_span: float | None = None
) -> str:
    """A value of every night, this one's larger, with a dashed line where the fingerprint changed; None leaves a gap.

    Args:
        least_span: what the axis spans at least, so that a steady value looks steady; None begins it at zero.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        places = range(len(nights))
        shown = [float("nan") if value is None else value for value in values]
        axes.plot(
            places, shown, color=INK, linewidth=1, marker="o", markersize=3, markerfacecolor=_BEFORE, markeredgewidth=0
        )
        axes.plot(places[-1:], shown[-1:], color=_TONIGHT, marker="o", markersize=7, linestyle="")
        for place in _changes(nights):
            axes.axvline(place - 0.5, color=INK, linewidth=0.8, linestyle=(0, (3, 3)))
        _date_axis(axes, [night.date for night in nights])
        axes.set_ylabel(label)
        known = [value for value in values if value is not None]
        axes.set_ylim(*((0, 1.15 * max(known) or 1.0) if least_span is None else _limits(known, least_span)))

    return inline_svg(draw, size_inches=_SIZE_INCHES, prefix=f"trend-{name}")


def stars_svg(stars: Sequence[Star]) -> str:
    """Mean sentiment by stars with 95 % intervals, this night's beside that of the nights before."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axhline(0, color=INK, linewidth=0.6)
        before = [(star.stars, star.mean_before) for star in stars if star.mean_before is not None]
        if before:
            axes.plot(
                *zip(*before, strict=True), color=_BEFORE, marker="s", markersize=5, linewidth=1, label="nights before"
            )
        axes.errorbar(
            [star.stars for star in stars],
            [star.mean for star in stars],
            yerr=[1.96 * star.error for star in stars],
            color=_TONIGHT,
            marker="o",
            markersize=5,
            linewidth=1.6,
            capsize=3,
            label="this night",
        )
        axes.set_xticks([star.stars for star in stars])
        axes.set_xlabel("stars")
        axes.set_ylabel("mean sentiment")
        figure.legend(loc="outside lower left", frameon=False, ncols=2)

    width, height = _SIZE_INCHES
    return inline_svg(draw, size_inches=(width, height + 0.4), prefix="stars")


def _percent(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]


def _changes(nights: Sequence[NightRow]) -> list[int]:
    return [place for place in range(1, len(nights)) if nights[place].fingerprint != nights[place - 1].fingerprint]


def _date_axis(axes: Axes, days: Sequence[datetime.date]) -> None:
    """A few dates below the nights, this one's always; a night has its place by order, not by date."""
    step = -(-len(days) // _DATES)
    places = sorted(range(len(days) - 1, -1, -step))
    axes.set_xticks(places, [f"{days[place]:%m-%d}" for place in places])
    axes.set_xlim(-0.7, len(days) - 0.3)


def _limits(values: Sequence[float], least_span: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    span = max(1.15 * (high - low), least_span)
    middle = (low + high) / 2
    return middle - span / 2, middle + span / 2
