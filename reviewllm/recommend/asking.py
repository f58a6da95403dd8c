"""Candidates and sequences -> what is asked of the ranking model, by shards of users: one shard is in memory at a time."""

from __future__ import annotations

import hashlib
import math
import random
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from reviewllm.errors import InputError, SchemaError
from reviewllm.recommend.rankings import check_ranks, refuse_several
from reviewllm.recommend.split import Target, held_out
from reviewllm.recommend.tables import CANDIDATES, SEQUENCES
from reviewllm.spill import Spill
from reviewllm.table_files import table_files
from reviewllm.tables import Table

USERS_AT_ONCE = 1000  # of a shard
IN_HISTORY = "candidates that the user has bought"
NO_ITEM, NO_SEQUENCE = "candidates that are not in the items table", "users without a sequence"
_BATCH_ROWS = 100_000


class Asked(NamedTuple):
    """One user: the history, and the candidates in the retriever's order."""

    user_id: str
    history: list[str]
    candidates: list[str]
    retriever: str


class Inputs(NamedTuple):
    """Where the tables of a ranking are, and which of their rows count.

    candidates: a file or a folder of CANDIDATES; its users are those that are ranked for.
    items: all items; candidates that are none of them are left out.
    most: candidates of a user, the retriever's first.
    sample: so many of the users, drawn by `seed`; None for all.
    """

    sequences: Path
    candidates: Path
    items: Collection[str]
    target: Target
    most: int
    sample: int | None
    seed: int


def read_users(inputs: Inputs) -> list[str]:
    """The users that are ranked for, sorted.

    Raises:
        InputError: there is no candidate, or the folder holds those of other targets.
        SchemaError: a file does not fit its table.
    """
    if not inputs.candidates.exists():
        raise InputError(
            f"{inputs.candidates}: is not there; run `jobs/recommend.py retrieve` for this target first, or name your own "
            "file of candidates"
        )
    refuse_several(inputs.candidates, inputs.target)
    users: set[str] = set()
    for batch in batches(inputs.candidates, CANDIDATES, ("user_id",)):
        users.update(batch["user_id"].unique())
    if not users:
        raise InputError(f"{inputs.candidates}: holds no candidate; expected rows of user_id, item_id, rank and retriever")
    if inputs.sample is None or inputs.sample >= len(users):
        return sorted(users)
    drawn = sorted(users, key=lambda user: hashlib.sha256(f"{inputs.seed}:{user}".encode()).digest())
    return sorted(drawn[: inputs.sample])


def ask_by_shards(inputs: Inputs, spill: Path, counts: Counter[str]) -> Iterator[list[Asked]]:
    """The users in shards of about a thousand, whole users, always in the same order.

    Args:
        spill: folder for what does not fit into memory; it is removed.
        counts: gets the candidates and users that were left out, by reason.

    Raises:
        SchemaError: a table does not fit.
        InputError: there is no candidate, none is of a user of the sequences, a user has those of two retrievers, or ranks and
            scores are not as CANDIDATES says.
    """
    users = read_users(inputs)
    wanted = pl.DataFrame({"user_id": users})
    shutil.rmtree(spill, ignore_errors=True)
    buckets = math.ceil(len(users) / USERS_AT_ONCE)
    try:
        told = _spilled(inputs.candidates, CANDIDATES, spill / "candidates", buckets, wanted)
        known = _spilled(inputs.sequences, SEQUENCES, spill / "sequences", buckets, wanted)
        any_known = False
        for bucket in range(buckets):
            rows, sequences = told.read(bucket), known.read(bucket)
            any_known = any_known or sequences is not None
            if rows is not None:
                yield list(_shard(rows, {} if sequences is None else dict(sequences.rows()), inputs, counts))
        if not any_known:
            raise InputError(
                f"{inputs.candidates}: none of its {len(users)} users, as {users[0][:80]!r}, is in {inputs.sequences}; name "
                "candidates of this run"
            )
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def shuffled(asked: Asked, seed: int) -> list[str]:
    """The candidates as a prompt shows them: against position bias in an order of the user's own."""
    candidates = list(asked.candidates)
    random.Random(f"{seed}:{asked.user_id}").shuffle(candidates)
    return candidates


def _spilled(source: Path, kind: Table, folder: Path, buckets: int, wanted: pl.DataFrame) -> Spill:
    spill = Spill(folder, key="user_id", buckets=buckets, rows_in_memory=10 * _BATCH_ROWS)
    for batch in batches(source, kind, [column.name for column in kind.columns]):
        spill.add(batch.join(wanted, on="user_id", how="semi", maintain_order="left"))
    return spill


def batches(source: Path, kind: Table, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Some columns of a table, some rows at a time.

    Raises:
        SchemaError: there is no file, or one does not fit the table.
    """
    for file in table_files(source, kind):
        try:
            parquet = pq.ParquetFile(file)
            columns = [name for name in names if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
                table = kind.only(names).check(pa.Table.from_batches([batch]), where=str(file))
                yield pl.DataFrame(table)
        except (pa.ArrowInvalid, OSError) as error:
            raise SchemaError(f"{file}: not a readable Parquet file ({error}); make it anew or remove it") from error


def _shard(
    rows: pl.DataFrame, sequences: Mapping[str, Sequence[str]], inputs: Inputs, counts: Counter[str]
) -> Iterator[Asked]:
    _check(rows, inputs.candidates)
    ordered = rows.sort("user_id", "rank")
    grouped = ordered.group_by("user_id", maintain_order=True).agg("item_id", pl.col("retriever").first())
    for user_id, items, retriever in grouped.rows():
        if user_id not in sequences:
            counts[NO_SEQUENCE] += 1
            continue
        history, _ = held_out(sequences[user_id], inputs.target)
        known = [item for item in items if item in inputs.items]
        bought = set(history)
        new = [item for item in known if item not in bought]
        counts.update({NO_ITEM: len(items) - len(known), IN_HISTORY: len(known) - len(new)})
        yield Asked(user_id, history, new[: inputs.most], retriever)


def _check(rows: pl.DataFrame, source: Path) -> None:
    mixed = rows.group_by("user_id").agg(pl.col("retriever").unique().sort()).filter(pl.col("retriever").list.len() > 1)
    if mixed.height:
        user, names = mixed.row(0)
        raise InputError(
            f"{source}: user {user[:80]!r} has candidates of {len(names)} retrievers, {', '.join(names[:5])}; "
            "rank one at a time: name its file, or keep its rows alone"
        )
    check_ranks(rows, where=source)
