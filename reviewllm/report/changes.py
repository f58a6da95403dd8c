"""Two evaluations -> what changed from one to the other, on the purchases that both asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import FiniteFloat

from reviewllm.errors import InputError, SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.comparisons import Pair, compare_pairs, mean_over_repeats, unread_in
from reviewllm.evaluation.figures import COMPARED, FIGURES, is_unread
from reviewllm.evaluation.names import read_names
from reviewllm.evaluation.results import Evaluation, read_evaluation, read_generations, repeat_folders
from reviewllm.evaluation.rows import SPLITS, evaluated_rows
from reviewllm.examples.splits import example_files
from reviewllm.report.content import Outcome, Part, Split
from reviewllm.report.findings import verdict_text
from reviewllm.report.score_tables import LABELS
from reviewllm.summary import read_summary
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES

_DECIDED_BY = {  # a compared figure -> which of an evaluation's `scorers` says how it is counted
    **dict.fromkeys(("rouge1", "rougeL"), "rouge"),
    "meteor": "meteor",
    "sbert_cosine": "sbert",
    **{name: name for name in ("reference_nll", "reference_nll_per_byte")},
    "sentiment_agreement": "sentiment",
    "hallucination": "claims",
}


class Change(Part):
    """One figure of one model, before and after, over the purchases that both evaluations asked about."""

    split: Split
    model: str
    with_rating: bool
    metric: str
    before: FiniteFloat
    after: FiniteFloat
    difference: FiniteFloat
    ci_low: FiniteFloat
    ci_high: FiniteFloat
    effect_size: FiniteFloat | None
    p_corrected: FiniteFloat
    users: int
    n: int
    verdict: Outcome


class Changes(Part):
    """Two evaluations beside each other.

    `common` of `rows_before` and `rows_after` are purchases that both asked about, by split. `models_gone` and `models_new` are
    in one only. `settings` holds what differs: name to (before, after). `untold` says which scores are not compared, and why.
    """

    before: str
    after: str
    common: dict[str, int]
    rows_before: dict[str, int]
    rows_after: dict[str, int]
    models_gone: tuple[str, ...]
    models_new: tuple[str, ...]
    settings: dict[str, tuple[str, str]]
    changes: tuple[Change, ...]
    untold: tuple[str, ...]


def compare_runs(before: Path, after: Path) -> Changes:
    """Compare two output folders, each with an evaluation and its examples.

    Only purchases that both asked about are compared, in pairs and as models of one evaluation are: by users, corrected
    for the number of comparisons. A model is the same where its name is. A score that was counted in two ways, or that cannot
    read too many of the purchases, is not compared.

    Raises:
        InputError: there is no evaluation, or the two have no purchase or no model in common.
        SchemaError: an evaluation is damaged or of another schema version.
    """
    heads = [read_evaluation(out / "metrics") for out in (before, after)]
    old, new = (mean_over_repeats(evaluated_of(out)) for out in (before, after))
    common = {split: _common(old, new, split) for split in SPLITS}
    if not any(common.values()):
        raise InputError(
            f"{before} and {after}: no purchase was evaluated in both, so nothing can be compared; evaluate both on the same "
            "examples (jobs/prepare.py with the same --seed)"
        )
    known, now = ([(model.name, model.with_rating) for model in head.models if model.name != REAL.name] for head in heads)
    pairs = [
        Pair(
            {"split": split, "model": model, "with_rating": with_rating},
            _of(new, split, model, with_rating),
            _of(old, split, model, with_rating),
        )
        for split in SPLITS
        for model, with_rating in now
        if (model, with_rating) in known
    ]
    if not pairs:
        raise InputError(
            f"{before} and {after}: have no model in common; name the same --models, or the same --adapter-name"
        )
    return Changes(
        before=str(before),
        after=str(after),
        common=common,
        rows_before=heads[0].rows,
        rows_after=heads[1].rows,
        models_gone=tuple(_label(*side) for side in known if side not in now),
        models_new=tuple(_label(*side) for side in now if side not in known),
        settings=_settings(heads, before, after),
        changes=tuple(_change(record, pairs) for record in compare_pairs(pairs, figures=[*_same_scores(heads)])),
        untold=(*_counted_otherwise(heads), *_unread(pairs, _same_scores(heads))),
    )


def plain_text(changes: Changes) -> str:
    """Lay the changes out for a terminal."""
    lines = [["model", "set", "score", "before", "after", "change", "p", ""]]
    lines += [
        [
            _label(one.model, one.with_rating),
            one.split,
            one.metric,
            f"{one.before:.{digits}f}",
            f"{one.after:.{digits}f}",
            f"{one.difference:+.{digits}f} [{one.ci_low:+.{digits}f}, {one.ci_high:+.{digits}f}]",
            f"{one.p_corrected:.3f}",
            verdict_text(one.metric, one.verdict),
        ]
        for one in changes.changes
        for digits in (max(2, FIGURES[one.metric].digits),)
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    shared = ", ".join(
        f"{split} {count} of {changes.rows_before.get(split, 0)} and {changes.rows_after.get(split, 0)}"
        for split, count in changes.common.items()
    )
    only = [f"only before: {', '.join(changes.models_gone)}"] if changes.models_gone else []
    only += [f"only after: {', '.join(changes.models_new)}"] if changes.models_new else []
    settings = [f"  {name}: {old} -> {new}" for name, (old, new) in changes.settings.items()]
    head = [f"{changes.before} -> {changes.after}", f"purchases in both: {shared}", *only]
    untold = [f"  {one}" for one in changes.untold]
    return "\n".join([*head, *table, *untold, *(["what else differs:", *settings] if settings else [])])


def _same_scores(heads: Sequence[Evaluation]) -> tuple[str, ...]:
    """The compared figures that were counted in the same way in both."""
    old, new = (head.scorers for head in heads)
    return tuple(name for name in COMPARED if old.get(_DECIDED_BY[name]) == new.get(_DECIDED_BY[name]))


def _counted_otherwise(heads: Sequence[Evaluation]) -> list[str]:
    old, new = (head.scorers for head in heads)
    return [
        f"{FIGURES[name].label} is not compared, as it was counted otherwise: {old.get(_DECIDED_BY[name], 'not at all')} before, "
        f"{new.get(_DECIDED_BY[name], 'not at all')} after"
        for name in COMPARED
        if name not in _same_scores(heads)
    ]


def _unread(pairs: Sequence[Pair], figures: Sequence[str]) -> list[str]:
    """For each figure that cannot read too many purchases of a model, on which set and how many."""
    found = []
    for pair in pairs:
        both = pair.rows.join(pair.other, on=["example_id", "user_id"], suffix=" of other")
        for name in figures:
            unread, asked = unread_in(both, name)
            if is_unread(unread, asked):
                what = "references" if name in LABELS else f"texts of {_label(pair.key['model'], pair.key['with_rating'])}"
                label, split = FIGURES[name].label, pair.key["split"]
                found.append(f"{label}, {split} set: {unread:,} of {asked:,} {what} cannot be scored by this")
    return list(dict.fromkeys(found))


def evaluated_of(out: Path) -> list[pl.DataFrame]:
    """`evaluated_rows` of each repetition of an output folder's evaluation.

    Raises:
        SchemaError: an evaluation is damaged or of another schema version.
    """
    metrics = out / "metrics"
    names = read_names(metrics / "models.json")
    shards = [
        file
        for split in SPLITS
        if (out / "examples" / split).is_dir()
        for file in example_files(out / "examples" / split, split)
    ]
    examples = read_table(shards, EXAMPLES)
    folders = repeat_folders(metrics)
    if not folders:
        raise SchemaError(f"{metrics / 'generations'}: there are no generations; run jobs/evaluate.py again")
    return [evaluated_rows(read_generations(metrics, int(folder.name)), examples, names=names) for folder in folders]


def _common(old: pl.DataFrame, new: pl.DataFrame, split: str) -> int:
    before, after = (frame.filter(pl.col("split") == split)["example_id"].unique() for frame in (old, new))
    return int(after.is_in(before.implode()).sum())


def _of(rows: pl.DataFrame, split: str, model: str, with_rating: bool) -> pl.DataFrame:
    chosen = (pl.col("split") == split) & (pl.col("model") == model) & (pl.col("with_rating") == with_rating)
    return rows.filter(chosen).drop("split", "model", "with_rating")


def _change(record: dict[str, Any], pairs: Sequence[Pair]) -> Change:
    """A tested pair with the means of both sides over the rows that count on both."""
    pair = next(pair for pair in pairs if all(record[name] == value for name, value in pair.key.items()))
    name = record["metric"]
    both = pair.rows.join(pair.other, on=["example_id", "user_id"], suffix=" of other").drop_nulls(
        [name, f"{name} of other"]
    )
    means = {"after": both[name].mean(), "before": both[f"{name} of other"].mean()}
    return Change(**{key: value for key, value in record.items() if key != "p_value"}, **means)


def _settings(heads: Sequence[Evaluation], before: Path, after: Path) -> dict[str, tuple[str, str]]:
    """Options of the evaluation and fingerprints of the models that differ."""
    old, new = (_described(head, out) for head, out in zip(heads, (before, after), strict=True))
    names = [name for name in {**old, **new} if name != "out" and old.get(name) != new.get(name)]
    return {name: (old.get(name, "–"), new.get(name, "–")) for name in names}


def _described(head: Evaluation, out: Path) -> dict[str, str]:
    config: Any = read_summary(out)["config"].get("evaluate", {})
    options = {name: str(value) for name, value in config.items()} if isinstance(config, dict) else {}
    models = {f"fingerprint of {_label(one.name, one.with_rating)}": one.fingerprints[0][:16] for one in head.models}
    scorers = {f"scorer {name}": version for name, version in head.scorers.items()}
    return {"examples": head.examples_digest[:16], "repeats": str(head.repeats), **options, **scorers, **models}


def _label(model: str, with_rating: bool) -> str:
    return f"{model} ({'w/' if with_rating else 'w/o'} rating)"
