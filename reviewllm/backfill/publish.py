"""Staged shards to a published night: compacted, verified, put in place whole."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from reviewllm import __version__
from reviewllm.backfill.budget import budget_message
from reviewllm.backfill.compact import PART_BYTES, Part, compact
from reviewllm.backfill.finish import finish
from reviewllm.backfill.forgotten import without_forgotten
from reviewllm.backfill.ids import buckets_for
from reviewllm.backfill.night import (
    MANIFEST,
    SCHEMA_VERSION,
    SUCCESS,
    Manifest,
    Night,
    PublishedFile,
    published_files,
    read_dead_letters,
    read_manifest,
)
from reviewllm.backfill.verify import Contents, check_rows
from reviewllm.backfill.work import Work, expected_ids
from reviewllm.errors import BudgetError, PublishError, RaceError, SchemaError, StorageError
from reviewllm.failpoints import reached
from reviewllm.place import Place
from reviewllm.sources.identity import ID_RULE
from reviewllm.table_files import replace_folder
from reviewllm.tables import DEAD_LETTERS, GENERATIONS, SUPERSEDED

_COMMIT_TRIES, _COMMIT_PAUSE_S = 10, 5.0


class Publication(NamedTuple):
    """What a night is published from, besides its staged shards.

    `others` are the nights that must not share a purchase with it, `earlier` is the published night that this one adds
    to (None: none), `replaces` whether one that stands there gives way.
    """

    others: dict[datetime.date, Manifest]
    earlier: Manifest | None
    replaces: bool
    max_failed_fraction: float
    fingerprints: frozenset[str] | None  # that its rows may have; None: any
    forgotten: frozenset[str] = frozenset()
    part_bytes: int = PART_BYTES
    before_commit: Callable[[], None] = lambda: None  # raises where the right to publish was lost meanwhile


def publish(
    night: Night, examples: Place, work: Work, staged: Sequence[str], details: dict[str, Any], publication: Publication
) -> Manifest:
    """Compact the staged shards, verify the result against the work, and put it in place in one step.

    Args:
        staged: the staged file of every shard of the work.
        details: model, adapter, seconds, and `ledger`, for the manifest.

    Raises:
        BudgetError: too many rows failed; nothing was published.
        PublishError: rows are missing, twice or of another run; nothing was published.
        RaceError: another run has published the night meanwhile.
        StorageError: something cannot be written; nothing was published.
    """
    data, run = night.data, uuid.uuid4().hex
    folder = f"{night.staging_root}/publish-{run}" if data.local else night.published
    inputs = [*staged, *(published_files(data, night.day, publication.earlier) if publication.earlier else [])]
    with contextlib.ExitStack() as unless_published:
        unless_published.callback(_remove, night, folder, run)
        try:
            parts, failed = compact(
                data, inputs, folder, run=run, part_bytes=publication.part_bytes, forgotten=publication.forgotten
            )
        except SchemaError:
            _remove_damaged(night, staged)
            raise
        letters = _with_earlier(failed, _earlier_letters(night, publication), parts, data, folder)
        reached("verify")
        _refuse_failed_night(night, letters, sum(part.rows for part in parts), publication.max_failed_fraction)
        contents = _check(night, examples, work, parts, folder, letters, publication)
        id_rule = publication.earlier.id_rule if publication.earlier else ID_RULE  # of its oldest rows
        manifest = _manifest(night, parts, folder, contents, letters, {**details, "id_rule": id_rule}, run)
        reached("publish")
        publication.before_commit()
        _keep_if_unsure(data, unless_published)
        replaces = publication.replaces or publication.earlier is not None
        _put_in_place(night, folder, manifest, replaces=replaces, still_held=publication.before_commit)
        unless_published.pop_all()
    return manifest


def _remove_damaged(night: Night, staged: Sequence[str]) -> None:
    """Remove the staged shards that cannot be read to the end, so that a re-run writes them again.

    Raises:
        PublishError: there were some.
    """
    damaged = []
    for name in staged:
        try:
            night.data.read_table(name, GENERATIONS)
        except SchemaError:
            night.data.delete(name)
            damaged.append(name)
    if damaged:
        raise PublishError(
            f"{night.data.where}/{damaged[0]}: was damaged ({len(damaged)} staged shard(s) in all) and has been removed; nothing "
            "was published, run again to write it anew"
        )


def republish(night: Night, manifest: Manifest, forgotten: frozenset[str], *, run: str, part_bytes: int) -> Manifest:
    """Publish a night anew without some users, in place of what stands there.

    Raises:
        PublishError: the night's rows are not what they should be; it is untouched.
        StorageError: something cannot be written; it is untouched.
    """
    data = night.data
    folder = f"{night.staging_root}/publish-{run}" if data.local else night.published
    with contextlib.ExitStack() as unless_published:
        unless_published.callback(_remove, night, folder, run)
        parts, _ = compact(
            data, published_files(data, night.day, manifest), folder, run=run, part_bytes=part_bytes, forgotten=forgotten
        )
        earlier = pl.DataFrame(read_dead_letters(data, night.day, manifest))
        letters = DEAD_LETTERS.check(without_forgotten(earlier, forgotten).to_arrow(), where="dead letters")
        contents = check_rows(
            data,
            [f"{folder}/{part.name}" for part in parts],
            letters,
            fingerprints=manifest.fingerprints,
            id_buckets=buckets_for(sum(part.rows for part in parts)),
            about=manifest.rows,
        )
        if contents.problems:
            raise PublishError(f"{data.where}/{night.published}: rows are wrong: {'; '.join(contents.problems)}")
        details = manifest.model_dump(include={"model", "adapter", "seconds", "ledger", "id_rule"})
        changed = _manifest(night, parts, folder, contents, letters, details, run)
        _keep_if_unsure(data, unless_published)
        _put_in_place(night, folder, changed, replaces=True)
        unless_published.pop_all()
    finish(night, changed, SUPERSEDED.schema.empty_table())
    return changed


def _letters_name(night: Night, run: str) -> str:
    return f"{night.dead_letters}/part-{run[:8]}.parquet"


def _earlier_letters(night: Night, publication: Publication) -> pa.Table:
    letters = read_dead_letters(night.data, night.day, publication.earlier)
    return without_forgotten(pl.DataFrame(letters), publication.forgotten).to_arrow() if letters.num_rows else letters


def _with_earlier(failed: pa.Table, earlier: pa.Table, parts: Sequence[Part], data: Place, folder: str) -> pa.Table:
    """The night's dead letters: those of this run, and the earlier ones that were not run again."""
    if not earlier.num_rows:
        return failed
    now, before = pl.DataFrame(failed), pl.DataFrame(earlier)
    for part in parts:
        for batch in data.batches(f"{folder}/{part.name}", GENERATIONS, ["example_id"]):
            before = before.join(batch, on="example_id", how="anti")
    attempts = before.select("example_id", before="attempts")
    now = now.join(attempts, on="example_id", how="left", maintain_order="left")
    now = now.with_columns(attempts=pl.col("attempts") + pl.col("before").fill_null(0)).drop("before")
    kept = before.join(now, on="example_id", how="anti", maintain_order="left")
    return DEAD_LETTERS.check(pl.concat([now, kept]).sort("user_id", maintain_order=True).to_arrow(), where="dead letters")


