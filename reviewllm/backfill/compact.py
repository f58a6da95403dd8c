"""Staged shards to the files of a night: of a sensible size, sorted by user, failed rows apart."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from reviewllm.backfill.forgotten import without_forgotten
from reviewllm.failpoints import reached
from reviewllm.place import Place
from reviewllm.spill import Spill
from reviewllm.tables import DEAD_LETTERS, GENERATIONS

PART_BYTES = 128 << 20
_ROWS_IN_MEMORY = 100_000
_BYTES_AT_LEAST = 64  # of a compressed row, so that an empty night has a size too


class Part(NamedTuple):
    """A file of the night, and its rows."""

    name: str
    rows: int


def compact(
    data: Place,
    staged: Sequence[str],
    folder: str,
    *,
    run: str,
    part_bytes: int = PART_BYTES,
    forgotten: frozenset[str] = frozenset(),
) -> tuple[list[Part], pa.Table]:
    """Write `folder/part-00000-<run>.parquet`, ... from staged files, and return them with the failed rows (DEAD_LETTERS).

    The files cover ranges of user ids, in order; within one, rows are sorted by user, and a user's stand as they were staged.
    Memory holds one of them, and the failed rows. There is at least one file, also of a night without rows.

    Args:
        staged: names of GENERATIONS files below `data`.
        forgotten: sha256 of the ids of users whose rows are left out.

    Raises:
        SchemaError: a staged file is damaged.
        StorageError: a file cannot be written.
    """
    borders = _borders(data, staged, part_bytes)
    failed: list[pl.DataFrame] = []
    parts = []
    with tempfile.TemporaryDirectory(prefix="reviewllm-parts-") as spilled:
        spill = Spill(
            Path(spilled) / "rows",
            key="user_id",
            buckets=len(borders) + 1,
            rows_in_memory=_ROWS_IN_MEMORY,
            bucket_of=lambda users: pl.Series(borders, dtype=pl.String).search_sorted(users, side="right"),
        )
        for rows in _rows(data, staged, forgotten):
            failed.append(_dead_letters(rows.filter(pl.col("review").is_null())))
            spill.add(rows.filter(pl.col("review").is_not_null()))
        empty = pl.DataFrame(GENERATIONS.schema.empty_table())
        for number in range(len(borders) + 1):
            part = spill.read(number)
            if part is None and number:
                continue
            name = f"part-{number:05d}-{run[:8]}.parquet"
            parts.append(_write_part(data, folder, name, empty if part is None else part))
            reached("compact")
    letters = pl.concat([pl.DataFrame(DEAD_LETTERS.schema.empty_table()), *failed])
    return parts, DEAD_LETTERS.check(letters.sort("user_id", maintain_order=True).to_arrow(), where="dead letters")


def _rows(data: Place, staged: Iterable[str], forgotten: frozenset[str]) -> Iterator[pl.DataFrame]:
    for name in staged:
        yield without_forgotten(pl.DataFrame(data.read_table(name, GENERATIONS)), forgotten)


def _borders(data: Place, staged: Sequence[str], part_bytes: int) -> list[str]:
    """The users at which the files begin, but for the first: quantiles of the users of the staged rows."""
    sizes = {file.name: file.size for folder in {name.rpartition("/")[0] for name in staged} for file in data.files(folder)}
    parts = -(-sum(max(sizes.get(name, 0), _BYTES_AT_LEAST) for name in staged) // part_bytes)
    if parts <= 1:
        return []
    # A sample: one staged file in so many, since each holds a thousand rows of all kinds of users.
    step = max(1, len(staged) // 1000)
    users = pl.concat(
        [pl.Series(data.read_columns(name, GENERATIONS, ["user_id"])["user_id"]) for name in staged[::step]]
    ).sort()
    return sorted({str(users[len(users) * number // parts]) for number in range(1, parts)})


def _write_part(data: Place, folder: str, name: str, rows: pl.DataFrame) -> Part:
    rows = rows.sort("user_id", maintain_order=True)
    data.write_table(f"{folder}/{name}", rows.to_arrow(), GENERATIONS)
    return Part(name, rows.height)


def _dead_letters(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        "example_id",
        "user_id",
        stage="error_stage",
        error_class="error_class",
        message="error",
        attempts="attempts",
        prompt_sha256="prompt_sha256",
        fingerprint="fingerprint",
        failed_at="generated_at",
    )
