"""Folders are there whole or not at all, on a file system and on a real S3 server."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from pyarrow import fs

from reviewllm.errors import ConfigError, StorageError
from reviewllm.place import below
from reviewllm.sft.storage import CONTENTS, Storage


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    where = str(tmp_path / "storage") if request.param == "folder" else request.getfixturevalue("s3_server")
    return Storage(below(where, request.node.name.replace("[", "-").replace("]", "")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    (made / "a.bin").write_bytes(os.urandom(300_000))
    (made / "b.json").write_text("{}")
    return made


def test_storage_put_get_names_delete(storage: Storage, folder: Path, tmp_path: Path) -> None:
    storage.check_writable()
    assert storage.names() == []
    storage.put(folder, "one")
    storage.put(folder, "two")
    assert storage.names() == ["one", "two"]
    assert storage.read("one/b.json") == b"{}"
    got = storage.get("one", tmp_path / "got")
    assert sorted(file.name for file in got.iterdir()) == ["a.bin", "b.json"]
    assert (got / "a.bin").read_bytes() == (folder / "a.bin").read_bytes()
    (folder / "a.bin").write_bytes(b"other")
    storage.put(folder, "one")  # in place of the earlier one
    assert (storage.get("one", tmp_path / "again") / "a.bin").read_bytes() == b"other"
    storage.remove("one")
    storage.remove("one")
    assert storage.names() == ["two"]


def test_storage_folder_without_its_list_is_not_there(storage: Storage, folder: Path, tmp_path: Path) -> None:
    storage.put(folder, "one")
    storage.filesystem.delete_file(f"{storage.root}/one/{CONTENTS}")
    assert storage.names() == []
    with pytest.raises(StorageError, match="is not there, or not complete"):
        storage.get("one", tmp_path / "got")
    storage.put(folder, "one")
    assert storage.names() == ["one"]


def test_storage_damaged_or_missing_file_is_refused(storage: Storage, folder: Path, tmp_path: Path) -> None:
    storage.put(folder, "one")
    with storage.filesystem.open_output_stream(f"{storage.root}/one/a.bin") as stream:
        stream.write(b"damaged")
    with pytest.raises(StorageError, match=r"one/a\.bin: is not what was written"):
        storage.get("one", tmp_path / "got")
    storage.filesystem.delete_file(f"{storage.root}/one/a.bin")
    with pytest.raises(StorageError, match="cannot be read"):
        storage.get("one", tmp_path / "again")


def test_storage_full_disk_leaves_what_was_there(folder: Path, tmp_path: Path) -> None:
    """No file may grow beyond 100 kB here: the write of the second folder breaks off in the middle, for real."""
    storage = Storage(str(tmp_path / "storage"))
    (folder / "a.bin").write_bytes(b"small")
    storage.put(folder, "one")
    (folder / "a.bin").write_bytes(os.urandom(300_000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"two: cannot be written: .*File too large"):
            storage.put(folder, "two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert storage.names() == ["one"]
    assert [path.name for path in (tmp_path / "storage").iterdir()] == ["one"]  # nothing half written
    assert (storage.get("one", tmp_path / "got") / "a.bin").read_bytes() == b"small"


def test_storage_clear_removes_what_killed_writers_left(folder: Path, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "storage"))
    storage.put(folder, "one")
    (tmp_path / "storage" / ".two.abc.tmp").mkdir()
    storage.clear()
    assert [path.name for path in (tmp_path / "storage").iterdir()] == ["one"]


def test_delete_ray_folders_removes_those_of_killed_drivers_and_nothing_else(storage: Storage, folder: Path) -> None:
    storage.put(folder, "one")
    for name in (".ray-abc", ".ray-def"):
        storage.put(folder, name)
    storage.delete_ray_folders()
    left = storage.filesystem.get_file_info(fs.FileSelector(storage.root))
    assert [info.base_name for info in left] == ["one"]


def test_storage_that_cannot_be_written_is_refused(s3_server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        Storage(str(tmp_path / "file")).check_writable()
    with pytest.raises(ConfigError, match="s3://nosuch/runs: cannot be written"):
        Storage(s3_server.replace("bucket", "nosuch", 1)).check_writable()
    with pytest.raises(ConfigError, match="no storage can be reached there"):
        Storage("ftp://host/folder")


@pytest.mark.parametrize("where", ["s3://key:word@bucket/a", "s3://key:wo/word@bucket/a", "s3://bucket/a?secret_key=word"])
def test_storage_with_credentials_is_refused_without_repeating_them(where: str) -> None:
    with pytest.raises(ConfigError, match="holds credentials") as error:
        Storage(where)
    assert "word" not in str(error.value)


def test_storage_that_cannot_be_read_is_not_taken_for_empty(folder: Path, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "storage"))
    storage.put(folder, "one")
    (tmp_path / "storage" / "one" / CONTENTS).unlink()
    (tmp_path / "storage" / "one" / CONTENTS).mkdir()  # a read error that root meets too
    with pytest.raises(StorageError, match=r"one/contents\.json: cannot be read"):
        storage.names()
