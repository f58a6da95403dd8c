"""Metrics -> tables 1 and 2 of the paper (Review-LLM, section 3.3), beside the paper's own figures."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from reviewllm.errors import SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.contenders import Kind
from reviewllm.evaluation.figures import TABLE
from reviewllm.evaluation.metrics import ALL
from reviewllm.evaluation.rows import SPLITS
from reviewllm.report.content import Cell, PaperRow, ScoreRow, ScoreTable, Split
from reviewllm.tables import METRICS

LABELS = {figure.name: figure.label for figure in TABLE}
_ROUGE_HELP = "--rouge-words unicode counts words of any script"
_HELP = {
    "rouge1": _ROUGE_HELP,
    "rougeL": _ROUGE_HELP,
    "meteor": _ROUGE_HELP,
    "sbert_cosine": "--embedding names a model that reads other languages than English",
}
NAMES = {"simple": "simple evaluation", "hard": "hard evaluation, negative ratings only"}
NO_VALUE = "–"
PAPER_MARK = "as reported in the paper, Llama-3-8B, other sample"

# Tables 1 and 2 of Review-LLM: ROUGE-1, ROUGE-L, and what the paper calls BertScore.
_OF_PAPER = ("rouge1", "rougeL", "sbert_cosine")
_PAPER = {
    "simple": {
        ("GPT-3.5-turbo", True): (15.99, 9.84, 41.52),
        ("GPT-3.5-turbo", False): (16.00, 9.81, 41.37),
        ("GPT-4o", True): (12.80, 8.47, 40.12),
        ("GPT-4o", False): (15.41, 11.22, 41.73),
        ("Llama-3-8b", True): (12.23, 8.23, 31.30),
        ("Llama-3-8b", False): (13.82, 9.59, 30.46),
        ("Review-LLM", True): (31.15, 26.88, 49.52),
        ("Review-LLM", False): (30.47, 26.38, 48.56),
    },
    "hard": {
        ("GPT-3.5-turbo", True): (17.62, 10.70, 37.45),
        ("GPT-3.5-turbo", False): (16.07, 9.89, 37.25),
        ("GPT-4o", True): (16.66, 9.86, 39.21),
        ("GPT-4o", False): (14.51, 8.73, 38.64),
        ("Llama-3-8b", True): (13.47, 8.05, 28.38),
        ("Llama-3-8b", False): (13.11, 7.89, 26.96),
        ("Review-LLM", True): (21.93, 16.63, 39.35),
        ("Review-LLM", False): (17.82, 13.50, 35.89),
    },
}


def score_tables(metrics: pa.Table, kinds: Mapping[str, Kind]) -> tuple[ScoreTable, ScoreTable]:
    """Build table 1 (simple) and table 2 (hard) from the METRICS rows of one run, over all rows.

    A row is a model with or without ratings, in the order of their first appearance; a value is the mean over the repeats,
    as in the paper, and so is each end of its interval. A split that was not evaluated gives a table without rows. The
    real reviews, which are no model, are in neither.

    Args:
        kinds: what each model is, by its name.

    Raises:
        SchemaError: a column is missing; the rows belong to several runs; a figure is there twice, is missing or is not
            a finite number (null: too many references cannot be read); the repeats of a model differ in their number of rows.
    """
    frame = pl.DataFrame(METRICS.check(metrics, where="metrics"))
    _check_figures(frame)
    wanted = frame.filter((pl.col("slice") == ALL) & pl.col("metric").is_in(list(LABELS)) & (pl.col("model") != REAL.name))
    simple, hard = (_table(wanted, kinds, number, split) for number, split in enumerate(SPLITS, start=1))
    return simple, hard


def cells(part: pl.DataFrame) -> dict[str, Cell]:
    """The figures of one model's METRICS rows, by metric, over the repeats."""
    told = pl.col("value").is_not_null().all()  # in every repeat
    means = part.group_by("metric", maintain_order=True).agg(
        *(pl.when(told).then(pl.col(name).mean()).alias(name) for name in ("value", "ci_low", "ci_high")),
        sd=pl.when(told).then(pl.col("value").std()),
        n=pl.col("n").max(),
        unread=pl.col("unread").max().fill_null(0),
        asked=pl.col("asked").max().fill_null(0),
    )
    return {row.pop("metric"): Cell(**row) for row in means.to_dicts()}


def row_label(row: ScoreRow | PaperRow) -> str:
    """Name a row as the paper does."""
    return f"{row.model} ({rating_label(with_rating=row.with_rating)})"


def rating_label(*, with_rating: bool) -> str:
    """Say whether prompts showed ratings, as the paper does."""
    return "w/ rating" if with_rating else "w/o rating"


def is_best(table: ScoreTable, row: ScoreRow, metric: str) -> bool:
    """Whether no other own row shows a higher figure, to the two decimals that are printed; ties are all best."""
    shown = [round(value, 2) for other in table.rows if (value := other.cells[metric].value) is not None]
    mine = row.cells[metric].value
    return mine is not None and round(mine, 2) == max(shown)


