"""Files below a path or URI: a local or network folder, S3 or GCS, through pyarrow's file systems.

A file is there whole or not at all: on a file system it is written aside, flushed and renamed; an object store shows an
object only when all of it has been sent (`upload`). docs/storage.md has what is asked of a store.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from reviewllm.errors import ConfigError, SchemaError, StorageError
from reviewllm.failpoints import reached
from reviewllm.s3 import S3, explain, is_refusal, patiently, root_of
from reviewllm.tables import Table

_SENT_AT_ONCE = 64 << 20  # bytes
_FETCHED_AT_ONCE = 8 << 20


def below(where: str, name: str) -> str:
    """Path or URI of a folder below another; the options of a URI stay at its end.

    >>> below("s3://bucket/runs?region=eu-west-1", "für 100%")
    's3://bucket/runs/f%C3%BCr%20100%25?region=eu-west-1'
    >>> below("out/what?", "für 100%")
    'out/what?/für 100%'
    """
    path, options = options_apart(where)
    return f"{path.rstrip('/')}/{quote(name, safe='/=') if is_uri(where) else name}{options}"


def options_apart(where: str) -> tuple[str, str]:
    """A path or URI without options, and its options with their `?`: only a URI has any.

    >>> options_apart("s3://bucket/runs?region=eu-west-1"), options_apart("out/what?")
    (('s3://bucket/runs', '?region=eu-west-1'), ('out/what?', ''))
    """
    path, mark, options = where.partition("?") if is_uri(where) else (where, "", "")
    return path, mark + options


def is_uri(where: object) -> bool:
    """Whether this is a URI, and no local path.

    >>> is_uri("s3://bucket/a"), is_uri("out/run")
    (True, False)
    """
    return "://" in str(where)


def _check_uri(name: str, options: str) -> None:
    """Refuse what file systems drop from a URI without a word.

    Raises:
        ValueError: what is wrong.
    """
    if "#" in name + options:
        raise ValueError("what follows a # is no part of a path; write the sign as %23")
    if name.startswith("file:") and options:
        raise ValueError("what follows a ? is no part of a path; write the sign as %3F")


def upload(filesystem: Any, path: str, content: Any) -> None:
    """Write an object of bytes or an Arrow buffer, whole or not at all.

    pyarrow can abandon no upload: a stream that is closed or collected completes it with what it has. An exception between
    opening and closing (Ctrl-C, SIGTERM) would so put a half or an empty object in an earlier one's place; in a thread of its
    own none is raised there, and the one that waits learns of it when the object is whole.

    Raises:
        OSError: it cannot be written. An earlier object is untouched; parts that were sent stay, unseen, until the bucket's
            lifecycle rule removes them.
    """
    buffer = pa.py_buffer(content)
    if isinstance(filesystem, S3):
        filesystem = filesystem.for_size(buffer.size)

    def write() -> None:
        with filesystem.open_output_stream(path, compression=None) as stream:
            for start in range(0, buffer.size, _SENT_AT_ONCE):
                stream.write(buffer.slice(start, min(_SENT_AT_ONCE, buffer.size - start)))
                stream.flush()  # else all of it would wait in memory to be sent

    with ThreadPoolExecutor(1) as thread:
        thread.submit(write).result()


class File(NamedTuple):
    """A file below a place: its name there, its size in bytes, and when it was last written, in ns since 1970."""

    name: str
    size: int
    mtime_ns: int


class Place:
    """A folder at a path or URI; names of files and folders in it use `/`."""

    def __init__(self, where: str, *, flag: str = "--storage-path", hasty: bool = False) -> None:
        """Take a path, or a URI that pyarrow knows: s3://bucket/prefix?region=...; credentials come from the environment.

        Args:
            flag: the option that named it, for messages.
            hasty: give up a request within `s3.PATIENCE_HASTY_S`, not within minutes.

        Raises:
            ConfigError: it is no such thing, or it holds a password.
        """
        name, options = options_apart(where)
        if is_uri(where) and ("@" in where or "secret" in options.lower()):
            raise ConfigError(
                f"{flag}: holds credentials, which would end in logs and files; give them by environment variables "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or by the machine's role"
            )
        self.flag = flag
        self.where = name
        self.uri = where if is_uri(where) else str(Path(where).resolve())
        self.root: str
        try:
            if is_uri(where):
                _check_uri(name, options)
            if where.startswith("s3://"):
                self.root = root_of(where)
                self.filesystem = S3(where, hasty=hasty)
            elif is_uri(where):
                self.filesystem, self.root = fs.FileSystem.from_uri(where)
            else:
                self.filesystem, self.root = fs.LocalFileSystem(), self.uri
        except (OSError, ValueError) as error:
            raise ConfigError(f"{flag} {self.where}: no storage can be reached there: {explain(error)}") from error
        self.local = Path(self.root) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    @functools.cached_property
    def hasty(self) -> Place:
        """The same place, for requests that must have come to an end within `s3.PATIENCE_HASTY_S`."""
        return self if self.local else Place(self.uri, flag=self.flag, hasty=True)

    def check_writable(self) -> None:
        """Write, read and remove a small file.

        Raises:
            ConfigError: that does not work.
        """
        name = f".probe-{uuid.uuid4().hex[:8]}"
        try:
            if self.local:
                self.filesystem.create_dir(self.root, recursive=True)
            elif "allow_bucket_creation" in self.uri:
                self.filesystem.create_dir(self.root.partition("/")[0])
            upload(self.filesystem, f"{self.root}/{name}", b"reviewllm")
            if self.read(name) != b"reviewllm":
                raise OSError("what was written is not what is read; see docs/storage.md about checksums")
            self.delete(name)
        except (OSError, StorageError) as error:
            raise ConfigError(
                f"{self.flag} {self.where}: cannot be written: {explain(error)}; name a folder or bucket that this job may write"
            ) from error

    def files(self, folder: str = "") -> list[File]:
        """All files below a folder (none where there is no such folder), sorted by name.

        Raises:
            StorageError: it cannot be listed.
        """
        selector = fs.FileSelector(self._path(folder), allow_not_found=True, recursive=True)
        try:
            found = self.filesystem.get_file_info(selector)
        except OSError as error:
            raise self._failed(folder, "listed", error) from error
        return sorted(
            File(info.path[len(self.root) :].lstrip("/"), info.size or 0, info.mtime_ns or 0)
            for info in found
            if info.type == fs.FileType.File
        )

    def tables(self) -> list[File]:
        """The Parquet files, sorted by name; names that start with '.' or '_', and what is in such folders, are not data.

        Raises:
            StorageError: they cannot be listed.
        """
        return [
            file
            for file in self.files()
            if file.name.endswith(".parquet") and not any(part.startswith((".", "_")) for part in file.name.split("/"))
        ]

    def folders(self, folder: str = "") -> list[str]:
        """The names of a folder's own folders, sorted.

        Raises:
            StorageError: it cannot be listed.
        """
        try:
            found = self.filesystem.get_file_info(fs.FileSelector(self._path(folder), allow_not_found=True))
        except OSError as error:
            raise self._failed(folder, "listed", error) from error
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def exists(self, name: str) -> bool:
        """Whether a file or folder of this name is there.

        Raises:
            StorageError: that cannot be known.
        """
        return bool(self._info(name).type != fs.FileType.NotFound)

    def size(self, name: str) -> int:
        """Bytes of a file; 0 where there is none.

        Raises:
            StorageError: that cannot be known.
        """
        return self._info(name).size or 0

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            StorageError: it is not there, or cannot be read.
        """
        try:
            with self.filesystem.open_input_file(self._path(name)) as file:
                # without a size: a request for each 256 kB
                return patiently(lambda: file.read_at(file.size(), 0))  # type: ignore[no-any-return]
        except OSError as error:
            raise self._failed(name, "read", error) from error

    def write(self, name: str, content: Any) -> None:
        """Write a file whole, in place of an earlier one; `content` is bytes or an Arrow buffer.

        Raises:
            StorageError: it cannot be written, as on a full disk; an earlier one is untouched.
        """
        path = self._path(name)
        try:
            reached(f"write {name}")
            if self.local is None:
                upload(self.filesystem, path, content)
                return
            aside = Path(path).with_name(f".{Path(path).name}.{uuid.uuid4().hex[:8]}.tmp")
            aside.parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(aside, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(aside, path)
            finally:
                aside.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(name, "written", error) from error

    def write_table(self, name: str, table: pa.Table, kind: Table) -> None:
        """Check a table and write it as one Parquet file, in row groups of 65,536 rows.

        Raises:
            SchemaError: the rows do not fit the table.
            StorageError: it cannot be written.
        """
        sink = pa.BufferOutputStream()
        pq.write_table(kind.check(table, where=f"{self.where}/{name}"), sink, compression="zstd", row_group_size=1 << 16)
        self.write(name, sink.getvalue())

    def parquet(self, name: str) -> pq.ParquetFile:
        """Open a Parquet file; only its footer is read.

        Raises:
            SchemaError: there is none, or it is no Parquet file.
            StorageError: the store does not give it.
        """
        try:
            file = self.filesystem.open_input_file(self._path(name))
            # without pre_buffer: a request for each column of a row group
            return patiently(lambda: pq.ParquetFile(file, pre_buffer=self.local is None))
        except (pa.ArrowException, OSError, ValueError) as error:
            self._raise_refusal(name, error)
            raise SchemaError(
                f"{self.where}/{name}: not a readable Parquet file ({error}); make it anew or remove it"
            ) from error

    def read_table(self, name: str, kind: Table) -> pa.Table:
        """Read one Parquet file whole, checked.

        Raises:
            SchemaError: it is not there, is damaged, or does not fit the table.
        """
        file = self.parquet(name)
        with self._damaged(name):
            table = patiently(file.read)
            table.validate(full=True)
        return kind.check(table, where=f"{self.where}/{name}")

    def read_columns(self, name: str, kind: Table, columns: Sequence[str]) -> pa.Table:
        """Some columns of a Parquet file, checked.

        Raises:
            SchemaError: it is damaged, or they do not fit the table.
        """
        return pa.concat_tables(self._row_groups(name, kind, columns))

    def batches(self, name: str, kind: Table, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns of a Parquet file, checked, a row group at a time.

        Raises:
            SchemaError: it is damaged, or they do not fit the table.
        """
        return (pl.DataFrame(group) for group in self._row_groups(name, kind, columns) if group.num_rows)

    def _row_groups(self, name: str, kind: Table, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The row groups, and first an empty one, which tells of the columns also where there are no rows."""
        file = self.parquet(name)
        wanted, where = kind.only(columns), f"{self.where}/{name}"
        yield wanted.check(file.schema_arrow.empty_table(), where=where)
        for number in range(file.num_row_groups):
            read = functools.partial(file.read_row_group, number, columns=list(columns))
            with self._damaged(name):
                group = patiently(read)
                group.validate(full=True)
            yield wanted.check(group, where=where)

    @contextlib.contextmanager
    def _damaged(self, name: str) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError) as error:
            self._raise_refusal(name, error)
            raise SchemaError(f"{self.where}/{name}: damaged ({error}); make it anew or remove it") from error

    def sha256(self, name: str) -> str:
        """Of a file's bytes, in hex.

        Raises:
            StorageError: it cannot be read.
        """
        digest = hashlib.sha256()
        try:
            for chunk in self._chunks(name):
                digest.update(chunk)
        except OSError as error:
            raise self._failed(name, "read", error) from error
        return digest.hexdigest()

    def tail(self, name: str, size: int) -> bytes:
        """The last `size` bytes of a file (all of a shorter one).

        Raises:
            StorageError: it cannot be read.
        """
        try:
            with self.filesystem.open_input_file(self._path(name)) as file:
                start = max(0, file.size() - size)
                return patiently(lambda: file.read_at(file.size() - start, start))  # type: ignore[no-any-return]
        except OSError as error:
            raise self._failed(name, "read", error) from error

    def download(self, name: str, target: Path) -> None:
        """Copy a file, of any size, to a local one.

        Raises:
            StorageError: it cannot be read, or not be written there.
        """
        try:
            with open(target, "wb") as copy:
                for chunk in self._chunks(name):
                    copy.write(chunk)
        except OSError as error:
            raise self._failed(name, "read", error) from error

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none.

        Raises:
            StorageError: it cannot be removed.
        """
        try:
            with contextlib.suppress(FileNotFoundError):
                self.filesystem.delete_file(self._path(name))
        except OSError as error:
            raise self._failed(name, "removed", error) from error

    def delete_folder(self, name: str) -> None:
        """Remove a folder and all in it; nothing happens where there is none.

        Raises:
            StorageError: it cannot be removed from an object store.
        """
        if self.local is not None:
            shutil.rmtree(self.local / name, ignore_errors=True)
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                self.filesystem.delete_dir(self._path(name))
        except OSError as error:
            raise self._failed(name, "removed", error) from error

    def _chunks(self, name: str) -> Iterator[bytes]:
        with self.filesystem.open_input_file(self._path(name)) as file:
            for start in range(0, file.size(), _FETCHED_AT_ONCE):
                yield patiently(functools.partial(file.read_at, min(_FETCHED_AT_ONCE, file.size() - start), start))

    def _info(self, name: str) -> Any:
        try:
            return self.filesystem.get_file_info(self._path(name))
        except OSError as error:
            raise self._failed(name, "read", error) from error

    def _raise_refusal(self, name: str, error: Exception) -> None:
        """A file that the store does not give now is not damaged: who takes it for damaged removes it."""
        if is_refusal(error):
            raise self._failed(name, "read", error) from error

    def _failed(self, name: str, what: str, error: Exception) -> StorageError:
        return StorageError(f"{self.where}/{name}: cannot be {what}: {explain(error)}")

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root
