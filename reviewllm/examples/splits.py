"""Which split a folder of examples holds: one level too high, or one folder aside, it reads as other examples than were meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reviewllm.errors import InputError, SchemaError
from reviewllm.place import File, Place
from reviewllm.table_files import table_files
from reviewllm.tables import EXAMPLES

_SPLITS = ("train", "simple", "hard", "backfill", "test", "fill")


def example_files(folder: Path, split: str) -> list[Path]:
    """The files of a local folder (or the one file) of examples, all of which are of one split.

    Raises:
        SchemaError: there is none, or one does not fit the table.
        InputError: as `check_split`.
    """
    files = table_files(folder, EXAMPLES)
    root = folder if folder.is_dir() else folder.parent
    check_split(Place(str(root)), [file.relative_to(root).as_posix() for file in files], split, where=str(folder))
    return files


def split_files(examples: Place, split: str) -> list[File]:
    """The files of a place of examples, all of which are of one split; none where there is no file.

    Raises:
        SchemaError: one does not fit the table.
        InputError: as `check_split`.
    """
    files = examples.tables()
    check_split(examples, [file.name for file in files], split, where=examples.where)
    return files


def check_split(examples: Place, files: Sequence[str], split: str, *, where: str) -> None:
    """Refuse examples of which some are of another split than the one that is meant; only the column `split` is read.

    Args:
        files: their names in the place.
        where: what the user named, for the message.

    Raises:
        SchemaError: a file does not fit the table; the message names the folder that was probably meant.
        InputError: rows of another split are there; likewise.
    """
    counts: Counter[str] = Counter()
    try:
        for file in files:
            for batch in examples.batches(file, EXAMPLES, ["split"]):
                counts.update(dict(batch["split"].value_counts().iter_rows()))
    except SchemaError as error:
        meant = _meant(examples, split)
        raise SchemaError(f"{error}; name {meant}") if meant else error from error
    if counts.keys() <= {split}:
        return
    found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    meant = _meant(examples, split) or "the folder of that split, as it was prepared"
    raise InputError(f"{where}: holds examples of other splits than {split}: {found}; name {meant}")


def _meant(examples: Place, split: str) -> str | None:
    """The folder of the split that is below this one or beside it; None where there is no telling."""
    for name in (split, f"examples/{split}"):
        if examples.exists(name):
            return f"{examples.where.rstrip('/')}/{name}"
    parent, _, last = examples.where.rstrip("/").rpartition("/")
    return f"{parent}/{split}" if parent and last in _SPLITS and last != split else None
