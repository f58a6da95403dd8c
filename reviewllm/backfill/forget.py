"""Remove a user from everything that nights have written, and let no later night write for that user."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Sequence

import polars as pl

from reviewllm.backfill.compact import PART_BYTES
from reviewllm.backfill.night import (
    GENERATIONS_FOLDER,
    Manifest,
    Night,
    published_files,
    published_nights,
    read_dead_letters,
)
from reviewllm.backfill.publish import republish
from reviewllm.backfill.work import user_hash
from reviewllm.errors import StorageError
from reviewllm.place import Place
from reviewllm.tables import SUPERSEDED

FORGOTTEN = f"{GENERATIONS_FOLDER}/_forgotten.json"


def read_forgotten(data: Place) -> frozenset[str]:
    """sha256 of the ids of the users who were forgotten.

    Raises:
        StorageError: the list is there and cannot be read.
    """
    if not data.exists(FORGOTTEN):
        return frozenset()
    try:
        return frozenset(json.loads(data.read(FORGOTTEN)))
    except ValueError as error:
        raise StorageError(
            f"{data.where}/{FORGOTTEN}: is not JSON ({error}); it lists users who must not come back"
        ) from error


def forget_users(data: Place, users: Sequence[str]) -> dict[datetime.date, int]:
    """Remove users' rows from every published night, its dead letters, what is staged and what is marked superseded.

    The list of who was forgotten, as hashes, is written first, and every part may be repeated: after a crash the same call
    goes on. The files of the users' own purchases (interactions, examples), adapters and reports are not touched.

    Returns:
        the rows removed from each night that had some.

    Raises:
        PublishError, SchemaError: a night cannot be read.
        StorageError: something cannot be written.
    """
    forgotten = read_forgotten(data) | {user_hash(user) for user in users}
    data.write(FORGOTTEN, json.dumps(sorted(forgotten)).encode())
    removed = {}
    for day, manifest in published_nights(data).items():
        rows = _rows_of(data, day, manifest, users)
        if rows:
            republish(
                Night(data, day, manifest.fingerprint), manifest, forgotten, run=uuid.uuid4().hex, part_bytes=PART_BYTES
            )
            removed[day] = rows
    for file in data.files(f"{GENERATIONS_FOLDER}/_superseded"):
        table = pl.DataFrame(data.read_table(file.name, SUPERSEDED))
        kept = table.filter(~pl.col("user_id").is_in(users))
        if kept.height < table.height:
            data.write_table(file.name, kept.to_arrow(), SUPERSEDED)
    data.delete_folder(f"{GENERATIONS_FOLDER}/.staging")  # journals hold texts too; what is lost is written again
    return removed


def _rows_of(data: Place, day: datetime.date, manifest: Manifest, users: Sequence[str]) -> int:
    rows = sum(
        batch.filter(pl.col("user_id").is_in(users)).height
        for file in published_files(data, day, manifest)
        for batch in data.batches(file, ["user_id"])
    )
    letters = pl.DataFrame(read_dead_letters(data, day, manifest))
    return rows + letters.filter(pl.col("user_id").is_in(users)).height