def unread_notes(table: ScoreTable) -> list[str]:
    """A sentence for each score that cannot read some of the references, which are the same for every model."""
    notes = []
    for name in table.metrics if table.rows else ():
        cell = max((row.cells[name] for row in table.rows), key=lambda one: one.unread)
        if cell.value is None:
            notes.append(f"{LABELS[name]}: {cell.unread_of} references cannot be scored by this; {_HELP[name]}")
        elif cell.unread:
            notes.append(f"{LABELS[name]}: without {cell.unread_of} references, which cannot be scored by this")
    return notes


def table_title(table: ScoreTable) -> str:
    """Name a table with its number, as in the paper, and say how many rows and repeats are behind it."""
    title = f"Table {table.number}: {NAMES[table.split]}"
    if not table.rows:
        return title
    repeats = max(row.repeats for row in table.rows)
    return f"{title} ({table.rows[0].n:,} rows, {repeats} repeat{'s' if repeats > 1 else ''})"


def plain_text(table: ScoreTable, *, paper: bool = False) -> str:
    """Lay a table's own rows out for a terminal, and with `paper` the paper's below them; `*` marks the best of a column.

    Below stands which scores cannot read the references, and have a dash for a number where these are too many.
    """
    if not table.rows:
        return f"{table_title(table)}\n  no rows: this split was not evaluated"
    body = [["  " + row_label(row), *(_plain_cell(table, row, name) for name in table.metrics)] for row in table.rows]
    reported = [["  " + row_label(row), *(_of_paper(row, name) for name in table.metrics)] for row in table.paper]
    lines = [["  model", *(LABELS[name] for name in table.metrics)], *body, *(reported if paper else [])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in lines
    ]
    if paper:
        text.insert(1 + len(body), f"  {PAPER_MARK}:")
    return "\n".join([table_title(table), *text, *(f"  {note}" for note in unread_notes(table))])


def _of_paper(row: PaperRow, name: str) -> str:
    return f"{row.values[name]:.2f}" if name in row.values else NO_VALUE


def _plain_cell(table: ScoreTable, row: ScoreRow, name: str) -> str:
    cell = row.cells[name]
    if cell.value is None:
        return NO_VALUE
    spreads = [len(f" ±{other.cells[name].sd:.2f}") for other in table.rows if other.cells[name].sd is not None]
    spread = (" " * max(spreads, default=0)) if cell.sd is None else f" ±{cell.sd:.2f}"
    return f"{'* ' * is_best(table, row, name)}{cell.value:.2f}{spread}"


def _table(frame: pl.DataFrame, kinds: Mapping[str, Kind], number: int, split: str) -> ScoreTable:
    rows = frame.filter(pl.col("split") == split).partition_by("model", "with_rating", maintain_order=True)
    return ScoreTable(
        number=number,
        split=_split(split),
        metrics=tuple(LABELS),
        rows=tuple(_row(part, kinds[part["model"][0]]) for part in rows),
        paper=tuple(
            PaperRow(model=model, with_rating=with_rating, values=dict(zip(_OF_PAPER, values, strict=True)))
            for (model, with_rating), values in _PAPER[split].items()
        ),
    )


def _split(split: str) -> Split:
    return "simple" if split == "simple" else "hard"


def _row(part: pl.DataFrame, kind: Kind) -> ScoreRow:
    row = f"metrics: {part['model'][0]}, split {part['split'][0]}"
    sizes = (part["n"] + part["unread"].fill_null(0)).unique().to_list()
    if len(sizes) > 1:
        raise SchemaError(f"{row}: its repeats have {sorted(sizes)} rows; they must answer the same examples")
    repeats = part["repeat"].n_unique()
    found = part.group_by("metric").len()
    if set(found["metric"]) != set(LABELS) or set(found["len"]) != {repeats}:
        raise SchemaError(f"{row}: every repeat needs the metrics {', '.join(LABELS)}; run jobs/evaluate.py again")
    key = {"model": part["model"][0], "with_rating": part["with_rating"][0]}
    return ScoreRow(**key, kind=kind, n=sizes[0], repeats=repeats, cells=cells(part))


def _check_figures(frame: pl.DataFrame) -> None:
    runs = frame["run"].unique().to_list()
    if len(runs) > 1:
        raise SchemaError(f"metrics: rows of the runs {', '.join(sorted(runs))} together; a report shows one run")
    key = pl.struct("model", "split", "slice", "group", "with_rating", "repeat", "metric")
    if repeated := len(frame.filter(key.is_duplicated())):
        raise SchemaError(f"metrics: {repeated} rows give one figure more than once; run jobs/evaluate.py again")
    finite = pl.all_horizontal(pl.col("value", "ci_low", "ci_high").is_finite().fill_null(True))
    if endless := len(frame.filter(~finite)):
        raise SchemaError(f"metrics: {endless} rows hold a figure that is not a finite number; run jobs/evaluate.py again")
