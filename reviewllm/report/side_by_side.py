"""Evaluated examples as a reader compares them: the purchase, the real review, and what each model wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, TypeAdapter

from reviewllm.attributes.salience import by_salience
from reviewllm.attributes.serialise import value_text
from reviewllm.errors import SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.complete import product_of
from reviewllm.evaluation.figures import LIKELIHOOD
from reviewllm.evaluation.names import Pair
from reviewllm.evaluation.rows import SPLITS
from reviewllm.examples.splits import example_files
from reviewllm.files import read_json
from reviewllm.report.content import Doubt, Entry, Example, Output, Prompt
from reviewllm.scoring.facts import read_known
from reviewllm.scoring.scorer import Product, claims_of
from reviewllm.table_files import read_table
from reviewllm.tables import EVIDENCE_COLUMNS, EXAMPLES, GENERATIONS, SCORES

MOST_BROWSED = 300  # examples in the page: with a dozen models a page of a few megabytes, which a phone still opens
_ATTRIBUTES = 12  # most salient attributes that are shown
_ENTRIES = 5  # newest of the history that are shown
_SCORE_NAMES = [
    *(column.name for column in SCORES),
    *(figure.name for figure in LIKELIHOOD if figure.name in GENERATIONS.schema.names),
]


class _Sample(BaseModel):
    example_id: str
    with_rating: bool
    prompt: str


_SAMPLES = TypeAdapter(list[_Sample])


def evaluated_examples(out: Path, generations: pl.DataFrame, names: Mapping[Pair, str]) -> tuple[Example, ...]:
    """Put every evaluated example of an output folder beside the generations for it.

    Those whose prompts were kept (`metrics/samples.json`) come first, then the others in the order of the examples. Outputs
    come in the order of `names`, with ratings first. A split whose examples were not kept is left out.

    Args:
        generations: GENERATIONS rows of one repetition.
        names: what each (model, adapter) is called.

    Raises:
        SchemaError: a generation or a sample belongs to none of the examples, or an example has no reference.
        InputError: a split's folder holds examples of another.
    """
    examples = _examples(out / "examples", generations)
    prompts = _prompts(out / "metrics" / "samples.json", generations)
    outputs = _outputs(generations.filter(pl.col("example_id").is_in(examples["example_id"].implode())), names)
    made = [
        _example(row, prompts.get(row["example_id"], ()), tuple(outputs.get(row["example_id"], ())))
        for row in examples.iter_rows(named=True)
    ]
    return tuple(sorted(made, key=lambda example: not example.prompts))


def browsed(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The examples that the page holds: all, or as many of each split as there is room for, evenly chosen, in their order."""
    if len(examples) <= MOST_BROWSED:
        return tuple(examples)
    by_split = sorted(([one for one in examples if one.split == split] for split in SPLITS), key=len)
    chosen: list[Example] = []
    for number, mine in enumerate(by_split):
        share = (MOST_BROWSED - len(chosen)) // (len(by_split) - number)  # what a small split leaves is the large one's
        chosen += _evenly(mine, share)
    places = {example.example_id: place for place, example in enumerate(examples)}
    return tuple(sorted(chosen, key=lambda example: places[example.example_id]))


def _evenly(examples: Sequence[Example], count: int) -> list[Example]:
    """So many of the examples, with prompts first, then evenly from the first to the last."""
    if len(examples) <= count:
        return list(examples)
    first = [example for example in examples if example.prompts][:count]
    rest = [example for example in examples if not example.prompts]
    left = count - len(first)
    return [*first, *(rest[number * len(rest) // left] for number in range(left))]


def _example(row: dict[str, Any], prompts: tuple[Prompt, ...], outputs: tuple[Output, ...]) -> Example:
    product = product_of(row)
    history = row.pop("history")
    others = {name: None if (found := row.pop(name)) is None else _entries(found) for name in EVIDENCE_COLUMNS["both"]}
    known = read_known(row.pop("attributes"))
    return Example(
        **row,
        doubts=_doubts(row["reference"], product),
        attributes={name: value_text(known[name]) for name in by_salience(known)[:_ATTRIBUTES]},
        reviews_of_user=len(history),
        history=_entries(history[-_ENTRIES:]),
        **others,
        prompts=prompts,
        outputs=tuple(one.model_copy(update={"doubts": _doubts(one.review, product)}) for one in outputs),
    )


def _entries(reviews: Sequence[dict[str, Any]]) -> tuple[Entry, ...]:
    return tuple(Entry(**{name: one[name] for name in Entry.model_fields}) for one in reviews)


def _doubts(text: str | None, product: Product) -> tuple[Doubt, ...]:
    """The claims of a text to be marked."""
    return tuple(
        Doubt(start=claim.start, end=claim.end, kind=claim.kind, verdict=claim.verdict)
        for claim in ((claims_of(text, product) if text else None) or [])
        if claim.verdict != "supported"
    )


def _examples(folder: Path, generations: pl.DataFrame) -> pl.DataFrame:
    """Read the fields to show of the evaluated examples in those splits that were kept."""
    fields = ["example_id", "split", "category", "title", "attributes", "rating", "reference", "history"]
    fields += EVIDENCE_COLUMNS["both"]
    frames = [pl.DataFrame(EXAMPLES.schema.empty_table().select(fields))]
    for split in SPLITS:
        if any((folder / split).glob("*.parquet")):
            frame = pl.DataFrame(read_table(example_files(folder / split, split), EXAMPLES).select(fields))
            asked = generations.filter(pl.col("split") == split)
            _refuse_unknown(asked["example_id"], frame, f"{folder / split}: the evaluation's generations")
            frames.append(
                frame.join(asked.select("example_id").unique(), on="example_id", how="semi", maintain_order="left")
            )
    examples = pl.concat(frames)
    if blank := examples["reference"].null_count():
        raise SchemaError(f"{folder}: {blank} evaluated example(s) have no reference; run jobs/prepare.py again")
    return examples


def _prompts(file: Path, generations: pl.DataFrame) -> dict[str, tuple[Prompt, ...]]:
    """Read the sampled prompts of each example, in the order of the file; none where none were kept."""
    if not file.exists():
        return {}
    found: dict[str, tuple[Prompt, ...]] = {}
    for sample in read_json(file, _SAMPLES):
        prompt = Prompt(with_rating=sample.with_rating, prompt=sample.prompt)
        found[sample.example_id] = (*found.get(sample.example_id, ()), prompt)
    _refuse_unknown(pl.Series("example_id", list(found), dtype=pl.String), generations, f"{file}: the samples")
    return found


def _outputs(generations: pl.DataFrame, names: Mapping[Pair, str]) -> dict[str, list[Output]]:
    """Group what was written by example, in the order of the names, with ratings first; the real reviews are no output."""
    places = {pair: place for place, pair in enumerate(names)}
    rows = sorted(
        generations.iter_rows(named=True), key=lambda row: (places[row["model"], row["adapter"]], not row["with_rating"])
    )
    outputs: dict[str, list[Output]] = {}
    for row in rows:
        name = names[row["model"], row["adapter"]]
        if name != REAL.name:
            output = Output(
                model=name,
                with_rating=row["with_rating"],
                review=row["review"],
                error=row["error"],
                scores={score: row[score] for score in _SCORE_NAMES},
                chosen=row["chosen_because"] and f"of {row['drafts']} drafts: {row['chosen_because']}",
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
