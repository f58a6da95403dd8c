"""What the annotation's tests share: rows of an evaluation, a run folder made of them, and files as annotators send them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from conftest import day, example

from reviewllm.annotation.answers import COLUMNS
from reviewllm.evaluation.names import write_names
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES, GENERATIONS

NAMES = {("org/tiny", None): "tiny", ("org/tiny", "out/adapter"): "Review-LLM", ("org/tiny", "out/other"): "no-rating twin"}
TINY, ADAPTED, TWIN = NAMES


def generation(example_id: str, pair: tuple[str, str | None], review: str | None, **changed: Any) -> dict[str, Any]:
    """A GENERATIONS row, changed by keywords."""
    row = dict.fromkeys(GENERATIONS.schema.names)
    row |= {"example_id": example_id, "user_id": "u", "item_id": "i", "category": "Garden", "rating": 2.0, "split": "simple"}
    row |= {"review": review, "model": pair[0], "adapter": pair[1], "with_rating": True, "fingerprint": "f", "seed": 0}
    row |= {"attempts": 1, "generated_at": day(0), "is_generated": True}
    return row | changed


def write_run(out: Path, rows: Sequence[dict[str, Any]], *, name: str = "part-0", **examples: str) -> Path:
    """Write generations, names, and an example for each id in them; `examples` gives references by id."""
    write_table(
        pa.Table.from_pylist(list(rows), schema=GENERATIONS.schema),
        out / "metrics" / "generations" / f"{name}.parquet",
        GENERATIONS,
    )
    write_names(NAMES, out / "metrics" / "models.json")
    ids = dict.fromkeys(row["example_id"] for row in rows)
    kept = [
        example(example_id=one, title=f"Item {one}", reference=examples.get(one, f"Real {one}."), split="simple")
        for one in ids
    ]
    write_table(
        pa.Table.from_pylist(kept, schema=EXAMPLES.schema), out / "examples" / "simple" / "shard-0.parquet", EXAMPLES
    )
    return out


def csv_text(answers: dict[str, Any], *, annotator: str = "annotator-01", export_id: str = "x1") -> str:
    """A file as the page writes it."""
    lines = [f"{export_id},{annotator},{pair},{answer},2026-01-02T03:04:05.678Z" for pair, answer in answers.items()]
    return "".join(f"{line}\r\n" for line in [",".join(COLUMNS), *lines])
