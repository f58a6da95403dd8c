"""The table of the standard proof: figures of every model, their differences in pairs of rows, and what they say in words."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from benchmarks.proof_steps import ROOT, Note
from reviewllm.config import JobConfig
from reviewllm.errors import SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.comparisons import Pair, Side, compare_pairs, mean_over_repeats
from reviewllm.evaluation.contenders import Kind
from reviewllm.evaluation.figures import FIGURES
from reviewllm.evaluation.metrics import ALL
from reviewllm.evaluation.results import read_evaluation
from reviewllm.evaluation.rows import SPLITS
from reviewllm.files import write_text
from reviewllm.report.changes import evaluated_of
from reviewllm.report.score_tables import NAMES, NO_VALUE, rating_label
from reviewllm.sft.adapter import CURVE_FILE
from reviewllm.table_files import read_table
from reviewllm.tables import COMPARISONS, METRICS

# Shown where an evaluation has them. Of the last two a model's own texts play no part, and copied texts have none.
SHOWN = ("rouge1", "rougeL", "meteor", "sbert_cosine", "reference_nll", "reference_nll_per_byte")


class Rate(NamedTuple):
    """A training at one learning rate: its seconds, and its validation losses by optimizer step."""

    seconds: float
    losses: dict[int, float]


Rates = Mapping[float, Rate]  # by learning rate


class Measured(NamedTuple):
    """The evaluation of one data set.

    metrics: METRICS rows over all rows of a split. comparisons: COMPARISONS rows, the candidate less the others. kinds: what each
    model is, by its name.
    """

    title: str
    candidate: Side
    kinds: dict[str, Kind]
    metrics: pl.DataFrame
    comparisons: pl.DataFrame


def measured(title: str, out: Path, arms: Sequence[Path] = ()) -> Measured:
    """Read `<out>/metrics`, and those of other runs, in which one adapter each was evaluated on the same examples.

    Raises:
        SchemaError: a run has other examples.
    """
    head = read_evaluation(out / "metrics")
    candidate = Side(head.candidate, head.candidate_with_rating)
    metrics, kinds = [_metrics(out)], {model.name: model.kind for model in head.models}
    rows = {out: mean_over_repeats(evaluated_of(out))} if arms else {}
    others: dict[Path, Side] = {}
    for arm in arms:
        other = read_evaluation(arm / "metrics")
        if other.examples_digest != head.examples_digest:
            raise SchemaError(f"{arm} was evaluated on other examples than {out}; remove both, and run the proof again")
        metrics.append(_metrics(arm))
        kinds |= {model.name: model.kind for model in other.models}
        others[arm], rows[arm] = (
            Side(other.candidate, other.candidate_with_rating),
            mean_over_repeats(evaluated_of(arm)),
        )
    comparisons = pl.DataFrame(read_table(out / "metrics" / "comparisons.parquet", COMPARISONS))
    pairs = [
        Pair(
            {"run": head.run, "split": split, **candidate._asdict()}
            | {"other": other.model, "other_with_rating": other.with_rating},
            _answers(rows[out], split, candidate),
            _answers(rows[arm], split, other),
        )
        for split in SPLITS
        for arm, other in others.items()
    ]
    tested = pl.DataFrame(compare_pairs(pairs), schema=comparisons.schema, orient="row")
    return Measured(title, candidate, kinds, pl.concat(metrics), pl.concat([comparisons, tested]))


def _answers(rows: pl.DataFrame, split: str, side: Side) -> pl.DataFrame:
    return rows.filter(split=split, **side._asdict()).drop("split", "model", "with_rating")


def _metrics(out: Path) -> pl.DataFrame:
    found = pl.DataFrame(read_table(out / "metrics" / "metrics.parquet", METRICS))
    return found.filter((pl.col("slice") == ALL) & (pl.col("model") != REAL.name))


def write_proof(found: Sequence[Measured], taken: Mapping[str, Note], config: JobConfig, out: Path) -> str:
    """Write `<out>/proof.md` and `<out>/proof.json`; returns the first as text."""
    about = describe()
    text = "\n\n".join([_heading(about, config), *map(section, found), _seconds(taken)]) + "\n"
    record = {
        **about,
        "settings": config.model_dump(mode="json", exclude={"config"}),
        "steps": {name: note.model_dump() for name, note in taken.items()},
        "data sets": [
            {
                "title": one.title,
                "candidate": one.candidate._asdict(),
                "metrics": one.metrics.drop("run", "slice", "group").to_dicts(),
                "comparisons": one.comparisons.drop("run").to_dicts(),
            }
            for one in found
        ],
    }
    write_text(text, out / "proof.md")
    write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", out / "proof.json")
    return text


def describe() -> dict[str, Any]:
    """When, of which commit, with which command, on what."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit or "unknown",
        "command": shlex.join(["python", *sys.argv]),
        "cores": os.cpu_count(),
    }


