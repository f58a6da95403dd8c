"""Folders on a storage path: a local or network folder, or an object store, through pyarrow's file systems.

A folder is put whole: on a file system with rename it is written aside, flushed and renamed. An object store has no
rename, so there the file that lists all the others is written last. Either way a folder without a complete list is
not there: `names` does not show it, and nothing reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from reviewllm.errors import StorageError
from reviewllm.failpoints import reached
from reviewllm.place import Place, upload
from reviewllm.table_files import replace_folder

CONTENTS = "contents.json"  # name -> sha256 of every other file of a folder
RAY_PREFIX = ".ray-"  # of the folders that Ray Train keeps beside ours


class Storage(Place):
    """A folder of folders at a path or URI."""

    def names(self) -> list[str]:
        """The complete folders, sorted.

        Raises:
            StorageError: they cannot be listed or read.
        """
        return [name for name in self.folders() if not name.startswith(".") and self._contents(name) is not None]

    def put(self, folder: Path, name: str) -> None:
        """Put a local folder there whole, as `name`, in place of an earlier one.

        Raises:
            StorageError: it cannot be written, as on a full disk; on a file system what was there before is untouched.
        """
        try:
            contents = {file.name: _sha256(file) for file in sorted(folder.iterdir()) if file.name != CONTENTS}
            (folder / CONTENTS).write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
            if self.local:
                self._put_local(folder, self.local / name)
            else:
                self.remove(name)
                for file in [*contents, CONTENTS]:
                    self._upload(folder / file, f"{self.root}/{name}/{file}")
        except OSError as error:
            raise self._failed(name, "written", error) from error

    def get(self, name: str, folder: Path) -> Path:
        """A local folder with the files of `name`, checked against their list: `folder`, filled here.

        Raises:
            StorageError: a file is missing or is not what was written.
        """
        contents = self._contents(name)
        if contents is None:
            raise StorageError(f"{self.where}/{name}: is not there, or not complete")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, sha256 in contents.items():
                self.download(f"{name}/{file}", folder / file)
                if _sha256(folder / file) != sha256:
                    raise StorageError(
                        f"{self.where}/{name}/{file}: is not what was written (sha256 differs); remove the folder {name}, "
                        "and the run goes on from an earlier one"
                    )
        except OSError as error:  # of the local disk
            raise self._failed(name, "read", error) from error
        return folder

    def remove(self, name: str) -> None:
        """Remove a folder; nothing happens where there is none. Its list goes first, so it is never half there.

        Raises:
            StorageError: it cannot be removed from an object store.
        """
        if self.local:
            aside = self.local / f".{name}.{uuid.uuid4().hex[:8]}.old"
            try:
                os.rename(self.local / name, aside)
            except FileNotFoundError:
                return
            shutil.rmtree(aside, ignore_errors=True)
        elif self.exists(name):
            self.delete(f"{name}/{CONTENTS}")
            self.delete_folder(name)

    def delete_ray_folders(self) -> None:
        """Remove what Ray Train kept for itself, also for drivers that were killed; no run depends on it."""
        with contextlib.suppress(OSError):
            for info in self.filesystem.get_file_info(fs.FileSelector(self.root, allow_not_found=True)):
                if info.type == fs.FileType.Directory and info.base_name.startswith(RAY_PREFIX):
                    self.filesystem.delete_dir(info.path)

    def clear(self) -> None:
        """Remove what interrupted writers left aside."""
        if self.local:
            for left in (*self.local.glob(".*.tmp"), *self.local.glob(".*.old")):
                shutil.rmtree(left, ignore_errors=True)

    def _contents(self, name: str) -> dict[str, Any] | None:
        try:
            contents: dict[str, Any] = json.loads(self.read(f"{name}/{CONTENTS}"))
        except ValueError:
            return None
        except StorageError as error:  # not readable is not the same as not there: a run would begin again from step 0
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        return contents

    def _put_local(self, folder: Path, target: Path) -> None:
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            aside.mkdir(parents=True)
            for file in folder.iterdir():
                shutil.copyfile(file, aside / file.name)
                _flush(aside / file.name)
                reached(f"put {target.name}")
            _flush(aside)
            replace_folder(aside, target)
            _flush(target.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _upload(self, file: Path, target: str) -> None:
        if not file.stat().st_size:  # nothing that could be mapped
            upload(self.filesystem, target, b"")
            return
        with pa.memory_map(str(file)) as source:
            upload(self.filesystem, target, source.read_buffer())


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
