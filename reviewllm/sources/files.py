"""Find the data files under what the user passed, and tell what their names and first bytes say."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reviewllm.errors import SourceError

# In a folder only these are data; a file that is named itself may be called anything.
SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz", ".parquet")
_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"


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
    def category(self) -> str:
        """The category that the file's name gives: 'reviews_Musical_Instruments_5.json.gz' -> 'Musical Instruments'."""
        stem = re.sub(r"(\.(json|jsonl|ndjson|parquet))?(\.gz)?$", "", self.path.name)
        stem = re.sub(r"^reviews_|_5$", "", stem)
        return " ".join(stem.replace("_", " ").split()) or "unknown"

    def _starts_with(self, magic: bytes) -> bool:
        with open(self.path, "rb") as file:
            return file.read(len(magic)) == magic


def find_files(paths: Sequence[Path], *, except_below: Sequence[Path] = ()) -> list[DataFile]:
    """List the data files at `paths`, folders searched to the bottom, each file once.

    The order is that of the names, so it does not depend on the order of `paths`. Names that start with '.' or '_'
    are not data, nor is what a folder holds below `except_below` (an earlier output).

    Raises:
        SourceError: a path does not exist, a folder holds no data file, or a file cannot be read or is empty.
    """
    found: dict[Path, DataFile] = {}
    for path in sorted(set(paths)):
        for file in _files_at(path, except_below):
            found.setdefault(file.path.resolve(), file)
    for file in found.values():
        _check_readable(file)
    return sorted(found.values(), key=lambda file: (file.name, str(file.path)))


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


def _files_at(path: Path, except_below: Sequence[Path]) -> list[DataFile]:
    if path.is_file():
        return [DataFile(path.name, path)]
    if not path.is_dir():
        raise SourceError(f"{path}: no such file or folder; check the path")
    outputs = {folder.resolve() for folder in except_below}
    files = [
        DataFile(found.relative_to(path).as_posix(), found)
        for found in path.rglob("*")
        if _is_data(found.relative_to(path)) and found.is_file() and outputs.isdisjoint(found.resolve().parents)
    ]
    if not files:
        raise SourceError(f"{path}: the folder holds no data file; looked for names ending in {', '.join(SUFFIXES)}")
    return files


def _is_data(relative: Path) -> bool:
    return relative.name.lower().endswith(SUFFIXES) and not any(part.startswith((".", "_")) for part in relative.parts)


def _check_readable(file: DataFile) -> None:
    try:
        with open(file.path, "rb") as opened:
            is_empty = not opened.read(1)
    except OSError as error:
        raise SourceError(f"{file.path}: cannot be read ({error.strerror}); check its permissions") from error
    if is_empty:
        raise SourceError(f"{file.path}: the file is empty; remove it or fetch it again")