def _check(
    night: Night,
    examples: Place,
    work: Work,
    parts: Sequence[Part],
    folder: str,
    letters: pa.Table,
    publication: Publication,
) -> Contents:
    data = night.data

    def expected() -> Iterator[pl.DataFrame]:
        yield from expected_ids(examples, work)
        if publication.earlier:
            for file in published_files(data, night.day, publication.earlier):
                for batch in data.batches(file, GENERATIONS, ["example_id", "user_id"]):
                    yield without_forgotten(batch, publication.forgotten)
            earlier = pl.DataFrame(_earlier_letters(night, publication))
            again = pl.concat([rows.select("example_id") for rows in expected_ids(examples, work)] or [earlier[:0, :1]])
            yield earlier.join(again, on="example_id", how="anti")

    def elsewhere() -> Iterator[pl.DataFrame]:
        for day, manifest in publication.others.items():
            for file in published_files(data, day, manifest):
                yield from data.batches(file, GENERATIONS, ["example_id"])

    allowed = publication.fingerprints
    if allowed is not None and publication.earlier:
        allowed |= publication.earlier.fingerprints.keys()
    contents = check_rows(
        data,
        [f"{folder}/{part.name}" for part in parts],
        letters,
        fingerprints=allowed,
        id_buckets=buckets_for(sum(part.rows for part in parts)),
        about=work.counts.pending + sum(manifest.rows for manifest in publication.others.values()),
        expected=expected(),
        elsewhere=elsewhere(),
    )
    if contents.problems:
        raise PublishError(
            f"{data.where}/{night.staging}: rows of the night are wrong: {'; '.join(contents.problems)}; nothing was "
            "published. Remove that folder and run again"
        )
    return contents


