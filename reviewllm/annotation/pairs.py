"""Generations of an evaluation, and their examples -> the pairs of reviews that annotators compare."""

from __future__ import annotations

import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field, StringConstraints

from reviewllm.annotation.key import NotShown, Split
from reviewllm.config import StageConfig
from reviewllm.errors import ConfigError, InputError, SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.names import Pair as ModelPair
from reviewllm.evaluation.names import read_names
from reviewllm.evaluation.results import repeat_folders
from reviewllm.examples.splits import example_files
from reviewllm.table_files import read_table, table_files
from reviewllm.tables import EXAMPLES, GENERATIONS
from reviewllm.texts import is_blank

_GENERATION_FIELDS = ("example_id", "split", "review", "model", "adapter", "with_rating")
_EXAMPLE_FIELDS = ("example_id", "title", "rating", "reference")

Texts = dict[str, dict[str, str | None]]  # model -> example id -> generated review; None where the row failed


class DrawConfig(StageConfig):
    """Which generated reviews are judged; the defaults are the paper's."""

    pairs: int = Field(100, ge=1, description="examples to draw; each makes one pair for every model")
    split: Split = Field("simple", description="simple or hard")
    seed: int = Field(0, description="of the draw: the same examples for the same seed")
    with_rating: bool = Field(True, description="judge what was written with ratings in the prompt")
    models: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        [], description="a model's name as in the report's tables; once for each model; default all"
    )


@dataclass(frozen=True)
class Pair:
    """A real and a generated review of one purchase; `models` are all that wrote this very text for it.

    `pair_id` is random: without the key it tells nothing.
    """

    pair_id: str
    example_id: str
    title: str
    rating: float
    reference: str
    generated: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class Draw:
    """The examples drawn, of how many, and the pairs that they make for `models`.

    `left_out` are models that were only evaluated with the other kind of prompt; `not_shown` has no text to show.
    """

    models: tuple[str, ...]
    left_out: tuple[str, ...]
    examples: tuple[str, ...]
    available: int
    pairs: tuple[Pair, ...]
    not_shown: tuple[NotShown, ...]


def draw_pairs(out: Path, config: DrawConfig) -> Draw:
    """Draw examples, the same for every model, and pair each one's real review with what the models wrote.

    Reads `metrics/generations`, `metrics/models.json` and `examples/<split>` below `out`. The examples depend on the seed and
    the evaluated ids alone; the pairs' ids are new each time. Where fewer examples were evaluated than asked for, all are
    drawn. Equal texts of several models for one example make one pair. Failed and blank texts make none.

    Raises:
        ConfigError: a model that was asked for was not evaluated so.
        InputError: there is no text to show, or the examples are of another split.
        SchemaError: a table is missing or wrong, or the models did not answer the same examples.
    """
    generations = read_generations(out)
    names = read_names(out / "metrics" / "models.json")
    texts = _texts(generations, names, config)
    left_out = [] if config.models else [name for name in dict.fromkeys(names.values()) if name not in (*texts, REAL.name)]
    ids = sorted(next(iter(texts.values())))
    drawn = sorted(random.Random(config.seed).sample(ids, min(config.pairs, len(ids))))
    examples = _examples(out / "examples" / config.split, drawn)
    pairs = [pair for example_id in drawn for pair in _pairs(examples[example_id], texts)]
    if not pairs:
        raise InputError(
            f"{out}: all {len(drawn)} drawn examples failed or are blank in every model, so there is nothing to judge; see the "
            "report for why, and run jobs/evaluate.py again"
        )
    not_shown = [
        NotShown(example_id=example_id, model=model, reason=reason)
        for example_id in drawn
        for model in texts
        if (reason := "failed" if (text := texts[model][example_id]) is None else "blank" if is_blank(text) else None)
    ]
    return Draw(tuple(texts), tuple(left_out), tuple(drawn), len(ids), tuple(pairs), tuple(not_shown))


