"""Local copies of inputs that lie in an object store, for readers that want paths: raw files, training examples, adapters."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from reviewllm.errors import InputError, StorageError
from reviewllm.place import Place, is_uri, options_apart
from reviewllm.sft.storage import CONTENTS, Storage
from reviewllm.table_files import replace_folder

Check = Callable[[str, Sequence[str]], object]


@contextmanager
def local_copies(
    given: Sequence[str | Path], *, flag: str, near: Path, check: Check = lambda where, names: None
) -> Iterator[list[Path]]:
    """Paths of what was named: local ones as they are, and copies of what URIs name, which are removed in the end.

    A URI names an object or a prefix; of a prefix all objects are copied, with their names. A copy lies below folders of the
    names in its URI. The copies need as much disk below `near` as the objects are large.

    Args:
        check: called with a prefix and the names below it before the first is copied; may raise.

    Raises:
        ConfigError: a URI is none.
        InputError: nothing is at one.
        StorageError: something cannot be read.
    """
    if not any(map(is_uri, given)):
        yield [Path(one) for one in given]
        return
    near.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=near) as folder:
        yield [
            _copy(str(one), Path(folder) / f"{number:04d}", flag, check) if is_uri(one) else Path(one)
            for number, one in enumerate(given)
        ]


def _copy(where: str, into: Path, flag: str, check: Check) -> Path:
    place = Place(where, flag=flag)
    target = into / place.root.strip("/")
    target.parent.mkdir(parents=True)
    files = place.files()
    check(f"{flag} {place.where}", [file.name for file in files])
    if not files and place.exists(""):
        place.download("", target)
        return target
    if not files:
        raise InputError(f"{flag} {place.where}: nothing is there; check the URI")
    for file in files:
        local = target / file.name
        local.parent.mkdir(parents=True, exist_ok=True)
        place.download(file.name, local)
    return target


def put_folder(folder: Path, where: str, *, flag: str) -> None:
    """Put a local folder whole at a URI, with the list of its files, in place of an earlier one.

    Raises:
        ConfigError: the URI is none.
        StorageError: it cannot be written.
    """
    storage, name = _storage(where, flag)
    with tempfile.TemporaryDirectory() as aside:  # the list is no part of the folder itself
        storage.put(Path(shutil.copytree(folder, Path(aside) / name)), name)


def check_folder_writable(where: str, *, flag: str) -> None:
    """Find out now whether `put_folder` will work.

    Raises:
        ConfigError: it will not.
    """
    _storage(where, flag)[0].check_writable()


def fetch_folder(where: str, into: Path, *, flag: str) -> Path:
    """A local copy of a folder that `put_folder` put there, checked file by file; it is made once, under its content's name.

    Raises:
        ConfigError: the URI is none.
        StorageError: it is not there or not whole, or cannot be read, or a file is not what was written.
    """
    storage, name = _storage(where, flag)
    if not storage.exists(f"{name}/{CONTENTS}"):
        raise StorageError(
            f"{flag} {storage.where}/{name}: has no {CONTENTS}, so nothing tells whether it is whole; put it there with "
            "jobs/train.py --adapter-copy, which trains no finished run again"
        )
    digest = hashlib.sha256(storage.read(f"{name}/{CONTENTS}")).hexdigest()
    target = into / digest[:16]
    if not target.is_dir():
        aside = into / f".{digest[:16]}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            replace_folder(storage.get(name, aside), target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return target


def _storage(where: str, flag: str) -> tuple[Storage, str]:
    path, options = options_apart(where)
    parent, _, name = path.rstrip("/").rpartition("/")
    return Storage(f"{parent}{options}", flag=flag), unquote(name) if is_uri(where) else name
