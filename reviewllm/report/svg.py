"""A drawing -> SVG text that fits the page around it: what every plot of a report shares."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from reviewllm.report.templates import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every common colour blindness, and visible on white and on black.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
INK = "#787878"  # of text, axes and intervals; replaced by the text colour of the page around
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` in the name of a model is a `$`
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def palette(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in their order; the seventh has the first's again.

    >>> palette(["a", "b", "a"])
    {'a': '#0072B2', 'b': '#E69F00'}
    """
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(dict.fromkeys(names))}


def inline_svg(draw: Callable[[Figure], None], *, size_inches: tuple[float, float], prefix: str) -> str:
    """Let `draw` fill a figure, and return it as SVG that fits the page around it.

    The background is transparent, letters are text, and what is drawn in INK takes the colour of the page around. Ids carry
    `prefix`, so that several plots can stand in one page. The same drawing gives the same bytes.
    """
    import matplotlib  # here, because it takes a second, and jobs that only want the tables should not wait for it
    from matplotlib.figure import Figure

    with warnings.catch_warnings(), matplotlib.rc_context({**_STYLE, "svg.hashsalt": prefix}):
        # Letters stay text: whoever reads the page has the fonts that matplotlib misses here.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        # A Figure without pyplot: no window, no global state, nothing to close.
        figure = Figure(figsize=size_inches, layout="constrained")
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _fitted(text.getvalue(), prefix)


def _fitted(svg: str, prefix: str) -> str:
    """Cut what only a file of its own needs, and make ids and colours fit the page around."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    return visible(svg.replace(INK, "currentColor").strip())
