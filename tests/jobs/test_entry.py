"""How a job ends where the screen cannot show what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_job_on_a_screen_of_few_letters_ends_well(tmp_path: Path) -> None:
    folder = tmp_path / "für uns \U0001f600"
    folder.mkdir()
    lines = [" ".join([f"ü{user}", *(f"i{(user + number) % 8}" for number in range(6))]) for user in range(20)]
    (folder / "s.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "jobs/recommend.py", "prepare", "--sequences", str(folder / "s.txt"), "--out", str(folder)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert rb"f\xfcr uns \U0001f600" in done.stdout
    assert (folder / "sequences" / "sequences.parquet").is_file()
