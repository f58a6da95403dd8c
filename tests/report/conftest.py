"""Rows and folders as the jobs before the report leave them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from reviewllm.report.metrics import summarise
from reviewllm.report.names import Pair
from reviewllm.tables import EXAMPLES, GENERATIONS, METRICS, write_table

BASE: Pair = ("models/tiny", None)
ADAPTED: Pair = ("models/tiny", "out/adapter")
NAMES = {BASE: "tiny", ADAPTED: "tiny + adapter"}
DAY = datetime(2026, 1, 2, tzinfo=UTC)

GenerationRow = Callable[..., dict[str, Any]]


def _generation(example_id: str, score: float | None = 50.0, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(GENERATIONS.schema.names)
    row |= {"example_id": example_id, "user_id": f"user of {example_id}", "item_id": "i", "category": "Strings"}
    row |= {"rating": 4.0, "split": "simple", "review": "It is good.", "model": BASE[0], "with_rating": True}
    row |= {"fingerprint": "f" * 64, "seed": 0, "attempts": 1, "generated_at": DAY, "is_generated": True}
    row |= {"rouge1": score, "rougeL": score, "sbert_cosine": score}
    return row | changes


@pytest.fixture
def generation() -> GenerationRow:
    """A GENERATIONS row of the bare base with one value for all of its scores, changed by keywords."""
    return _generation


@pytest.fixture
def names() -> dict[Pair, str]:
    return dict(NAMES)


def _evaluation_rows(examples_per_split: int) -> list[dict[str, Any]]:
    """Base and adapter, with and without rating, on both splits; the adapter's scores are 20 above the base's."""
    return [
        _generation(
            f"{split}-{number}",
            10.0 + number % 5 + (20.0 if adapter else 0.0) - (8.0 if split == "hard" and not with_rating else 0.0),
            split=split,
            adapter=adapter,
            with_rating=with_rating,
            review=f"Text of {adapter} for {split}-{number}.",
        )
        for adapter in (None, ADAPTED[1])
        for with_rating in (True, False)
        for split in ("simple", "hard")
        for number in range(examples_per_split)
    ]


def _example(example_id: str, split: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "example_id": example_id,
        "user_id": f"user of {example_id}",
        "item_id": "i",
        "category": "Strings",
    }
    row |= {"rating": 2.0 if split == "hard" else 4.0, "title": f"Item of {example_id}", "attributes": None}
    return row | {"purchased_at": DAY, "history": [], "reference": f"Reference of {example_id}.", "split": split}


@pytest.fixture
def out_folder(tmp_path: Path) -> Path:
    """The whole output of a run: 30 examples in each split, one published night, three recorded steps."""
    out = tmp_path / "out"
    generations = pa.Table.from_pylist(_evaluation_rows(30), schema=GENERATIONS.schema)
    write_table(generations, out / "metrics" / "generations" / "part-0.parquet", GENERATIONS)
    metrics = summarise(generations, run="demo", repeat=0, names=NAMES)
    write_table(metrics, out / "metrics" / "metrics.parquet", METRICS)
    samples = [
        {"example_id": f"{split}-7", "with_rating": with_rating, "prompt": f"Prompt of {split}-7, {with_rating}."}
        for split in ("simple", "hard")
        for with_rating in (True, False)
    ]
    (out / "metrics" / "samples.json").write_text(json.dumps(samples))
    for split in ("simple", "hard"):
        rows = [_example(f"{split}-{number}", split) for number in range(30)]
        write_table(
            pa.Table.from_pylist(rows, schema=EXAMPLES.schema), out / "examples" / split / "shard-0.parquet", EXAMPLES
        )
    _publish_night(out / "generations" / "dt=2026-01-02")
    steps = [
        {"step": "prepare", "rows_in": 100, "rows_out": 90, "seconds": 1.5, "counts": {"rejected": 4, "dropped": 6}},
        {"step": "train", "rows_in": 90, "rows_out": 90, "seconds": 60.0, "counts": {}},
        {"step": "backfill", "rows_in": 3, "rows_out": 3, "seconds": 2.0, "counts": {"failed": 1}},
    ]
    config = {"train": {"lora_r": 8, "engine": {"max_model_len": 512}}}
    (out / "summary.json").write_text(json.dumps({"steps": steps, "config": config}))
    return out


def _publish_night(folder: Path) -> None:
    rows = [
        _generation(f"b-{number}", None, split="backfill", adapter=ADAPTED[1], review=review, error=error)
        for number, (review, error) in enumerate([("First text.", None), (None, "too long"), ("Second text.", None)])
    ]
    write_table(pa.Table.from_pylist(rows, schema=GENERATIONS.schema), folder / "shard-0.parquet", GENERATIONS)
    manifest: dict[str, Any] = {"rows": 3, "failed": 1, "fingerprint": "f" * 64, "model": BASE[0], "adapter": ADAPTED[1]}
    manifest |= {"prompt_tokens": 1234, "completion_tokens": 56, "seconds": 2.25, "shards": 1}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
