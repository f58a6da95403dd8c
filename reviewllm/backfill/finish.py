"""What follows a publication, and what a killed run left: ledger, marks, removal of what no manifest names."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil

import pyarrow as pa

from reviewllm.backfill.night import GENERATIONS_FOLDER, MANIFEST, SUCCESS, Manifest, Night, published_files
from reviewllm.failpoints import reached
from reviewllm.place import Place
from reviewllm.tables import LEDGER, SUPERSEDED

_PART = re.compile(r"/part-[^/]*\.parquet$")
_ASIDE = re.compile(r"\.(dt=\d{4}-\d{2}-\d{2})\.[0-9a-f]{8}\.old")


def finish(night: Night, manifest: Manifest, superseded: pa.Table) -> None:
    """What follows a publication, and may be repeated: marks what is superseded, writes the ledger, removes what is left over.

    Raises:
        StorageError: something cannot be written.
    """
    data = night.data
    reached("finish")
    if not data.exists(f"{night.published}/{SUCCESS}"):  # of an object store, where it follows the manifest
        data.write(f"{night.published}/{SUCCESS}", b"")
    if superseded.num_rows:
        there = data.exists(night.superseded)
        earlier = data.read_table(night.superseded, SUPERSEDED) if there else SUPERSEDED.schema.empty_table()
        data.write_table(night.superseded, pa.concat_tables([earlier, superseded]), SUPERSEDED)
    row = {
        "night": manifest.date,
        "fingerprint": manifest.fingerprint,
        "model": manifest.model,
        "adapter": manifest.adapter,
        "published_at": manifest.published_at,
        "rows": manifest.rows,
        "dead_letters": manifest.failed,
        "prompt_tokens": manifest.prompt_tokens,
        "completion_tokens": manifest.completion_tokens,
        **manifest.ledger,
    }
    data.write_table(f"{night.ledger}.parquet", pa.Table.from_pylist([row], schema=LEDGER.schema), LEDGER)
    data.write(f"{night.ledger}.json", (json.dumps(row, default=str) + "\n").encode())
    _clean(night, manifest)


def _clean(night: Night, manifest: Manifest) -> None:
    data = night.data
    data.delete_folder(night.staging_root)
    if data.local:
        with contextlib.suppress(OSError):
            (data.local / night.staging_root).parent.rmdir()  # where no other night is under way
    named = {*published_files(data, night.day, manifest), *(f"{night.published}/{name}" for name in (MANIFEST, SUCCESS))}
    if manifest.dead_letters:
        named.add(f"{night.dead_letters}/{manifest.dead_letters.name}")
    for file in [*data.files(night.published), *data.files(night.dead_letters)]:
        if file.name not in named and _PART.search(file.name):
            data.delete(file.name)
    if not manifest.dead_letters:
        data.delete_folder(night.dead_letters)


def recover(data: Place, *, day: datetime.date | None = None) -> None:
    """Put right what a killed run left between two renames, and remove what it and writers of lost clusters left.

    To be called by the run that holds the lock. A night that was being replaced is there again as it was; what is staged
    stays for nights that are not published, and for `day`.
    """
    for folder in data.folders(f"{GENERATIONS_FOLDER}/.staging"):
        kept = day is not None and folder == day.isoformat()
        if not kept and data.exists(f"{GENERATIONS_FOLDER}/dt={folder}/{MANIFEST}"):
            data.delete_folder(f"{GENERATIONS_FOLDER}/.staging/{folder}")
    if data.local is None:
        return
    root = data.local / GENERATIONS_FOLDER
    for aside in root.glob(".dt=*.old"):
        night = _ASIDE.fullmatch(aside.name)
        if night is None:
            continue
        target = root / night[1]
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(aside, target)
    for left in [
        *root.rglob(".*.tmp"),
        *(data.local / "dead_letters").rglob(".*.tmp"),
        *(data.local / "ledger").glob(".*.tmp"),
    ]:
        left.unlink(missing_ok=True)
    for folder in data.folders(f"{GENERATIONS_FOLDER}/.staging"):
        for name in data.folders(f"{GENERATIONS_FOLDER}/.staging/{folder}"):
            if name.startswith("publish-"):
                data.delete_folder(f"{GENERATIONS_FOLDER}/.staging/{folder}/{name}")
