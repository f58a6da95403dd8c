"""Many kills of a backfill, and one with a real engine: `make test-chaos`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from kill_matrix import (
    NIGHT,
    SHARD_ROWS,
    SHARDS,
    After,
    Trial,
    labelled_kills,
    labelled_terms,
    make_examples,
    random_kills,
    ray_cluster,
)

from reviewllm.backfill.verify import verify_night
from reviewllm.place import Place

pytestmark = pytest.mark.chaos

TRIALS = 5


def test_backfill_killed_sixty_times_writes_every_row_once(tmp_path: Path) -> None:
    made = make_examples(tmp_path / "made")
    kills = []
    with ray_cluster(tmp_path) as cluster:
        for seed in range(1, TRIALS + 1):
            kinds = [("labelled", labelled_kills), ("random", random_kills)]
            if seed == 1:
                kinds.append(("terms", labelled_terms))
            for name, kill in kinds:
                trial = Trial(cluster, made, tmp_path / f"{name}-{seed}")
                kill(trial, random.Random(seed))
                trial.check()
                kills += trial.kills
    print(f"{len(kills)} kills: {kills}")
    assert len(kills) >= 60


def test_backfill_rows_that_kill_or_hang_engines_are_found_and_the_others_written(tmp_path: Path) -> None:
    made = make_examples(tmp_path / "made")
    faults = '{"e0-5": "death", "e1-7": "stall", "e2-9": "hang"}'
    with ray_cluster(tmp_path) as cluster:
        trial = Trial(cluster, made, tmp_path / "faults", "--rule-faults", faults, "--watchdog-seconds", "2")
        assert trial.run() == 0, trial.log.read_text()
        trial.check(failed=["e0-5", "e1-7", "e2-9"])


def test_backfill_with_vllm_killed_in_mid_generation_goes_on_and_verifies(tmp_path: Path) -> None:
    made = make_examples(tmp_path / "made", hidden=64)
    options = ["--engine", "vllm", "--temperature", "1.0", "--max-failed-fraction", "1", "--max-new-tokens", "200"]
    with ray_cluster(tmp_path) as cluster:
        trial = Trial(cluster, made, tmp_path / "vllm", *options)
        assert trial.run(After(0.0, "driver")) != 0
        staged = sorted(path.name for path in trial.data.glob("generations/.staging/*/*/*.parquet"))
        assert 0 < len(staged) < SHARDS
        assert trial.run() == 0, trial.log.read_text()
    manifest = verify_night(Place(str(trial.data)), NIGHT)
    assert manifest.rows == SHARDS * SHARD_ROWS
    assert f"of {SHARDS} shards were there" in trial.log.read_text()
    assert f" 0 of {SHARDS} shards were there" not in trial.log.read_text()
