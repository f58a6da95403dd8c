"""Tables of a report -> plots as SVG text, to be set inline in a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.figures import FIGURES
from reviewllm.report.content import Cell, Compared, ScoreTable, SliceTable
from reviewllm.report.score_tables import LABELS, rating_label, row_label
from reviewllm.report.svg import COLOURS, INK, inline_svg, palette

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_INCHES = 5.2  # narrow, so that letters stay legible on a phone of 360 pixels
_ROW_INCHES = 0.2
_PANEL_INCHES = 0.55  # of a panel beside its rows
_MOST_WORDS = 200  # at the right end of the histogram; longer texts are counted there
_MOST_LINES = 5  # of a plot by slices, so that the lines can be told apart
_MOST_LETTERS = 48  # of a name; with about 80 no room is left beside it, and matplotlib draws nothing readable


def plot_svg(table: ScoreTable, *, colours: Mapping[str, str] | None = None) -> str:
    """Draw a table's own rows as points with their 95 % intervals, one panel a score; empty text where it has no rows.

    A model has one colour: filled points with ratings in its prompts, hollow ones without; baselines are squares. The same
    table gives the same bytes.
    """
    if not table.rows:
        return ""
    colour_of = colours or palette(row.model for row in table.rows)
    height = len(table.metrics) * (_PANEL_INCHES + _ROW_INCHES * len(table.rows))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(table.metrics), 1, squeeze=False)[:, 0]
        for axes, metric in zip(panels, table.metrics, strict=True):
            for place, row in enumerate(table.rows):
                colour = colour_of[row.model]
                marker = "s" if row.kind == "baseline" else "o"
                _point(axes, row.cells[metric], place, colour=colour, filled=row.with_rating, marker=marker)
            _name_rows(axes, [row_label(row) for row in table.rows])
            axes.set_title(LABELS[metric], loc="left", fontsize=9)

    return inline_svg(draw, size_inches=(_WIDTH_INCHES, height), prefix=table.split)


def comparison_svg(pairs: Sequence[Compared], *, metric: str, prefix: str) -> str:
    """Draw how far the candidate is ahead of each other model, with 95 % intervals; empty text where nothing is compared.

    Of a figure that is better where it is lower, ahead is to the left.
    A difference that is not carried is drawn in the colour of the text.
    """
    mine = [pair for pair in pairs if pair.metric == metric]
    if not mine:
        return ""
    ahead, behind = ("lower", "higher") if FIGURES[metric].better == "lower" else ("higher", "lower")
    colours = {ahead: COLOURS[2], behind: COLOURS[4]}

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        for place, pair in enumerate(mine):
            cell = Cell(value=pair.difference, ci_low=pair.ci_low, ci_high=pair.ci_high, n=pair.n)
            _point(axes, cell, place, colour=colours.get(pair.verdict, INK), filled=pair.verdict in colours, marker="o")
        _name_rows(axes, [f"{pair.other} ({rating_label(with_rating=pair.other_with_rating)})" for pair in mine])
        axes.set_xlabel(f"{'ahead by' if ahead == 'higher' else 'difference'}, {LABELS.get(metric, FIGURES[metric].label)}")

    return inline_svg(draw, size_inches=(_WIDTH_INCHES, _PANEL_INCHES + _ROW_INCHES * len(mine) + 0.2), prefix=prefix)


def slice_svg(
    table: SliceTable, shown: Sequence[tuple[str, bool]], *, prefix: str, colours: Mapping[str, str] | None = None
) -> str:
    """Draw a figure by the groups of a slice for some models (`shown`: name and with_rating), with intervals.

    At most five are drawn, the first of `shown`; empty text where the table has none of them.
    """
    known_rows = {(row.model, row.with_rating): row for row in table.rows}
    rows = [known_rows[side] for side in shown if side in known_rows][:_MOST_LINES]
    if not rows:
        return ""
    colour_of = colours or palette(row.model for row in rows)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        keys: list[Artist] = []
        for number, row in enumerate(rows):
            shift = (number - (len(rows) - 1) / 2) * 0.12
            known = [
                (place, value, row.cells[group])
                for place, group in enumerate(table.groups)
                if group in row.cells and (value := row.cells[group].value) is not None
            ]
            colour = colour_of[row.model]
            keys += axes.plot(
                [place + shift for place, _, _ in known], [value for _, value, _ in known], "o-", color=colour, ms=4
            )
            for place, value, cell in known:
                axes.vlines(place + shift, *_ends(cell, value), color=colour, linewidth=1)
        axes.set_xticks(range(len(table.groups)), table.groups)
        axes.set_ylabel(FIGURES[table.figure].label)
        _legend(figure, keys, [f"{row.model} ({rating_label(with_rating=row.with_rating)})" for row in rows])

    return inline_svg(draw, size_inches=(_WIDTH_INCHES, 2.2 + 0.18 * len(rows)), prefix=prefix)


def length_svg(lengths: Mapping[str, Sequence[int]], *, prefix: str) -> str:
    """Draw how many words texts have, of each model (keys) as a line; empty text where there is no text at all.

    The real reviews are drawn in the colour of the text, dashed.
    """
    if not any(lengths.values()):
        return ""
    longest = min(_MOST_WORDS, max(max(counts, default=0) for counts in lengths.values()))
    edges = [longest * number / 20 for number in range(21)] if longest else [0, 1]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        keys: dict[str, Artist] = {}
        for number, (name, counts) in enumerate(lengths.items()):
            if counts:
                capped = [min(count, longest) for count in counts]
                weights = [100 / len(capped)] * len(capped)
                line, colour = ("--", INK) if name == REAL.name else ("-", COLOURS[number % len(COLOURS)])
                axes.hist(capped, edges, weights=weights, histtype="step", color=colour, linestyle=line)
                keys[name] = axes.patches[-1]
        axes.set_xlabel(f"words of the text (longer ones at {longest})" if longest == _MOST_WORDS else "words of the text")
        axes.set_ylabel("share of texts, %")
        _legend(figure, list(keys.values()), list(keys))

    return inline_svg(draw, size_inches=(_WIDTH_INCHES, 2.2 + 0.18 * len(lengths)), prefix=prefix)


def rating_svg(ratings: Mapping[str, Mapping[str, int]], *, prefix: str) -> str:
    """Draw how many evaluated purchases have how many stars, of each split (keys); empty text where there is none."""
    if not any(ratings.values()):
        return ""
    stars = sorted({star for counts in ratings.values() for star in counts}, key=float)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        width = 0.8 / len(ratings)
        for number, (split, counts) in enumerate(ratings.items()):
            places = [place + (number - (len(ratings) - 1) / 2) * width for place in range(len(stars))]
            axes.bar(
                places, [counts.get(star, 0) for star in stars], width * 0.9, color=COLOURS[number], label=f"{split} set"
            )
        axes.set_xticks(range(len(stars)), stars)
        axes.set_xlabel("stars")
        axes.set_ylabel("purchases")
        figure.legend(loc="outside lower left", frameon=False, ncols=len(ratings))

    return inline_svg(draw, size_inches=(_WIDTH_INCHES, 2.3), prefix=prefix)


def _point(axes: Axes, cell: Cell, place: int, *, colour: str, filled: bool, marker: str) -> None:
    """A figure with its interval; nothing where there is no figure, since the score cannot read the rows."""
    if cell.value is None:
        return
    axes.hlines(place, *_ends(cell, cell.value), color=colour, linewidth=1.2)
    axes.plot([cell.value], [place], marker, color=colour, markerfacecolor=colour if filled else "none", markersize=5)


def _legend(figure: Figure, keys: Sequence[Artist], names: Sequence[str]) -> None:
    """Name what was drawn; names go with their artists, since matplotlib leaves out labels that begin with '_'."""
    figure.legend(keys, list(map(_shortened, names)), loc="outside lower left", frameon=False)


def _shortened(name: str) -> str:
    """Cut a long name in its middle: its end says whether ratings were shown."""
    half = _MOST_LETTERS // 2
    return name if len(name) <= _MOST_LETTERS else f"{name[: half - 1]}…{name[-half:]}"


def _ends(cell: Cell, value: float) -> tuple[float, float]:
    low, high = cell.ci_low, cell.ci_high
    return value if low is None else low, value if high is None else high


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), list(map(_shortened, names)), fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first row on top
    axes.tick_params(axis="y", length=0)
