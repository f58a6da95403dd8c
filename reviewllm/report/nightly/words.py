"""How figures are put in words, in the summary and on the page alike."""

from __future__ import annotations


def percent(share: float | None) -> str:
    """A share as percent, with three digits or two decimals, and a space that does not break; a dash for none.

    >>> [percent(share).replace("\N{NO-BREAK SPACE}", " ") for share in (0.0123, 0.5, 0.99999, None)]
    ['1.23 %', '50 %', '100 %', '–']
    """
    return "–" if share is None else f"{round(100 * share, 2):.3g}\N{NO-BREAK SPACE}%"


def figure(value: float | None) -> str:
    """A figure with about three digits, large ones whole; a dash for none.

    >>> figure(1234.5), figure(41.237), figure(0.01234), figure(-3.0), figure(None)
    ('1,234', '41.2', '0.0123', '-3', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them; a dash for none.

    >>> duration(42.5), duration(3_000), duration(7_500), duration(None)
    ('42.5 s', '50 min', '2.1 h', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"


def counted(number: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "night"), counted(1200, "row")
    ('1 night', '1,200 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
