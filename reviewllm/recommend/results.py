"""What an evaluation of recommendations leaves: tables, one JSON file, and text for the screen with table 2 of the paper."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from reviewllm.evaluation.metrics import ALL
from reviewllm.files import write_text
from reviewllm.recommend.evaluate import COMPARED, Measured
from reviewllm.recommend.published import Dataset
from reviewllm.table_files import write_table
from reviewllm.tables import COMPARISONS, METRICS

_SHOWN = ("HR@1", "HR@5", "HR@10", "HR@20", "HR@50", "NDCG@5", "NDCG@10")


def write_results(found: Measured, folder: Path, *, about: Mapping[str, Any], paper: Dataset | None) -> None:
    """Write `metrics.parquet`, `comparisons.parquet` and, last, `metrics.json`."""
    write_table(found.metrics, folder / "metrics.parquet", METRICS)
    write_table(found.comparisons, folder / "comparisons.parquet", COMPARISONS)
    report = {
        **about,
        "users": found.users,
        "systems": found.about,
        "metrics": found.metrics.to_pylist(),
        "comparisons": found.comparisons.to_pylist(),
        "paper": None if paper is None else {"dataset": paper.name, "table2": [row._asdict() for row in paper.rows]},
    }
    write_text(json.dumps(_without_nan(report), indent=1, ensure_ascii=False) + "\n", folder / "metrics.json")


def plain_text(found: Measured, *, target: str, bases: Mapping[str, str], paper: Dataset | None, sample: str) -> str:
    """The figures as text.

    Args:
        bases: of each system, the language model that ranks; '-' where none does.
        paper: whose rows stand above ours; None where the paper has not measured these data.
        sample: which data and users ours are of.
    """
    metrics = pl.DataFrame(found.metrics)
    overall = metrics.filter(pl.col("slice") == ALL)
    names = list(bases)
    width = max(map(len, [*names, "system"])) + 2
    lines = [f"Full ranking of the {target} items (percent): {sample}", f"  {'system':{width}}" + _row(_SHOWN, 9)]
    lines += [f"  {name:{width}}" + _row([f"{_value(overall, name, one)[0]:.2f}" for one in _SHOWN], 9) for name in names]
    lines += ["", "Table 2 of PALR beside ours", *_table2(overall, bases, paper, sample, width)]
    for kind, title in (("history", "items in the history"), ("item_count", "purchases of the item to learn from")):
        lines += ["", f"HR@10 by {title}", *_slice(metrics.filter(pl.col("slice") == kind), names, width)]
    lines += _compared(pl.DataFrame(found.comparisons))
    lines += [f"  {name}: {told}" for name, one in found.about.items() if (told := _told(one))]
    return "\n".join(lines)


def _row(cells: Sequence[str], width: int) -> str:
    return "".join(f"{cell:>{width}}" for cell in cells)


def _value(metrics: pl.DataFrame, system: str, metric: str) -> tuple[float, float, float]:
    rows = metrics.filter((pl.col("model") == system) & (pl.col("metric") == metric)).select("value", "ci_low", "ci_high")
    value, low, high = rows.row(0)
    return value, low, high


def _table2(overall: pl.DataFrame, bases: Mapping[str, str], paper: Dataset | None, sample: str, width: int) -> list[str]:
    lines = [f"  {'system':{width}}{'HR@10':>24}{'NDCG@10':>24}  base; sample"]
    for row in paper.rows if paper else ():
        where = f"{row.base}; the paper, all {paper.users if paper else 0} users"
        lines.append(f"  {row.system:{width}}{100 * row.hr10:>24.2f}{100 * row.ndcg10:>24.2f}  {where}")
    for name, base in bases.items():
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*_value(overall, name, metric)) for metric in COMPARED]
        lines.append(f"  {name:{width}}{_row(cells, 24)}  {base}; ours, {sample}")
    return lines if paper else [*lines, "  (the paper did not measure these data)"]


def _slice(rows: pl.DataFrame, names: Sequence[str], width: int) -> list[str]:
    hits = rows.filter(pl.col("metric") == "HR@10")
    groups = hits.select("group", "n").unique("group", maintain_order=True)
    lines = [f"  {'':{width}}" + _row([f"{group} (n {n})" for group, n in groups.rows()], 18)]
    for name in names:
        values = dict(hits.filter(pl.col("model") == name).select("group", "value").rows())
        lines.append(f"  {name:{width}}" + _row([f"{values[group]:.2f}" for group in groups["group"]], 18))
    return lines


def _compared(comparisons: pl.DataFrame) -> list[str]:
    lines = ["", "Paired comparisons by user (sign-flip test, Holm)"] if comparisons.height else []
    for row in comparisons.iter_rows(named=True):
        lines.append(
            "  {model} against {other}, {metric}: {difference:+.2f} [{ci_low:+.2f}, {ci_high:+.2f}], p {p_corrected:.2g}, "
            "{users} users: {verdict}".format(**row)
        )
    return lines


def _told(about: Mapping[str, Any]) -> str:
    """What a reader must know of a system's lists; empty where they are complete and long enough."""
    told = []
    if about["users_missing"]:
        told.append(f"{about['users_missing']} users have no row, and count as misses")
    if about["users_not_asked"]:
        told.append(f"{about['users_not_asked']} users of its rows are not measured")
    if about["longest_list"] < 50:
        told.append(f"lists at most {about['longest_list']} items, so that HR beyond that is HR of the list")
    return "; ".join([*told, *(f"{count} rows dropped, {why}" for why, count in about["dropped_rows"].items())])


def _without_nan(value: Any) -> Any:
    """The same without numbers that JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
