"""Finished shards of a night that is not published yet."""

from __future__ import annotations

from collections.abc import Sequence

from reviewllm.backfill.night import Night
from reviewllm.backfill.work import Shard
from reviewllm.errors import SchemaError
from reviewllm.generation.unfinished import is_finished
from reviewllm.tables import GENERATIONS


def staged_shards(
    night: Night, shards: Sequence[Shard], *, any_fingerprint: bool = False, accept_transient: bool = False
) -> dict[str, str]:
    """The shards that are staged: name to staged file, below the night's data. One that cannot be read or is short is not.

    Args:
        any_fingerprint: take those of other runs of the night too.
        accept_transient: take those that have failed rows which another try may mend.
    """
    wanted = {shard.name: shard.rows for shard in shards}
    found: dict[str, str] = {}
    for file in sorted(night.data.files(night.staging_root), key=lambda file: not file.name.startswith(night.staging)):
        folder, _, name = file.name.rpartition("/")
        if name in found or name not in wanted or not (any_fingerprint or folder == night.staging):
            continue
        if is_finished(night.data, file.name, rows=wanted[name], accept_transient=accept_transient):
            found[name] = file.name
    return found


def drop_failed(night: Night) -> None:
    """Remove this run's staged shards that have failed rows: after a night that is refused for them, a re-run writes them anew."""
    for file in night.data.files(night.staging):
        if file.name.endswith(".parquet"):
            try:
                classes = night.data.read_columns(file.name, GENERATIONS, ["error_class"])["error_class"]
            except SchemaError:
                continue
            if classes.null_count < len(classes):
                night.data.delete(file.name)
