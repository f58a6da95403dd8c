"""Find the data files under what the user passed, and tell what their names and first bytes say."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from reviewllm.errors import SourceError
from reviewllm.sources.layouts import SUFFIXES, refuse_within_table, sort_names

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
# So Amazon names a file of reviews by its category; 'All_Amazon_Review' holds all of them.
_CATEGORY_NAME = re.compile(r"(?!All_Amazon_)[A-Z][A-Za-z]*(?:_[A-Za-z]+)*")


@dataclass(frozen=True)
class DataFile:
    """A raw file; `name` is its path relative to the folder that was passed (or the file's own name)."""

    name: str
    path: Path

    @property
    def size_bytes(self) -> int:
        """Size on disk."""
        return self.path.stat().st_size

    @property
    def is_gzip(self) -> bool:
        """Whether the content is gzipped, whatever the name says."""
        return self._starts_with(_GZIP_MAGIC)

    @property
    def is_parquet(self) -> bool:
        """Whether the content is Parquet, whatever the name says."""
        return self._starts_with(_PARQUET_MAGIC)

    @property
    def category(self) -> str | None:
        """The category in a name of Amazon's: 'reviews_Musical_Instruments_5.json.gz' -> 'Musical Instruments'; else None."""
        stem = re.sub(r"(\.(json|jsonl|ndjson|parquet))?(\.gz)?$", "", self.path.name)
        stem = re.sub(r"^reviews_|_5$", "", stem)
        return stem.replace("_", " ") if _CATEGORY_NAME.fullmatch(stem) else None

    def read_head(self, size_bytes: int) -> bytes:
        """The first bytes, unzipped.

        Raises:
            SourceError: the gzip stream is truncated or corrupt.
        """
        try:
            with (gzip.open if self.is_gzip else open)(self.path, "rb") as stream:
                return stream.read(size_bytes)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{self.path}: truncated or corrupt ({error}); fetch the file again") from error

    def _starts_with(self, magic: bytes) -> bool:
        with open(self.path, "rb") as file:
            return file.read(len(magic)) == magic


class Found(NamedTuple):
    """Data files, in the order of their names, and the names of files beside them that are no data."""

    data: list[DataFile]
    others: list[str]


def find_files(paths: Sequence[Path], *, columns: Collection[str] = (), except_below: Sequence[Path] = ()) -> Found:
    """Find the data files at `paths`, folders searched to the bottom, each file once.

    The order is that of the names, so it does not depend on the order of `paths`. Names that start with '.' or '_'
    are not data, nor is what a folder holds below `except_below` (an earlier output). `columns` are those that may be
    read.

    Raises:
        SourceError: a path does not exist, a folder holds no data file, or a file cannot be read or is empty; or the layout
            of a folder means what reading its files would not give (`layouts`).
    """
    data: dict[Path, DataFile] = {}
    others: dict[str, None] = {}
    for path in sorted(set(paths)):
        refuse_within_table(path, columns)
        found = _files_at(path, except_below)
        others.update(dict.fromkeys(found.others))
        for file in found.data:
            data.setdefault(file.path.resolve(), file)
    for file in data.values():
        _check_readable(file)
    return Found(sorted(data.values(), key=lambda file: (file.name, str(file.path))), list(others))


def read_lines(file: Path, *, max_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a file, plain or gzipped, with their line ends; of a line without end its first bytes.

    Raises:
        SourceError: the file cannot be read, or is cut off.
    """
    try:
        with (gzip.open if DataFile(file.name, file).is_gzip else open)(file, "rb") as stream:
            while line := stream.readline(max_bytes + 1):
                yield line
                while len(line) > max_bytes and not line.endswith(b"\n"):  # the rest of a line without end
                    line = stream.readline(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file}: cannot be read: {error}; fetch it again") from error


def _files_at(path: Path, except_below: Sequence[Path]) -> Found:
    if path.is_file():
        return Found([DataFile(path.name, path)], [])
    if not path.is_dir():
        raise SourceError(f"{path}: no such file or folder; check the path")
    outputs = {folder.resolve() for folder in except_below}
    files = (found for found in path.rglob("*") if found.is_file() and outputs.isdisjoint(found.resolve().parents))
    names = sort_names(str(path), [file.relative_to(path).as_posix() for file in files])
    if not names.data:
        raise SourceError(f"{path}: the folder holds no data file; looked for names ending in {', '.join(SUFFIXES)}")
    return Found([DataFile(name, path / name) for name in names.data], names.others)


def _check_readable(file: DataFile) -> None:
    try:
        with open(file.path, "rb") as opened:
            is_empty = not opened.read(1)
    except OSError as error:
        raise SourceError(f"{file.path}: cannot be read ({error.strerror}); check its permissions") from error
    if is_empty:
        raise SourceError(f"{file.path}: the file is empty; remove it or fetch it again")
