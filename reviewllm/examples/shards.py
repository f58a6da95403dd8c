"""Examples -> files whose names say what is in them, so that what was made of one is found again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa

from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES

SHARD_ROWS = 100  # what an interruption loses at most, for each shard that an engine has under way


def write_shards(examples: pa.Table, folder: Path, *, first: int = 0, rows: int = SHARD_ROWS) -> list[str]:
    """Write examples as shards of at most `rows`, named by number (from `first`) and content; returns the names."""
    names = []
    for number, start in enumerate(range(0, examples.num_rows, rows), start=first):
        shard = examples.slice(start, rows).combine_chunks()
        digest = hashlib.sha256(str(shard.to_pylist()).encode()).hexdigest()[:12]
        names.append(f"shard-{number:05d}-{digest}.parquet")
        write_table(shard, folder / names[-1], EXAMPLES)
    return names
