"""Evaluated examples as a reader compares them: the purchase, the real review, and what each model wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
from pydantic import BaseModel, TypeAdapter

from reviewllm.errors import SchemaError
from reviewllm.report.content import Example, Output, Prompt
from reviewllm.report.files import read_json
from reviewllm.report.metrics import SCORE_NAMES, SPLITS
from reviewllm.report.names import Pair
from reviewllm.tables import EXAMPLES, read_table

SHOWN_PER_SPLIT = 3  # where no samples were drawn


class _Sample(BaseModel):
    example_id: str
    with_rating: bool
    prompt: str


_SAMPLES = TypeAdapter(list[_Sample])


def evaluated_examples(out: Path, generations: pl.DataFrame, names: Mapping[Pair, str]) -> tuple[Example, ...]:
    """Put the sampled examples of an output folder beside the generations for them.

    Shows the examples of `metrics/samples.json` in their order; without that file the first few of each split, without
    prompts. Outputs come in the order of `names`, with ratings first; of several repeats the first is shown. A split
    whose examples were not kept is left out.

    Args:
        generations: GENERATIONS rows of the evaluation.
        names: what each (model, adapter) is called.

    Raises:
        SchemaError: a generation or a sample belongs to none of the examples, or an example has no reference.
    """
    examples = _examples(out / "examples", generations)
    prompts = _prompts(out / "metrics" / "samples.json", generations)
    if prompts is None:
        drawn = [examples.filter(pl.col("split") == split)["example_id"].sort().head(SHOWN_PER_SPLIT) for split in SPLITS]
        prompts = dict.fromkeys(pl.concat(drawn), ())
    shown = examples.filter(pl.col("example_id").is_in(list(prompts)))
    rows = {row["example_id"]: row for row in shown.iter_rows(named=True)}
    outputs = _outputs(generations.filter(pl.col("example_id").is_in(list(rows))), names)
    return tuple(
        Example(**rows[example_id], prompts=texts, outputs=tuple(outputs[example_id]))
        for example_id, texts in prompts.items()
        if example_id in rows
    )


def _examples(folder: Path, generations: pl.DataFrame) -> pl.DataFrame:
    """Read the fields to show of the evaluated examples in those splits that were kept."""
    fields = [name for name in Example.model_fields if name in EXAMPLES.schema.names]
    frames = [pl.DataFrame(EXAMPLES.schema.empty_table().select(fields))]
    for split in SPLITS:
        if any((folder / split).glob("*.parquet")):
            frame = pl.DataFrame(read_table(folder / split, EXAMPLES).select(fields))
            asked = generations.filter(pl.col("split") == split)
            _refuse_unknown(asked["example_id"], frame, f"{folder / split}: the evaluation's generations")
            frames.append(frame.join(asked.select("example_id").unique(), on="example_id", how="semi"))
    examples = pl.concat(frames)
    if blank := examples["reference"].null_count():
        raise SchemaError(f"{folder}: {blank} evaluated example(s) have no reference; run jobs/prepare.py again")
    return examples


def _prompts(file: Path, generations: pl.DataFrame) -> dict[str, tuple[Prompt, ...]] | None:
    """Read the sampled prompts of each example, in the order of the file; None where none were kept."""
    if not file.exists():
        return None
    found: dict[str, tuple[Prompt, ...]] = {}
    for sample in read_json(file, _SAMPLES):
        prompt = Prompt(with_rating=sample.with_rating, prompt=sample.prompt)
        found[sample.example_id] = (*found.get(sample.example_id, ()), prompt)
    _refuse_unknown(pl.Series("example_id", list(found), dtype=pl.String), generations, f"{file}: the samples")
    return found


def _outputs(generations: pl.DataFrame, names: Mapping[Pair, str]) -> dict[str, list[Output]]:
    """Group what was written by example, in the order of the names, with ratings first, one of several repeats."""
    places = {pair: place for place, pair in enumerate(names)}
    once = generations.unique(["example_id", "model", "adapter", "with_rating"], keep="first", maintain_order=True)
    rows = sorted(once.iter_rows(named=True), key=lambda row: (places[row["model"], row["adapter"]], not row["with_rating"]))
    outputs: dict[str, list[Output]] = {}
    for row in rows:
        output = Output(
            model=names[row["model"], row["adapter"]],
            with_rating=row["with_rating"],
            review=row["review"],
            error=row["error"],
            scores={name: row[name] for name in SCORE_NAMES},
        )
        outputs.setdefault(row["example_id"], []).append(output)
    return outputs


def _refuse_unknown(ids: pl.Series, known: pl.DataFrame, whose: str) -> None:
    unknown = ids.filter(~ids.is_in(known["example_id"].to_list())).unique(maintain_order=True).to_list()
    if unknown:
        raise SchemaError(
            f"{whose} name {len(unknown)} example id(s) that are not there, first of them {', '.join(unknown[:3])}; "
            "run jobs/evaluate.py on these examples again"
        )
