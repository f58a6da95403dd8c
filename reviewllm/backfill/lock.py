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
from collections.abc import Iterator
from pathlib import Path

from reviewllm.errors import RaceError, StorageError
from reviewllm.place import Place

_LEASE_SECONDS = 120.0  # after which a lease that was not renewed is nobody's
_RENEW_SECONDS = 20.0


@contextlib.contextmanager
def only_run(data: Place, name: str) -> Iterator[None]:
    """Be the only run that works on these generations.

    A run that was killed holds nothing: at once on a file system, after two minutes in an object store.

    On a file system (NFS too) it is the system's lock on a file; in an object store a lease that is renewed.

    Raises:
        RaceError: another run holds it; the message says which and since when.
        StorageError: it cannot be written.
    """
    with _file_lock(data.local / name, name) if data.local else _lease(data, name):
        yield


@contextlib.contextmanager
def _file_lock(path: Path, name: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  (closed below, with the lock)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            held = file.read()
            file.close()
            raise _race(name, held) from error
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()  # the one that held it has ended, and removed it, between the two lines above
    try:
        file.truncate(0)
        file.write(_holder())
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # where nothing was written


@contextlib.contextmanager
def _lease(data: Place, name: str) -> Iterator[None]:
    """Put a lease beside those of others and look: who is not alone gives way. Two at the same instant both may."""
    mine = f"{name}/{uuid.uuid4().hex}"
    data.write(mine, _holder().encode())
    others = [file for file in data.files(name) if file.name != mine and time.time() - file.mtime_ns / 1e9 < _LEASE_SECONDS]
    if others:
        held = data.read(others[0].name).decode()
        data.delete(mine)
        raise _race(name, held)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(_RENEW_SECONDS):
            with contextlib.suppress(StorageError):
                data.write(mine, _holder().encode())

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        data.delete_folder(name)


def _holder() -> str:
    return json.dumps(
        {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%FT%TZ", time.gmtime())}
    )


def _race(name: str, held: str) -> RaceError:
    return RaceError(
        f"{name}: another run is at work on these generations ({held.strip() or 'just starting'}); let it end, or end it"
    )
