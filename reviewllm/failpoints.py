"""Named places at which a test makes a process die, stop or run out of disk; nothing happens where none is asked for.

    REVIEWLLM_FAILPOINTS=/tmp/failpoints.json      a file with   {"publish": {"do": "kill", "hit": 1, "folder": "/tmp/hits"}}

do is kill or term (a signal), full (the disk), or hang (until there is a file `<folder>/<name>.<hit>.go`).
The file may be written and changed while processes run. Those that share `folder` count together how often a place is
reached; at number `hit` (from 1) the one that reaches it does what `do` says, and nobody does later. All of it is local to
one machine.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path

VARIABLE = "REVIEWLLM_FAILPOINTS"


def reached(name: str) -> None:
    """Mark a place; where the environment asks for it, this process is killed, gets SIGTERM, hangs, or has a full disk.

    Raises:
        OSError: the disk is full, as asked for.
    """
    file = os.environ.get(VARIABLE)
    if not file:
        return
    try:
        wanted = json.loads(Path(file).read_text(encoding="utf-8")).get(name)
    except FileNotFoundError:
        return
    if wanted is None:
        return
    mark = _hit(Path(wanted["folder"]), name)
    if mark.suffix != f".{wanted['hit']}":
        return
    if wanted["do"] == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if wanted["do"] == "hang":
        while not mark.with_name(f"{mark.name}.go").exists():
            time.sleep(0.05)
        return
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "term": signal.SIGTERM}[wanted["do"]])


def _hit(folder: Path, name: str) -> Path:
    """The mark of this hit, whose ending is its number, from 1, over all processes."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        mark = folder / f"{name.replace('/', '_')}.{number}"
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            number += 1
        else:
            return mark