def read_generations(out: Path) -> pl.DataFrame:
    """Read what an evaluation wrote; of several repeats (`metrics/generations/<number>/`) that of the lowest number."""
    chosen = next(iter(repeat_folders(out / "metrics")), out / "metrics" / "generations")
    table = GENERATIONS.only(_GENERATION_FIELDS)
    return pl.DataFrame(read_table(table_files(chosen, GENERATIONS), table))


def _texts(generations: pl.DataFrame, names: Mapping[ModelPair, str], config: DrawConfig) -> Texts:
    """What each wanted model wrote, in the order of the names."""
    how = f"split {config.split}, {'with' if config.with_rating else 'without'} ratings"
    asked = (pl.col("split") == config.split) & (pl.col("with_rating") == config.with_rating)
    rows = generations.filter(asked & (pl.col("model") != REAL.name))  # nobody needs to judge a text against itself
    texts: Texts = {name: {} for name in names.values()}
    for row in rows.iter_rows(named=True):
        pair = (row["model"], row["adapter"])
        if pair not in names:
            raise SchemaError(f"metrics/models.json: no name for (model, adapter) {pair}; run jobs/evaluate.py again")
        written = texts[names[pair]]
        if row["example_id"] in written:
            raise SchemaError(
                f"metrics/generations: example {row['example_id']} is there twice for model {names[pair]!r} ({how}); run "
                "jobs/evaluate.py again"
            )
        written[row["example_id"]] = row["review"]
    evaluated = {model: written for model, written in texts.items() if written}
    _refuse_unknown(config.models, list(evaluated), how)
    wanted = {model: written for model, written in evaluated.items() if not config.models or model in config.models}
    _refuse_unequal(wanted, how)
    return wanted


def _refuse_unknown(wanted: Sequence[str], evaluated: Sequence[str], how: str) -> None:
    if not evaluated:
        raise InputError(f"metrics/generations: no row for {how}; run jobs/evaluate.py, or choose another --split")
    for model in wanted:
        if model not in evaluated:
            raise ConfigError(
                f"--models {model}: was not evaluated ({how}); choose of: {', '.join(evaluated)}; or see --no-with-rating, "
                "--split"
            )


def _refuse_unequal(texts: Texts, how: str) -> None:
    """Models that answered different examples cannot be compared."""
    everything = set().union(*texts.values())
    for model, written in texts.items():
        if missing := sorted(everything - set(written)):
            raise SchemaError(
                f"metrics/generations: model {model!r} has {len(written)} of {len(everything)} examples ({how}), example "
                f"{missing[0]} is missing; run jobs/evaluate.py again, or leave the model out with --models"
            )


def _examples(folder: Path, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The rows to show of the drawn examples, by id."""
    files = example_files(folder, folder.name)
    frame = pl.DataFrame(read_table(files, EXAMPLES.only(_EXAMPLE_FIELDS)))
    rows = {row["example_id"]: row for row in frame.filter(pl.col("example_id").is_in(ids)).iter_rows(named=True)}
    for example_id in ids:
        if example_id not in rows:
            raise SchemaError(f"{folder}: the evaluated example {example_id} is not there; run jobs/evaluate.py again")
        if is_blank(rows[example_id]["reference"]):
            raise SchemaError(f"{folder}: example {example_id} has no reference; run jobs/prepare.py again")
    return rows


def _pairs(example: Mapping[str, Any], texts: Texts) -> list[Pair]:
    """One pair for each distinct text that was written for an example."""
    authors: dict[str, list[str]] = {}
    for model, written in texts.items():
        text = written[example["example_id"]]
        if text is not None and not is_blank(text):
            authors.setdefault(text, []).append(model)
    # A letter first, or a spreadsheet takes an id such as 12e45 for a number.
    return [
        Pair(f"p{secrets.token_hex(8)}", **example, generated=text, models=tuple(models)) for text, models in authors.items()
    ]
