"""The likelihood of the real reviews for a terminal: by every model that tells it, and which do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.contenders import Kind
from reviewllm.evaluation.figures import FIGURES
from reviewllm.report.content import FigureTable, ScoreRow
from reviewllm.report.score_tables import NO_VALUE, row_label

_TITLE = "Likelihood of the real reviews: negative log-likelihood in nats"
_NONE: dict[Kind, str] = {
    "endpoint": "an endpoint tells no likelihood of a text that it has not written",
    "baseline": "texts copied by rule come of no model",
    "base": "a dry run has no model",
    "adapter": "a dry run has no model",
}


def likelihood_text(tables: Sequence[FigureTable], kinds: Mapping[str, Kind]) -> str:
    """Lay the tables of both splits out beside each other; `*` marks the best of a column.

    Args:
        tables: of `figure_tables.likelihood_tables`.
        kinds: what each model is, by its name.
    """
    columns = [(table, name) for table in tables for name in table.figures]
    labels = list(dict.fromkeys(row_label(row) for table in tables for row in table.rows))
    lines = [["  model", *(f"{FIGURES[name].label}, {table.split}" for table, name in columns)]] if labels else []
    lines += [[f"  {label}", *(_cell(table, label, name) for table, name in columns)] for label in labels]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    title = f"{_TITLE}; * marks the best" if labels else _TITLE
    return "\n".join([title, *text, *(f"  {note}" for note in untold(tables, kinds))])


def untold(tables: Sequence[FigureTable], kinds: Mapping[str, Kind]) -> list[str]:
    """A sentence for each reason why models tell no likelihood, with their names."""
    told = {row.model for table in tables for row in table.rows}
    reasons: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        if name not in told and name != REAL.name:
            reasons.setdefault(_NONE[kind], []).append(name)
    return [f"not told for {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def is_likeliest(table: FigureTable, row: ScoreRow, name: str) -> bool:
    """Whether no other row shows a better figure, to the decimals that are printed; ties are all best."""
    shown = [value for other in table.rows if (value := _shown(other, name)) is not None]
    mine = _shown(row, name)
    best = max if FIGURES[name].better == "higher" else min
    return mine is not None and mine == best(shown)


def _shown(row: ScoreRow, name: str) -> float | None:
    value = row.cells[name].value if name in row.cells else None
    return None if value is None else round(value, FIGURES[name].digits)


def _cell(table: FigureTable, label: str, name: str) -> str:
    row = next((row for row in table.rows if row_label(row) == label), None)
    value = _shown(row, name) if row else None
    if row is None or value is None:
        return NO_VALUE
    return f"{'* ' * is_likeliest(table, row, name)}{value:.{FIGURES[name].digits}f}"
