"""The folder of a run as the jobs before the report leave it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from finished_run import leave_finished_run

from reviewllm.report.collect import collect
from reviewllm.report.content import Report


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run (`leave_finished_run`). Only to be read."""
    out = tmp_path_factory.mktemp("run") / "out"
    leave_finished_run(out)
    return out


@pytest.fixture
def out_folder(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, for a test to change."""
    return Path(shutil.copytree(finished_run, tmp_path / "out"))


@pytest.fixture(scope="session")
def report(finished_run: Path) -> Report:
    """The content of the run's report."""
    return collect(finished_run, created_at=datetime(2026, 1, 3, 4, 5, tzinfo=UTC))
