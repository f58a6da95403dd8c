"""Raw files -> the tables interactions, items and rejected."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reviewllm.errors import ConfigError, RejectedBudgetError, SourceError
from reviewllm.sources.counts import IngestCounts, TableCounts, Tally
from reviewllm.sources.json_lines import CHUNK_BYTES
from reviewllm.sources.parts import Parts, replace_folder
from reviewllm.sources.pipeline import Pipeline
from reviewllm.sources.plan import Plan, Source, make_plan
from reviewllm.tables import INTERACTIONS, ITEMS, REJECTED

_NO_NAMES: Mapping[str, str] = {}


def ingest(
    *,
    reviews: Sequence[Path],
    items: Sequence[Path],
    out: Path,
    max_rejected_fraction: float = 0.01,
    column_names: Mapping[str, str] = _NO_NAMES,
    rows_per_part: int = 500_000,
    chunk_bytes: int = CHUNK_BYTES,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> IngestCounts:
    """Read raw files and write `out/interactions`, `out/items` and `out/rejected`.

    The formats are those of `formats`, told apart by the files' fields. The tables are written aside and replace
    earlier ones whole, so a run that fails leaves the earlier output as it was, and a run that is killed leaves at
    most a hidden folder `.ingest-*` behind, which may be removed. The same files give the same bytes, whatever the
    order of the paths: a file whose name comes later is the newer one. Memory holds about `rows_per_part` rows.

    Args:
        reviews: files, or folders searched to the bottom, of reviews and purchases. Item files among them are the
            items where `items` is empty, and are passed over where it is not.
        items: likewise, of metadata; may be empty.
        out: the folder that receives the tables.
        max_rejected_fraction: of the rows of either table, how many may be unusable, 0 to 1.
        column_names: {our name: their name} for the tables of a firm whose columns are named otherwise.
        rows_per_part: rows of one Parquet file, about.
        chunk_bytes: bytes of JSON parsed at once.
        on_progress: told (file name, bytes read of all files, bytes of all files) after every chunk.

    Returns:
        Rows in, written, rejected, dropped as repeats and as another state of their purchase, for either table, and what is to
        be said of the files.

    Raises:
        ConfigError: an argument is out of range, or `column_names` names a column that does not exist.
        SourceError: a path is missing, or a file is empty, truncated, corrupt or of no known format, or the layout of a
            folder or a column of a file means what reading it would not give.
        RejectedBudgetError: too many rows were rejected; only `out/rejected` was written.
    """
    _check_arguments(out, max_rejected_fraction, rows_per_part, chunk_bytes)
    targets = [out / table.name for table in (INTERACTIONS, ITEMS, REJECTED)]
    plan = make_plan(reviews, items, column_names=column_names, except_below=targets)
    staging = out / f".ingest-{uuid.uuid4().hex[:8]}"
    staging.mkdir(parents=True)
    try:
        rejected = Parts(staging / REJECTED.name, REJECTED, rows_per_part=rows_per_part)
        pipeline = Pipeline(staging, rejected, rows_per_part, chunk_bytes, _progress(plan, on_progress))
        tallies = {"interactions": pipeline.write_interactions(plan.interactions), "items": pipeline.write_items(plan.items)}
        rejected.close()
        named = frozenset(source.category for source in plan.interactions)
        counts = IngestCounts(tallies["interactions"].freeze(), tallies["items"].freeze(), plan.notes, named)
        if not counts.interactions.rows_in:
            raise SourceError(f"{', '.join(map(str, reviews))}: the files hold no row")
        complaints = [_complain(name, tally, max_rejected_fraction) for name, tally in tallies.items()]
        for target in targets if not any(complaints) else [out / REJECTED.name]:
            replace_folder(staging / target.name, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    if any(complaints):
        raise RejectedBudgetError(
            f"{'; '.join(filter(None, complaints))}; all are listed in {out / REJECTED.name}, and nothing else was "
            f"written; mend the input or allow more with --max-rejected-fraction"
        )
    return counts


def _check_arguments(out: Path, max_rejected_fraction: float, rows_per_part: int, chunk_bytes: int) -> None:
    if not 0 <= max_rejected_fraction <= 1:
        raise ConfigError(f"max_rejected_fraction is {max_rejected_fraction}; it must lie between 0 and 1")
    for name, value in (("rows_per_part", rows_per_part), ("chunk_bytes", chunk_bytes)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"out is {out}, which is a file; name a folder")


def _progress(plan: Plan, on_progress: Callable[[str, int, int], None] | None) -> Callable[[Source, int], None]:
    """Turn bytes read of one file into bytes read of all."""
    total, finished = plan.size_bytes, 0
    before: dict[Path, int] = {}
    for source in (*plan.interactions, *plan.items):
        before[source.file.path] = finished
        finished += source.file.size_bytes

    def on_chunk(source: Source, bytes_done: int) -> None:
        if on_progress:
            on_progress(source.file.name, before[source.file.path] + bytes_done, total)

    return on_chunk


def _complain(name: str, tally: Tally, max_rejected_fraction: float) -> str:
    """Say what went over the budget; empty where nothing did."""
    counts: TableCounts = tally.freeze()
    if counts.rejected <= max_rejected_fraction * counts.rows_in:
        return ""
    commonest = ", ".join(f"{reason} ({count:,})" for reason, count in list(counts.reasons.items())[:3])
    return (
        f"{name}: {counts.rejected:,} of {counts.rows_in:,} rows were rejected "
        f"({counts.rejected / counts.rows_in:.2%}), more than the {max_rejected_fraction:.2%} allowed; commonest: "
        f"{commonest}; the first is {tally.first_rejected}"
    )