def _refuse_failed_night(night: Night, letters: pa.Table, written: int, max_failed_fraction: float) -> None:
    rows = letters.num_rows + written
    if letters.num_rows > max_failed_fraction * rows:
        raise BudgetError(
            budget_message(letters.num_rows, rows, Counter(letters["error_class"].to_pylist()), max_failed_fraction)
            + f" ({letters['message'][0].as_py()!r}, for one)"
        )


def _manifest(
    night: Night,
    parts: Sequence[Part],
    folder: str,
    contents: Contents,
    letters: pa.Table,
    details: dict[str, Any],
    run: str,
) -> Manifest:
    data = night.data
    dead_letters = None
    if letters.num_rows:
        name = _letters_name(night, run)
        data.write_table(name, letters, DEAD_LETTERS)
        dead_letters = _file(data, name, letters.num_rows)
    return Manifest(
        date=night.day,
        schema_version=SCHEMA_VERSION,
        fingerprint=night.fingerprint,
        fingerprints=contents.fingerprints,
        code_version=__version__,
        published_at=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
        rows=contents.written + contents.failed,
        written=contents.written,
        failed=contents.failed,
        prompt_tokens=contents.prompt_tokens,
        completion_tokens=contents.completion_tokens,
        id_buckets=buckets_for(contents.written),
        written_ids_sha256=contents.written_ids_sha256,
        failed_ids_sha256=contents.failed_ids_sha256,
        dead_letters=dead_letters,
        files=[_file(data, f"{folder}/{part.name}", part.rows) for part in parts],
        **details,
    )


def _file(data: Place, name: str, rows: int) -> PublishedFile:
    return PublishedFile(name=name.rpartition("/")[2], rows=rows, bytes=data.size(name), sha256=data.sha256(name))


def _keep_if_unsure(data: Place, unless_published: contextlib.ExitStack) -> None:
    """From here on a store may show the manifest even after its write has failed here, so its files must stay.

    Where it does not, the night's next publication removes them.
    """
    if data.local is None:
        unless_published.pop_all()


def _put_in_place(
    night: Night, folder: str, manifest: Manifest, *, replaces: bool, still_held: Callable[[], None] = lambda: None
) -> None:
    data = night.data
    text = (manifest.model_dump_json(indent=1) + "\n").encode()
    if data.local is None:
        _commit(data, f"{folder}/{MANIFEST}", text, still_held)
        return
    data.write(f"{folder}/{MANIFEST}", text)
    data.write(f"{folder}/{SUCCESS}", b"")
    target = data.local / night.published
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if replaces:
            replace_folder(data.local / folder, target)
        else:
            os.rename(data.local / folder, target)
    except OSError as error:
        if target.exists() and not replaces:
            raise RaceError(f"{data.where}/{night.published}: another run has published this night meanwhile") from error
        raise StorageError(f"{data.where}/{night.published}: cannot be put in place: {error}") from error


def _commit(data: Place, name: str, manifest: bytes, still_held: Callable[[], None]) -> None:
    """Write the manifest to an object store: files that none names are not there. Each try ends while the lease lasts."""
    for left in reversed(range(_COMMIT_TRIES)):
        try:
            data.hasty.write(name, manifest)
        except StorageError:
            if not left:
                raise
            time.sleep(_COMMIT_PAUSE_S)
            still_held()
        else:
            return


def _remove(night: Night, folder: str, run: str) -> None:
    """Remove what a publication that failed has written; nothing where it was committed, or where that cannot be known."""
    data = night.data
    try:
        manifest = read_manifest(data, night.day)
    except (PublishError, StorageError):
        return
    if manifest is not None and any(run[:8] in file.name for file in manifest.files):
        return
    if data.local:
        shutil.rmtree(data.local / folder, ignore_errors=True)
    with contextlib.suppress(StorageError):  # what is left no manifest names; the next publication removes it
        for file in [*data.files(folder), *data.files(night.dead_letters)]:
            if file.name.endswith(f"-{run[:8]}.parquet"):
                data.delete(file.name)
