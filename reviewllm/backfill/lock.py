"""One run at a time on the generations of a place: two would write the same purchases."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from reviewllm.errors import RaceError, StorageError
from reviewllm.place import Place
from reviewllm.s3 import PATIENCE_HASTY_S

_LEASE_SECONDS = 120.0  # after which a lease that was not renewed is nobody's
_RENEW_SECONDS = 10.0
_COMMIT_SECONDS = PATIENCE_HASTY_S  # a commit begun while the lease has so long to run ends before it does


StillHeld = Callable[[], None]  # raises RaceError where the right to work was lost


@contextlib.contextmanager
def only_run(data: Place, name: str) -> Iterator[StillHeld]:
    """Be the only run that works on these generations; yields what tells whether that is still so.

    A run that was killed holds nothing: at once on a file system, after two minutes in an object store.

    On a file system (NFS too) it is the system's lock on a file; in an object store a lease that is renewed, and that a run
    loses which cannot renew it: it has to ask before it commits, and to commit by `Place.hasty`.

    Raises:
        RaceError: another run holds it; the message says which and since when.
        StorageError: it cannot be written.
    """
    with _file_lock(data.local / name, name) if data.local else _lease(data, name) as still_held:
        yield still_held


@contextlib.contextmanager
def _file_lock(path: Path, name: str) -> Iterator[StillHeld]:
    file = _open_locked(path, name)
    try:
        file.truncate(0)
        file.write(_holder())
        file.flush()
        yield lambda: None
    finally:
        path.unlink(missing_ok=True)
        file.close()
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # where nothing was written


def _open_locked(path: Path, name: str) -> TextIO:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  (closed with the lock)
        except (FileExistsError, FileNotFoundError):
            if path.parent.exists() and not path.parent.is_dir():
                raise StorageError(f"{path.parent}: is a file; expected a folder") from None
            continue  # the one that held the lock has just removed it, and the folder
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            held = file.read()
            file.close()
            raise _race(name, held) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # the one that held it has ended, and removed it, between the two lines above


@contextlib.contextmanager
def _lease(data: Place, name: str) -> Iterator[StillHeld]:
    """Put a lease beside those of others and look: who is not alone gives way. Two at the same instant both may."""
    lease = _Lease(data, name)
    try:
        lease.check()
        lease.renew_for_good()
        yield lease.check
    finally:
        lease.end()


class _Lease:
    """One object, written anew every ten seconds; ages are told by the store's own clock."""

    def __init__(self, data: Place, name: str) -> None:
        self._data, self._folder = data.hasty, name
        self._name = f"{name}/{uuid.uuid4().hex}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._renewed = time.time()
        self._lost = False
        self._data.write(self._name, _holder().encode())

    def check(self) -> None:
        """Raises RaceError where another run has a lease, or where this one may end before a commit that begins now."""
        leases = {file.name: file.mtime_ns for file in self._data.files(self._folder)}
        mine = leases.pop(self._name, None)
        age = time.time() - self._renewed
        if mine is None or self._lost or age > _LEASE_SECONDS - _COMMIT_SECONDS:
            raise RaceError(
                f"{self._folder}: this run could not renew its lease for {age:.0f} s, so another may be at work; nothing was "
                "published, run again"
            )
        others = [other for other, written in leases.items() if mine - written < _LEASE_SECONDS * 1e9]
        if others:
            held = ""
            with contextlib.suppress(StorageError):  # it has ended just now
                held = self._data.read(others[0]).decode()
            raise _race(
                self._folder,
                held,
                f"; where it was killed, its lease ends {_LEASE_SECONDS:.0f} s later, or at once if {self._data.where}/{others[0]} "
                "is removed",
            )
        for stale in leases:
            self._data.delete(stale)

    def renew_for_good(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(StorageError):  # then it ends by itself
            self._data.delete(self._name)

    def _renew(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS):
            began = time.time()  # the store may have dated it at any time since
            with contextlib.suppress(StorageError):
                self._data.write(self._name, _holder().encode())
                self._lost |= time.time() - self._renewed > _LEASE_SECONDS
                self._renewed = began


def _holder() -> str:
    return json.dumps(
        {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%FT%TZ", time.gmtime())}
    )


def _race(name: str, held: str, more: str = "") -> RaceError:
    return RaceError(
        f"{name}: another run is at work on these generations ({held.strip() or 'just starting'}); let it end, or end it{more}"
    )