def _heading(about: Mapping[str, Any], config: JobConfig) -> str:
    settings = config.model_dump(mode="json", exclude={"config", "out", "data", "choose", "quick"})
    told = ", ".join(f"{name} {value}" for name, value in settings.items() if not name.startswith("choose_"))
    return f"## {about['date']}, commit `{about['commit']}`\n\n`{about['command']}`, on {about['cores']} cores. Settings: {told}."


def section(one: Measured) -> str:
    """A data set's tables and what they say, in Markdown."""
    parts = [f"### {one.title}"]
    for split in SPLITS:
        rows = one.metrics.filter(split=split)
        if len(rows):
            parts += [
                f"**{NAMES[split].capitalize()}**, {rows['n'].max()} rows",
                _figures(one, split),
                _differences(one, split),
            ]
            parts += ["\n".join(f"- {sentence}" for sentence in sentences(one, split))]
    return "\n\n".join(parts)


def _shown(one: Measured) -> list[str]:
    there = set(one.metrics["metric"])
    return [name for name in SHOWN if name in there]


def _number(metric: str, value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}" if metric.startswith("reference_nll") else f"{value:{sign}.2f}"


def _label(metric: str) -> str:
    return FIGURES[metric].label if metric in FIGURES else metric


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figures(one: Measured, split: str) -> str:
    """A row for each model: value and 95 % interval; the best of a column in bold."""
    values = {(row["model"], row["with_rating"], row["metric"]): row for row in _values(one, split)}
    names = list(dict.fromkeys(key[:2] for key in values))
    shown = _shown(one)
    best = {metric: _best([row for key, row in values.items() if key[2] == metric]) for metric in shown}

    def cell(row: dict[str, Any] | None, metric: str) -> str:
        if row is None:
            return NO_VALUE
        text = _number(metric, row["value"])
        interval = f" [{_number(metric, row['ci_low'])}, {_number(metric, row['ci_high'])}]"
        return (f"**{text}**" if text == _number(metric, best[metric]["value"]) else text) + interval

    rows = [[_name(*name), *(cell(values.get((*name, metric)), metric) for metric in shown)] for name in names]
    return _table(["", *map(_label, shown)], rows)


def _values(one: Measured, split: str) -> list[dict[str, Any]]:
    """The figures that are shown, of every model in their order; those without a value left out."""
    wanted = one.metrics.filter(pl.col("split") == split, pl.col("metric").is_in(SHOWN), pl.col("value").is_not_null())
    return wanted.to_dicts()


def _name(model: str, with_rating: bool) -> str:
    return f"{model} ({rating_label(with_rating=with_rating)})"


