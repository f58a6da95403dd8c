"""What an engine's processes printed last is in our message, without secrets, and with the file that has all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOGGED = [
    "(EngineCore pid=7) INFO 11-30 08:11:00 [core.py:100] Initializing",
    "\x1b[0;36m(EngineCore pid=7)\x1b[0;0m ERROR 11-30 08:11:02 [core.py:900] Traceback (most recent call last):",
    "\x1b[0;36m(EngineCore pid=7)\x1b[0;0m ERROR 11-30 08:11:02 [core.py:900] ValueError: Unsupported head size 48",
    "(EngineCore pid=7) ERROR 11-30 08:11:02 [core.py:901] ValueError: Unsupported head size 48",
    "(EngineCore pid=7) ERROR 11-30 08:11:02 [core.py:901]     raise RuntimeError(",
    "(EngineCore pid=7) ERROR 11-30 08:11:03 [core.py:902] OSError: no token hf_abcdefgh12345678 at http://me:secret@host/a",
    "(MainProcess pid=1) ERROR 11-30 08:11:04 [async_llm.py:906] vllm.EngineDeadError: See stack trace (above) for the root cause.",
    "(Worker pid=8) ERROR 11-30 08:11:05 [core.py:15] Exception: WorkerProc failed. See stack trace for root cause.",
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    "KeyError: '/psm_6b80f348'",
]
_PRINTED = """
import sys
from reviewllm.generation.engine_log import EngineLog
print("RuntimeError: of an earlier engine", flush=True)
log = EngineLog()
for line in sys.argv[1:]:
    print(line, flush=True)
with open("said", "w") as said:
    said.write(log.ending)
"""


def ending(folder: Path, lines: list[str], *, to_file: bool = True, removed: bool = False) -> str:
    """What is said of a process that has printed these lines since its engine's start; `removed`: to a file without a name."""
    with open(folder / "worker.out" if to_file else os.devnull, "w") as output:
        if removed:
            (folder / "worker.out").unlink()
        command = [sys.executable, "-c", _PRINTED, *lines]
        path = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
        subprocess.run(command, stdout=output, stderr=output, cwd=folder, env=path, check=True)
    return (folder / "said").read_text()


def test_ending_has_the_last_errors_without_secrets_and_the_file(tmp_path: Path) -> None:
    said = ending(tmp_path, LOGGED)
    assert said.startswith(
        "its last errors: ValueError: Unsupported head size 48 | OSError: no token [a key] at http://host/a "
        f"(log: {tmp_path}/worker.* on "
    )
    assert "\n" not in said


def test_ending_of_a_process_that_logged_none_has_what_it_printed(tmp_path: Path) -> None:
    said = ending(tmp_path, [LOGGED[0], LOGGED[-2], "Fatal Python error: Aborted", "torch.OutOfMemoryError: no  2 GiB"])
    assert said.startswith("its last errors: Fatal Python error: Aborted | torch.OutOfMemoryError: no 2 GiB (log: ")


def test_ending_of_a_process_that_printed_no_error_names_the_file(tmp_path: Path) -> None:
    assert ending(tmp_path, LOGGED[:2]).startswith(f"it has printed no error (log: {tmp_path}/worker.* on ")


def test_ending_without_a_file_is_on_the_screen(tmp_path: Path) -> None:
    assert ending(tmp_path, LOGGED, to_file=False) == "its log is what this process has printed"


def test_ending_of_a_file_that_was_removed_is_what_was_printed(tmp_path: Path) -> None:
    assert ending(tmp_path, LOGGED, removed=True) == "its log is what this process has printed"
