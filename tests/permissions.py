"""Who may read what a job leaves."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Another umask for this process, and for those that it starts meanwhile."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def closed_to_others(folder: Path) -> dict[str, str]:
    """Files and folders whose permissions are not those that the umask gives new ones, with their modes."""
    mask = os.umask(0)
    os.umask(mask)
    paths = [folder, *folder.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    wanted = {path: (0o777 if path.is_dir() else 0o666) & ~mask for path in paths}
    return {str(path.relative_to(folder)): oct(mode) for path, mode in modes.items() if mode != wanted[path]}