def _best(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The row that is furthest ahead on the metric of all of them."""
    return max(rows, key=lambda row: _ahead(row["metric"]) * row["value"])


def _ahead(metric: str) -> int:
    """1 where more is better, -1 where less is."""
    return -1 if metric.startswith("reference_nll") or (metric in FIGURES and FIGURES[metric].better == "lower") else 1


def _differences(one: Measured, split: str) -> str:
    """A row for each other model: the candidate less that one, in pairs of rows, its 95 % interval, and the verdict."""
    pairs = one.comparisons.filter(split=split, model=one.candidate.model, with_rating=one.candidate.with_rating)
    by_pair = {(row["other"], row["other_with_rating"], row["metric"]): row for row in pairs.to_dicts()}
    shown = _shown(one)

    def cell(row: dict[str, Any] | None, metric: str) -> str:
        if row is None:
            return NO_VALUE
        numbers = [_number(metric, row[name], "+") for name in ("difference", "ci_low", "ci_high")]
        return f"{numbers[0]} [{numbers[1]}, {numbers[2]}] {row['verdict']}"

    others = list(dict.fromkeys(key[:2] for key in by_pair))
    rows = [[_name(*name), *(cell(by_pair.get((*name, metric)), metric) for metric in shown)] for name in others]
    return _table([f"{_name(*one.candidate)} less", *map(_label, shown)], rows)


def sentences(one: Measured, split: str) -> Iterator[str]:
    """What the figures say of the best model beside the best text copied by rule, a sentence for each metric that both have."""
    values = _values(one, split)
    for metric in _shown(one):
        rows = [row for row in values if row["metric"] == metric]
        copied = [row for row in rows if one.kinds[row["model"]] == "baseline"]
        models = [row for row in rows if one.kinds[row["model"]] != "baseline"]
        if copied and models:
            yield _sentence(one, split, _best(models), _best(copied))


def _sentence(one: Measured, split: str, model: dict[str, Any], copied: dict[str, Any]) -> str:
    metric = model["metric"]
    lead = _ahead(metric) * (copied["value"] - model["value"])
    names = [f"{_name(row['model'], row['with_rating'])}, {_number(metric, row['value'])}" for row in (copied, model)]
    if lead > 0:
        said = f"**A copied text is ahead** by {_number(metric, lead)}: {names[0]}, before the best model, {names[1]}"
    elif lead < 0:
        said = f"The best model is ahead by {_number(metric, -lead)}: {names[1]}, before the best copied text, {names[0]}"
    else:
        said = f"Best copied text and best model are level: {names[0]}, and {names[1]}"
    return f"{_label(metric)}: {said}{_carried(one, split, model, copied)}."


def _carried(one: Measured, split: str, model: dict[str, Any], copied: dict[str, Any]) -> str:
    """Whether the data carry the difference, where the pair was tested."""
    if (model["model"], model["with_rating"]) != one.candidate:
        return ""
    key = {"split": split, "model": one.candidate.model, "with_rating": one.candidate.with_rating}
    key |= {"metric": model["metric"], "other": copied["model"], "other_with_rating": copied["with_rating"]}
    found = one.comparisons.filter(**key).to_dicts()
    return f" (in pairs of rows: {found[0]['verdict']})" if found else ""


def _seconds(taken: Mapping[str, Note]) -> str:
    rows = [[name, f"{note.seconds or 0:,.0f}", str(note.sittings)] for name, note in taken.items()]
    total = ["together", f"{sum(note.seconds or 0 for note in taken.values()):,.0f}", ""]
    return "### Seconds\n\nOf a step's last sitting.\n\n" + _table(["step", "seconds", "sittings"], [*rows, total])


def read_rates(adapter: Path) -> dict[int, float]:
    """The validation losses of a training, by optimizer step."""
    curve = [json.loads(line) for line in (adapter / CURVE_FILE).read_text(encoding="utf-8").splitlines()]
    return {int(row["step"]): row["validation_loss"] for row in curve if row.get("validation_loss") is not None}


def rates_table(found: Mapping[str, Rates]) -> str:
    """Validation losses (nats a token of users held out of the training examples) by learning rate, and the best rate."""
    parts = []
    for title, rates in found.items():
        steps = sorted({step for rate in rates.values() for step in rate.losses})
        rows = [
            [f"{name:g}", *(_loss(rate, step) for step in steps), f"{rate.seconds:,.0f}"] for name, rate in rates.items()
        ]
        best = min(rates, key=lambda name: min(rates[name].losses.values()))
        parts += [f"### {title}", _table(["learning rate", *(f"step {step}" for step in steps), "seconds"], rows)]
        parts += [f"Lowest validation loss: {min(rates[best].losses.values()):.4f} nats a token, at {best:g}."]
    return "\n\n".join(parts) + "\n"


def _loss(rate: Rate, step: int) -> str:
    return f"{rate.losses[step]:.4f}" if step in rate.losses else NO_VALUE
