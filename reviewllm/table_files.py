"""Files of the tables: written whole or not at all, and checked when they are read."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from reviewllm.errors import SchemaError
from reviewllm.tables import Table


def write_table(table: pa.Table, path: Path, kind: Table) -> None:
    """Check `table` against `kind` and write it to `path`: aside, synced, then renamed, so no reader sees half a file.

    Raises:
        SchemaError: the rows do not fit the table.
    """
    table = kind.check(table, where=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(aside, "wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def replace_folder(finished: Path, target: Path) -> None:
    """Put a finished folder in the place of `target`; where that fails, the earlier one is put back."""
    earlier = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    if target.exists():
        os.rename(target, earlier)
    try:
        os.rename(finished, target)
    except OSError:
        if earlier.exists():
            os.rename(earlier, target)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def table_files(folder: Path, kind: Table) -> list[Path]:
    """List the Parquet files of `kind` at `folder` (a folder or one file), sorted by name.

    Names that start with '.' or '_' are not data.

    Raises:
        SchemaError: there is none.
    """
    if folder.is_file():
        return [folder]
    files = sorted(
        path
        for path in folder.rglob("*.parquet")
        if not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )
    if not files:
        raise SchemaError(
            f"{folder}: no Parquet file of table '{kind.name}' is there; run the job that writes it first: jobs/prepare.py "
            "writes interactions, items and examples, jobs/backfill.py and jobs/evaluate.py write generations, jobs/recommend.py "
            "sequences, candidates, profiles and recommendations"
        )
    return files


def read_table(source: Path | Sequence[Path], kind: Table) -> pa.Table:
    """Read a whole table into memory from a folder, a file or a list of files, checked against `kind`.

    Raises:
        SchemaError: no file is there, one is not Parquet, or one does not fit the table.
    """
    files: Iterable[Path] = table_files(source, kind) if isinstance(source, Path) else source
    parts = []
    for file in files:
        try:
            part = pq.ParquetFile(file).read()
        except (pa.ArrowInvalid, OSError) as error:
            raise SchemaError(f"{file}: not a readable Parquet file ({error}); make it anew or remove it") from error
        parts.append(kind.check(part, where=str(file)))
    return pa.concat_tables(parts) if parts else kind.schema.empty_table()
