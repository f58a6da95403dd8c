"""A dozen kills of a backfill; `make test-chaos` has many more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from kill_matrix import Trial, labelled_kills, make_examples, random_kills, ray_cluster

pytestmark = pytest.mark.ray(timed=True)


def test_backfill_killed_at_every_step_and_at_random_times_writes_every_row_once(tmp_path: Path) -> None:
    made = make_examples(tmp_path / "made")
    with ray_cluster(tmp_path) as cluster:
        kills = []
        for name, kill in (("labelled", labelled_kills), ("random", random_kills)):
            trial = Trial(cluster, made, tmp_path / name)
            kill(trial, random.Random(0))
            trial.check()
            kills += trial.kills
        assert len(kills) >= 12, f"{len(kills)}: {', '.join(kills)}"
