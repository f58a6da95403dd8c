"""Is a night what it should be? Counts, checksums, order, duplicates and strays, from its files alone."""

from __future__ import annotations

import datetime
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from reviewllm.backfill.ids import IdSets, buckets_for, differences, repeated
from reviewllm.backfill.night import (
    MANIFEST,
    SCHEMA_VERSION,
    SUCCESS,
    Manifest,
    PublishedFile,
    published_files,
    published_folder,
    published_nights,
    read_dead_letters,
)
from reviewllm.errors import PublishError, SchemaError, StorageError
from reviewllm.place import Place
from reviewllm.tables import GENERATIONS
from reviewllm.texts import are_blank

_TOKENS = ("prompt_tokens", "completion_tokens")


class Contents(NamedTuple):
    """What the files of a night hold: counts, digests of its ids, and what is wrong with its rows."""

    written: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    fingerprints: dict[str, int]
    written_ids_sha256: str
    failed_ids_sha256: str
    problems: list[str]


def check_rows(
    data: Place,
    files: Iterable[str],
    dead_letters: pa.Table,
    *,
    fingerprints: Iterable[str] | None,
    id_buckets: int,
    about: int,
    expected: Iterable[pl.DataFrame] | None = None,
    elsewhere: Iterable[pl.DataFrame] = (),
) -> Contents:
    """Read all rows of a night and say what is wrong with them.

    Args:
        files: the night's files, in order.
        dead_letters: the night's dead letters.
        fingerprints: those that the rows may have; None: any.
        id_buckets: of the digests.
        about: so many rows, roughly, of this night and elsewhere, so that no bucket is too large.
        expected: example_id of all rows that the night must have; None: not known.
        elsewhere: those of rows that it must not have, as other nights have them.

    Raises:
        SchemaError: a file is damaged.
    """
    problems = []
    with tempfile.TemporaryDirectory(prefix="reviewllm-ids-") as folder:
        sets = IdSets(Path(folder), buckets=id_buckets * -(-buckets_for(about) // id_buckets))
        written = blank = strange = unordered = prompt_tokens = completion_tokens = 0
        found_fingerprints: Counter[str] = Counter()
        allowed = None if fingerprints is None else list(fingerprints)
        last = ""
        columns = ["example_id", "user_id", "review", "error", "fingerprint", "is_generated", *_TOKENS]
        for file in files:
            for rows in data.batches(file, GENERATIONS, columns):
                sets.add("written", rows.select("example_id"))
                written += rows.height
                prompt_tokens += int(rows["prompt_tokens"].sum())
                completion_tokens += int(rows["completion_tokens"].sum())
                found_fingerprints.update(dict(rows["fingerprint"].value_counts().rows()))
                blank += rows.filter(are_blank(pl.col("review")) | pl.col("error").is_not_null()).height
                known = pl.lit(True) if allowed is None else pl.col("fingerprint").is_in(allowed)
                strange += rows.filter(~known | ~pl.col("is_generated")).height
                if rows.height:
                    unordered += (not rows["user_id"].is_sorted()) or rows["user_id"][0] < last
                    last = rows["user_id"][-1]
        failed = pl.DataFrame(dead_letters.select(["example_id"]))
        sets.add("failed", failed)
        for name, rows_of in (("expected", expected or ()), ("elsewhere", elsewhere)):
            for rows in rows_of:
                sets.add(name, rows.select("example_id"))
        found = {
            "blank or failed among the written": blank,
            "of another run": strange,
            "file(s) not sorted by user": unordered,
            **_id_problems(sets, expected=expected is not None),
        }
        problems = [f"{count} {what}" for what, count in found.items() if count]
        digests = [sets.digest(name, buckets=id_buckets) for name in ("written", "failed")]
        return Contents(
            written,
            failed.height,
            prompt_tokens,
            completion_tokens,
            dict(found_fingerprints),
            digests[0],
            digests[1],
            problems,
        )


def _id_problems(sets: IdSets, *, expected: bool) -> dict[str, int]:
    """Duplicates, and anti-joins both ways with what is expected, bucket by bucket."""
    counts = dict.fromkeys(("twice", "written and failed", "published by another night too", "missing", "unexpected"), 0)
    for number in range(sets.buckets):
        written, failed, elsewhere, wanted = (
            sets.ids(name, number) for name in ("written", "failed", "elsewhere", "expected")
        )
        both = pl.concat([written, failed])
        counts["twice"] += repeated(written) + repeated(failed)
        counts["written and failed"] += written.join(failed, on="example_id", how="semi").height
        counts["published by another night too"] += written.join(elsewhere, on="example_id", how="semi").height
        if expected:
            counts["missing"] += differences(wanted, both)
            counts["unexpected"] += differences(both, wanted)
    return counts


def verify_night(data: Place, day: datetime.date) -> Manifest:
    """Recompute all that the manifest of a published night says, from the night's files.

    Checksums, rows, ids, order, fingerprints, blank texts, stray files; and that no other night has one of its purchases.

    Raises:
        PublishError: something differs; the message names each thing.
    """
    nights = published_nights(data)
    if day not in nights:
        known = ", ".join(str(night) for night in [*nights][-3:])
        raise PublishError(
            f"{data.where}/{published_folder(day)}: is not published; the newest nights are: {known or 'none'}"
        )
    manifest = nights[day]
    problems = _file_problems(data, day, manifest)
    if not problems:
        problems = _row_problems(data, day, manifest, nights)
    if problems:
        raise PublishError(f"{data.where}/{published_folder(day)}: is not what was published: {'; '.join(problems)}")
    return manifest


def _file_problems(data: Place, day: datetime.date, manifest: Manifest) -> list[str]:
    folder = published_folder(day)
    problems = []
    if manifest.schema_version != SCHEMA_VERSION:
        problems.append(f"schema version {manifest.schema_version}, this code reads {SCHEMA_VERSION}")
    if manifest.date != day:
        problems.append(f"the manifest is that of {manifest.date}")
    known = {MANIFEST, SUCCESS, *(file.name for file in manifest.files)}
    there = {file.name.removeprefix(f"{folder}/"): file for file in data.files(folder)}
    problems += [f"{name} is missing" for name in sorted(known - set(there))]
    problems += [f"{name} does not belong there" for name in sorted(set(there) - known)]
    for file in manifest.files:
        if file.name in there:
            problems += _problems_of(data, f"{folder}/{file.name}", file)
    letters = manifest.dead_letters
    if letters is not None:
        name = f"dead_letters/dt={day.isoformat()}/{letters.name}"
        problems += _problems_of(data, name, letters) if data.exists(name) else [f"{name} is missing"]
    return problems


def _problems_of(data: Place, name: str, file: PublishedFile) -> list[str]:
    try:
        if data.size(name) != file.bytes:
            return [f"{file.name}: {data.size(name)} bytes, not {file.bytes}"]
        if data.sha256(name) != file.sha256:
            return [f"{file.name}: sha256 differs"]
        rows = data.parquet(name).metadata.num_rows
    except (SchemaError, StorageError) as error:
        return [str(error)]
    return [] if rows == file.rows else [f"{file.name}: {rows} rows, not {file.rows}"]


def _row_problems(data: Place, day: datetime.date, manifest: Manifest, nights: dict[datetime.date, Manifest]) -> list[str]:
    letters = read_dead_letters(data, day, manifest)
    others = (
        batch
        for other, its in nights.items()
        if other != day
        for file in published_files(data, other, its)
        for batch in data.batches(file, GENERATIONS, ["example_id"])
    )
    found = check_rows(
        data,
        published_files(data, day, manifest),
        letters,
        fingerprints=manifest.fingerprints,
        id_buckets=manifest.id_buckets,
        about=sum(its.rows for its in nights.values()),
        elsewhere=others,
    )
    problems = list(found.problems)
    for name in ("written", "failed", *_TOKENS, "fingerprints", "written_ids_sha256", "failed_ids_sha256"):
        if getattr(found, name) != getattr(manifest, name):
            problems.append(f"{name} is {getattr(found, name)}, the manifest says {getattr(manifest, name)}")
    if manifest.written + manifest.failed != manifest.rows:
        problems.append(f"the manifest's {manifest.rows} rows are not {manifest.written} written + {manifest.failed} failed")
    return problems
