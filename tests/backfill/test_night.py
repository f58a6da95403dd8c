"""Where a night's data lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from reviewllm.backfill.night import data_place
from reviewllm.errors import InputError
from reviewllm.place import Place, below


@pytest.mark.parametrize("level", ["", "run/generations", "run/generations/dt=2026-11-21", "run/dead_letters"])
def test_data_place_above_or_below_the_nights_is_refused_with_the_folder_that_has_them(tmp_path: Path, level: str) -> None:
    for folder in ("generations/dt=2026-11-21", "dead_letters/dt=2026-11-21"):
        (tmp_path / "run" / folder).mkdir(parents=True)
    named = tmp_path / level
    with pytest.raises(
        InputError, match=rf"^--data {named}: has no generations/, .* but {tmp_path / 'run'} has; name that one"
    ):
        data_place(str(named))
    assert data_place(str(tmp_path / "run")).local == tmp_path / "run"


def test_data_place_new_folder_or_one_with_examples_beside_other_runs_is_taken(tmp_path: Path) -> None:
    assert data_place(str(tmp_path / "new" / "examples")).local
    (tmp_path / "other" / "generations").mkdir(parents=True)
    (tmp_path / "examples").mkdir()
    assert data_place(str(tmp_path)).local == tmp_path


def test_data_place_above_the_nights_in_a_bucket_is_refused(s3_server: str) -> None:
    above = below(s3_server, "levels")
    Place(above).write("run/generations/dt=2026-11-21/part.parquet", b"")
    with pytest.raises(InputError, match=r"--data s3://bucket/runs/levels: .* but s3://bucket/runs/levels/run has"):
        data_place(above)
    with pytest.raises(InputError, match=r"generations: .* but s3://bucket/runs/levels/run has"):
        data_place(below(above, "run/generations"))
