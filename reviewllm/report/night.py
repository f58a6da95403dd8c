"""The newest published night of a backfill, as its manifest and its rows tell it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from reviewllm.files import read_json
from reviewllm.report.content import Backfill, GeneratedReview
from reviewllm.table_files import read_table, table_files
from reviewllm.tables import GENERATIONS

SHOWN = 4
MANIFEST = "_manifest.json"


class _Manifest(BaseModel):
    rows: int
    failed: int
    fingerprint: str
    model: str
    adapter: str | None = None
    prompt_tokens: int
    completion_tokens: int
    seconds: float


_MANIFEST = TypeAdapter(_Manifest)


def newest_night(out: Path) -> Backfill | None:
    """Read the newest `generations/dt=YYYY-MM-DD/` that has a manifest: one without is not published. None: no night is.

    Opens only as many files of the night as it takes to find a few reviews to show.

    Raises:
        SchemaError: the manifest or a file cannot be read, or the manifest counts rows and there is no file.
    """
    published = sorted(path.parent for path in out.glob(f"generations/dt=*/{MANIFEST}"))
    if not published:
        return None
    night = published[-1]
    manifest = read_json(night / MANIFEST, _MANIFEST)
    return Backfill(
        folder=night.relative_to(out).as_posix(),
        samples=_samples(night) if manifest.rows else (),
        **manifest.model_dump(),
    )


def _samples(night: Path) -> tuple[GeneratedReview, ...]:
    found: list[GeneratedReview] = []
    for file in table_files(night, GENERATIONS):
        rows = read_table([file], GENERATIONS).select(list(GeneratedReview.model_fields)).to_pylist()
        found.extend(GeneratedReview(**row) for row in rows if row["review"] is not None)
        if len(found) >= SHOWN:
            break
    return tuple(found[:SHOWN])
