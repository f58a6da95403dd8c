"""What an engine's own processes have printed before they died: it stands in the log files of the actor that started them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from functools import cached_property
from pathlib import Path

from reviewllm.config import without_keys
from reviewllm.sft.tracking import redact

_READ_BYTES = 1 << 18  # of each file's end: a traceback of several processes is some ten thousand
_SHOWN_LINES, _SHOWN_LETTERS = 3, 400
_PATIENCE_S = 2.0  # what a process has printed arrives in the file a moment after its end is known
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
# "(EngineCore pid=7) ERROR 11-30 08:11:02 [core.py:90] RuntimeError: ...", or what Python prints of an error that nobody caught
_ERROR = re.compile(
    r"^(?:\([^()]*\) )?(?P<logged>(?:ERROR|CRITICAL) \S+ \S+ \[[^\]]*\] )?"
    r"(?P<error>(?:[\w.]*(?:Error|Exception)|Fatal Python error): .+)$"
)
_POINTER = re.compile(r"root cause above|for (?:the )?root cause")  # such an error only says that there is another one


class EngineLog:
    """The log of this process and its children from now on."""

    def __init__(self) -> None:
        """Find this process's log files; there are none where it prints to a screen or a pipe."""
        self._files = [(file, file.stat().st_size) for file in _log_files()]

    @cached_property
    def ending(self) -> str:
        """The last error lines of the log, and where it is: one line for a message, without keys and passwords.

        Waits a moment for the lines the first time that it is asked for, and says the same ever after.
        """
        if not self._files:
            return "its log is what this process has printed"
        until = time.monotonic() + _PATIENCE_S
        while not (lines := self._error_lines()) and time.monotonic() < until:
            time.sleep(0.1)
        said = f"its last errors: {' | '.join(lines)}" if lines else "it has printed no error"
        places = dict.fromkeys(f"{file.with_suffix('')}.*" for file, _ in self._files)
        return f"{said} (log: {' and '.join(places)} on {socket.gethostname()})"

    def _error_lines(self) -> list[str]:
        """The last few different errors, oldest first: those that the engine logged, else those that were printed."""
        lines = [_COLOR.sub("", line) for file, start in self._files for line in _end_of(file, start).splitlines()]
        errors = [found for line in lines if (found := _ERROR.match(line)) and not _POINTER.search(line)]
        logged = [found for found in errors if found["logged"]]
        shown = [" ".join(found["error"].split()) for found in logged or errors]
        latest = [*dict.fromkeys(reversed(shown))][:_SHOWN_LINES]
        return [without_keys(redact(error))[:_SHOWN_LETTERS] for error in reversed(latest)]


def _log_files() -> list[Path]:
    """The files that Ray sends this process's output to; else those that it is redirected to."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        if "ray" in sys.modules:
            from ray._private.worker import global_worker

            given = [global_worker.get_out_file_path(), global_worker.get_err_file_path()]
            if files := [Path(name) for name in dict.fromkeys(given) if name and Path(name).is_file()]:
                return files
    screens = dict.fromkeys(Path(os.readlink(f"/proc/self/fd/{number}")) for number in (1, 2))
    return [file for file in screens if file.is_file()]  # neither a pipe nor a file that was removed meanwhile


def _end_of(file: Path, start: int) -> str:
    """What was added to a file since it had `start` bytes, of that the end."""
    try:
        with open(file, "rb") as opened:
            opened.seek(max(start, file.stat().st_size - _READ_BYTES))
            return opened.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
