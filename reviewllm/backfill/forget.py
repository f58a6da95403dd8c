"""Remove a user from everything that nights have written, and let no later night write for that user."""

from __future__ import annotations

import datetime
import json
import uuid
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import polars as pl

from reviewllm.backfill.compact import PART_BYTES
from reviewllm.backfill.finish import finish
from reviewllm.backfill.forgotten import FORGOTTEN, forgotten_users, read_forgotten, user_hash, without_forgotten
from reviewllm.backfill.night import (
    GENERATIONS_FOLDER,
    Manifest,
    Night,
    published_files,
    published_nights,
    read_dead_letters,
)
from reviewllm.backfill.publish import republish
from reviewllm.place import Place
from reviewllm.tables import GENERATIONS, SUPERSEDED

_UNDER_WAY = f"{GENERATIONS_FOLDER}/_forgetting.json"


def forget_users(data: Place, users: Sequence[str]) -> dict[datetime.date, Counter[str]]:
    """Remove users' rows from every published night, its dead letters, what is staged and what is marked superseded.

    The list of who was forgotten, as hashes, is written first, and a mark that this is under way: after a crash the next
    run, or the next call, goes on with it. The files of the users' own purchases (interactions, examples), adapters and
    reports are not touched.

    Returns:
        the rows, by user, removed from each night that had some.

    Raises:
        PublishError, SchemaError: a night cannot be read.
        StorageError: something cannot be written.
    """
    forgotten = read_forgotten(data) | {user_hash(user) for user in users}
    data.write(_UNDER_WAY, b"{}")
    data.write(FORGOTTEN, json.dumps(sorted(forgotten)).encode())
    removed: dict[datetime.date, Counter[str]] = {}
    for day, manifest in published_nights(data).items():
        night = Night(data, day, manifest.fingerprint)
        rows = _rows_of(data, day, manifest, forgotten)
        if rows:
            republish(night, manifest, forgotten, run=uuid.uuid4().hex, part_bytes=PART_BYTES)
            removed[day] = rows
        else:  # a call that was interrupted may have left what it replaced
            finish(night, manifest, SUPERSEDED.schema.empty_table())
    for file in data.files(f"{GENERATIONS_FOLDER}/_superseded"):
        table = pl.DataFrame(data.read_table(file.name, SUPERSEDED))
        kept = without_forgotten(table, forgotten)
        if kept.height < table.height:
            data.write_table(file.name, kept.to_arrow(), SUPERSEDED)
    data.delete_folder(f"{GENERATIONS_FOLDER}/.staging")  # journals hold texts too; what is lost is written again
    data.delete(_UNDER_WAY)
    return removed


def finish_forgetting(data: Place) -> None:
    """Go on with a `forget_users` that was interrupted; nothing happens where none was."""
    if data.exists(_UNDER_WAY):
        forget_users(data, [])


def _rows_of(data: Place, day: datetime.date, manifest: Manifest, forgotten: frozenset[str]) -> Counter[str]:
    """The night's rows of forgotten users, by user."""
    counts: Counter[str] = Counter()
    batches = (
        batch for file in published_files(data, day, manifest) for batch in data.batches(file, GENERATIONS, ["user_id"])
    )
    letters = pl.DataFrame(read_dead_letters(data, day, manifest).select(["user_id"]))
    for rows in chain(batches, [letters]):
        gone = rows.filter(pl.col("user_id").is_in(forgotten_users(rows, forgotten).to_list()))
        counts.update(dict(gone["user_id"].value_counts().rows()))
    return counts
