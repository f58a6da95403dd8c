"""The output folder of a run as the jobs before the report leave it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from evaluated import ADAPTED, BASE, NAMES, baseline_reviews, evaluation, example, generation, generations

from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.comparisons import Side
from reviewllm.evaluation.conclude import conclude
from reviewllm.evaluation.names import Pair
from reviewllm.evaluation.results import Evaluated, Evaluation, write_evaluation
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES, GENERATIONS

COPIED: Pair = ("own latest review", None)
ALL_NAMES = {**NAMES, COPIED: COPIED[0], (REAL.name, None): REAL.name}


def leave_finished_run(out: Path) -> None:
    """Write the whole output of a run: 30 examples in each split, one published night, three recorded steps.

    Base and adapter were asked with and without ratings; a baseline and the real reviews are there too.
    """
    metrics = out / "metrics"
    asked = [example(f"{split}-{number}", split) for split in ("simple", "hard") for number in range(30)]
    rows = [*evaluation(30), *_of_everybody(asked, COPIED[0], 20.0), *_of_everybody(asked, REAL.name, 100.0)]
    write_table(generations(rows), metrics / "generations" / "0" / "part-0.parquet", GENERATIONS)
    for split in ("simple", "hard"):
        mine = [row for row in asked if row["split"] == split]
        write_table(
            pa.Table.from_pylist(mine, schema=EXAMPLES.schema), out / "examples" / split / "shard-0.parquet", EXAMPLES
        )
    table = pa.Table.from_pylist(asked, schema=EXAMPLES.schema)
    conclude(metrics, table, baseline_reviews(), names=ALL_NAMES, run="demo", candidate=Side(NAMES[ADAPTED], True))
    samples = [
        {"example_id": f"{split}-7", "with_rating": with_rating, "prompt": f"Prompt of {split}-7, {with_rating}."}
        for split in ("simple", "hard")
        for with_rating in (True, False)
    ]
    (metrics / "samples.json").write_text(json.dumps(samples))
    write_evaluation(_head(), metrics)
    _publish_night(out / "generations" / "dt=2026-01-02")
    steps = [
        {"step": "prepare", "rows_in": 100, "rows_out": 90, "seconds": 1.5, "counts": {"rejected": 4, "dropped": 6}},
        {"step": "train", "rows_in": 90, "rows_out": 90, "seconds": 60.0, "counts": {}},
        {"step": "backfill", "rows_in": 3, "rows_out": 3, "seconds": 2.0, "counts": {"failed": 1}},
    ]
    config = {"train": {"lora_r": 8, "engine": {"max_model_len": 512}}}
    (out / "summary.json").write_text(json.dumps({"steps": steps, "config": config}))


def _of_everybody(asked: list[dict[str, Any]], model: str, score: float) -> list[dict[str, Any]]:
    return [
        generation(
            row["example_id"],
            score,
            split=row["split"],
            rating=row["rating"],
            model=model,
            with_rating=False,
            review=row["reference"],
        )
        for row in asked
    ]


def _head() -> Evaluation:
    def model(pair: Pair, kind: Any, with_rating: bool) -> Evaluated:
        name, fingerprints = ALL_NAMES[pair], ["f" * 64]
        return Evaluated(
            name=name, kind=kind, model=pair[0], adapter=pair[1], with_rating=with_rating, fingerprints=fingerprints
        )

    return Evaluation(
        run="demo",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        protocol=None,
        examples_digest="e" * 64,
        rows={"simple": 30, "hard": 30},
        repeats=1,
        candidate=NAMES[ADAPTED],
        candidate_with_rating=True,
        models=[
            *(model(BASE, "base", with_rating) for with_rating in (True, False)),
            *(model(ADAPTED, "adapter", with_rating) for with_rating in (True, False)),
            model(COPIED, "baseline", False),
            model((REAL.name, None), "baseline", False),
        ],
        scorers={"rouge": "1", "meteor": "1", "sbert": "2", "reference_nll": "of at most 512 tokens, tokenizer a"},
        costs={},
    )


def _publish_night(folder: Path) -> None:
    rows = [
        generation(f"b-{number}", None, split="backfill", adapter=ADAPTED[1], review=review, error=error)
        for number, (review, error) in enumerate([("First text.", None), (None, "too long"), ("Second text.", None)])
    ]
    write_table(generations(rows), folder / "shard-0.parquet", GENERATIONS)
    manifest: dict[str, Any] = {"rows": 3, "failed": 1, "fingerprint": "f" * 64, "model": BASE[0], "adapter": ADAPTED[1]}
    manifest |= {"prompt_tokens": 1234, "completion_tokens": 56, "seconds": 2.25, "shards": 1}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
