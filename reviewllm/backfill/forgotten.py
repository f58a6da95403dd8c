"""The users for whom nothing is written any more, known by a hash of their ids alone."""

from __future__ import annotations

import hashlib
import json
import re

import polars as pl

from reviewllm.backfill.night import GENERATIONS_FOLDER
from reviewllm.errors import StorageError
from reviewllm.place import Place

FORGOTTEN = f"{GENERATIONS_FOLDER}/_forgotten.json"
_HASH = re.compile("[0-9a-f]{64}")


def user_hash(user_id: str) -> str:
    """What is kept of a user who was forgotten: sha256 of the id."""
    return hashlib.sha256(user_id.encode()).hexdigest()


def read_forgotten(data: Place) -> frozenset[str]:
    """sha256 of the ids of the users who were forgotten.

    Raises:
        StorageError: the list is there and cannot be read.
    """
    if not data.exists(FORGOTTEN):
        return frozenset()
    try:
        hashes = json.loads(data.read(FORGOTTEN))
    except ValueError as error:
        raise StorageError(
            f"{data.where}/{FORGOTTEN}: is not JSON ({error}); it lists users who must not come back"
        ) from error
    if not isinstance(hashes, list) or not all(isinstance(one, str) and _HASH.fullmatch(one) for one in hashes):
        raise StorageError(
            f"{data.where}/{FORGOTTEN}: is no list of sha256 in hex; it lists users who must not come back: put it right"
        )
    return frozenset(hashes)


def forgotten_users(rows: pl.DataFrame, forgotten: frozenset[str]) -> pl.Series:
    """Those of the rows' user_ids that were forgotten."""
    users = rows["user_id"].unique()
    return users.filter(pl.Series([user_hash(user) in forgotten for user in users.to_list()], dtype=pl.Boolean))


def without_forgotten(rows: pl.DataFrame, forgotten: frozenset[str]) -> pl.DataFrame:
    """The rows of users who were not forgotten."""
    if not forgotten or rows.is_empty():
        return rows
    return rows.filter(~pl.col("user_id").is_in(forgotten_users(rows, forgotten).to_list()))
