"""One night: shards are staged under the run's fingerprint, and published whole.

generations/.staging/<date>-<fingerprint>/shard-00000-<hash>.parquet   finished shards, found by a re-run
generations/dt=2026-11-21/shard-00000-<hash>.parquet, _manifest.json   what readers see: complete nights only
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow.parquet as pq

from reviewllm import __version__
from reviewllm.errors import InputError, PublishError
from reviewllm.sft.adapter import examples_digest
from reviewllm.tables import EXAMPLES, replace_folder, table_files

MANIFEST = "_manifest.json"


class Night(NamedTuple):
    """Where a night's rows are staged and published."""

    out: Path
    day: date
    fingerprint: str

    @property
    def staging(self) -> Path:
        """Hidden from readers; another fingerprint stages elsewhere, so rows are never shared between two."""
        return self.out / ".staging" / f"{self.day.isoformat()}-{self.fingerprint[:16]}"

    @property
    def published(self) -> Path:
        """What readers see."""
        return self.out / f"dt={self.day.isoformat()}"

    def output(self, shard: Path) -> Path:
        """The staged file of a shard: the same name, so a second writer can only replace it by an equal one."""
        return self.staging / shard.name


def missing_shards(night: Night, shards: Sequence[Path]) -> list[Path]:
    """The shards that are not staged yet; a staged file that cannot be read, or is short, counts as missing."""
    return [shard for shard in shards if not _complete(night.output(shard), shard)]


def read_manifest(published: Path) -> dict[str, Any]:
    """The manifest of a published night.

    Raises:
        PublishError: it is missing or unreadable.
    """
    try:
        manifest: dict[str, Any] = json.loads((published / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PublishError(f"{published}: is there but has no readable {MANIFEST}; move it away first") from error
    return manifest


def is_published(night: Night, shards: Sequence[Path]) -> bool:
    """Whether this very run, over these very shards, is published already.

    Raises:
        PublishError: the day is taken by a run of another fingerprint or over other examples.
    """
    if not night.published.exists():
        return False
    manifest = read_manifest(night.published)
    found = manifest.get("fingerprint")
    if found != night.fingerprint:
        raise PublishError(
            f"{night.published} was written by another run (fingerprint {str(found)[:12]}, this one is "
            f"{night.fingerprint[:12]}: another base, adapter, prompt or sampling); choose another --date, or pass "
            "--on-existing replace"
        )
    if manifest.get("examples") != examples_digest(shards):
        raise PublishError(
            f"{night.published} was written from other examples than those given now; choose another --date, or pass "
            "--on-existing replace"
        )
    if not all(_complete(night.published / shard.name, shard) for shard in shards):
        raise PublishError(f"{night.published} is damaged: a shard is missing or cut short; pass --on-existing replace")
    return True


def publish(
    night: Night, shards: Sequence[Path], details: dict[str, Any], *, max_failed_fraction: float = 1.0
) -> dict[str, Any]:
    """Verify the staged night against its examples and rename it into place with a manifest.

    A night that stands there is replaced: whether it may be is for the caller to decide, with `is_published`.

    Args:
        details: what else the manifest says: model, adapter, seconds, ...
        max_failed_fraction: rows that may have failed, 0 to 1.

    Raises:
        PublishError: rows are missing, twice, or not of this night, or too many failed; nothing was published.
    """
    expected = _ids(shards)
    outputs = [night.output(shard) for shard in shards]
    columns = ["example_id", "error", "fingerprint", "prompt_tokens", "completion_tokens"]
    try:
        staged = pl.scan_parquet(outputs, glob=False).select(columns).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise PublishError(
            f"{night.staging}: a staged shard cannot be read: {error}; remove that folder and run again"
        ) from error
    _verify(night, expected, staged)
    _refuse_failed_night(night, staged, max_failed_fraction)
    for stray in set(night.staging.iterdir()) - set(outputs):
        shutil.rmtree(stray) if stray.is_dir() else stray.unlink(missing_ok=True)
    manifest = {
        "date": night.day.isoformat(),
        "fingerprint": night.fingerprint,
        "examples": examples_digest(shards),
        "code_version": __version__,
        "published_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "shards": len(outputs),
        "rows": len(staged),
        "failed": int(staged["error"].is_not_null().sum()),
        "prompt_tokens": int(staged["prompt_tokens"].sum()),
        "completion_tokens": int(staged["completion_tokens"].sum()),
        **details,
    }
    (night.staging / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    try:
        replace_folder(night.staging, night.published)
    except OSError as error:
        raise PublishError(
            f"{night.published}: cannot be put in place: {error}; the rows stay in {night.staging}"
        ) from error
    if not any(night.staging.parent.iterdir()):
        shutil.rmtree(night.staging.parent)
    return manifest


def _refuse_failed_night(night: Night, staged: pl.DataFrame, max_failed_fraction: float) -> None:
    failed = staged.filter(pl.col("error").is_not_null())
    if len(failed) > max_failed_fraction * len(staged):
        (reason, count) = failed["error"].value_counts(sort=True).row(0)
        raise PublishError(
            f"{len(failed)} of {len(staged)} rows failed, more than --max-failed-fraction {max_failed_fraction:g}; {count} of "
            f"them: {reason!r}; nothing was published, the rows are in {night.staging}: mend the cause and remove that folder, "
            "or allow more"
        )


def _complete(output: Path, shard: Path) -> bool:
    try:
        return bool(pq.read_metadata(output).num_rows == pq.read_metadata(shard).num_rows)
    except (OSError, ValueError):  # absent, cut short, or not Parquet (ArrowInvalid is a ValueError)
        return False


def _ids(shards: Sequence[Path]) -> pl.Series:
    if not shards:
        return pl.Series("example_id", [], dtype=pl.String)
    return pl.scan_parquet(list(shards), glob=False).select("example_id").collect()["example_id"]


def _verify(night: Night, expected: pl.Series, staged: pl.DataFrame) -> None:
    """Counts, anti-joins both ways, duplicates and fingerprints."""
    ids = staged["example_id"]
    problems = {
        "missing": int((~expected.is_in(ids.implode())).sum()),
        "unexpected": int((~ids.is_in(expected.implode())).sum()),
        "twice": int(len(ids) - ids.n_unique()),
        "of another run": int((staged["fingerprint"] != night.fingerprint).sum()),
    }
    wrong = ", ".join(f"{count} {what}" for what, count in problems.items() if count)
    if wrong:
        raise PublishError(f"{night.staging}: rows of the night are wrong: {wrong}; remove that folder and run again")


def backfill_shards(examples: Path) -> list[Path]:
    """The shards of backfill examples.

    Raises:
        InputError: every purchase has a review.
        SchemaError: there are no examples.
    """
    if examples.parent.is_dir() and not examples.exists():
        raise InputError(f"{examples}: no purchase lacks a review; prepare with --hide-fraction 0.1 to have some to write")
    return table_files(examples, EXAMPLES)
