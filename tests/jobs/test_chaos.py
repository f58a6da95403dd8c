"""Many kills of a backfill, and one with a real engine: `make test-chaos`."""

from __future__ import annotations

import contextlib
import random
import urllib.request
from pathlib import Path

import psutil
import pytest
from kill_matrix import (
    NIGHT,
    SHARD_ROWS,
    SHARDS,
    TIMEOUT_S,
    After,
    At,
    Trial,
    labelled_kills,
    labelled_terms,
    make_examples,
    processes_of,
    random_kills,
    ray_cluster,
)
from prometheus_client.parser import text_string_to_metric_families
from ray_nodes import kill_tree, wait_until

from reviewllm.backfill.verify import verify_night
from reviewllm.place import Place

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("seed", range(1, 6))
def test_backfill_killed_sixty_times_in_all_writes_every_row_once(seed: int, tmp_path: Path) -> None:
    made = make_examples(tmp_path / "made")
    kills = []
    with ray_cluster(tmp_path) as cluster:
        kinds = [("labelled", labelled_kills), ("random", random_kills)]
        if seed == 1:
            kinds.append(("terms", labelled_terms))
        for name, kill in kinds:
            trial = Trial(cluster, made, tmp_path / name)
            kill(trial, random.Random(seed))
            trial.check()
            kills += trial.kills
    assert len(kills) >= 12, f"{len(kills)}: {', '.join(kills)}"


def test_backfill_rows_that_kill_or_hang_engines_are_found_and_the_others_written(tmp_path: Path) -> None:
    made = make_examples(tmp_path / "made")
    faults = '{"e0-5": "death", "e1-7": "stall", "e2-9": "hang"}'
    with ray_cluster(tmp_path) as cluster:
        trial = Trial(cluster, made, tmp_path / "faults", "--rule-faults", faults, "--watchdog-seconds", "2")
        assert trial.run() == 0, trial.log.read_text()
        trial.check(failed=["e0-5", "e1-7", "e2-9"])


def test_backfill_loses_a_node_and_its_metrics_are_on_rays_endpoint(tmp_path: Path) -> None:
    made = make_examples(tmp_path / "made")
    with ray_cluster(tmp_path, workers=2, RAY_metrics_report_interval_ms="500") as cluster:
        trial = Trial(cluster, made, tmp_path / "node", "--num-engines", "2", "--rule-delay-s", "1")
        driver, _ = trial.start()
        try:
            seen = _wait_for_rows(cluster.metrics, driver, trial.log)
            lost = next(node for node in cluster.nodes[1:] if processes_of(node, "ShardGenerator"))
            kill_tree(lost)
            assert driver.wait(TIMEOUT_S) == 0, trial.log.read_text()
        finally:
            kill_tree(driver)
        trial.check()
    assert seen["done"] > 0
    assert seen["failed"] == 0
    assert seen["done"] + seen["left"] == SHARDS * SHARD_ROWS


def test_backfill_after_a_lost_head_is_not_disturbed_by_writers_of_the_old_cluster(tmp_path: Path) -> None:
    made = make_examples(tmp_path / "made")
    data, options = tmp_path / "head", ["--num-scorers", "2"]
    # The old workers would end after a minute without a head; here they outlive the new run.
    with ray_cluster(tmp_path, workers=1, RAY_gcs_rpc_server_reconnect_timeout_s="600") as old:
        before = Trial(old, made, data, *options)
        driver, held = before.start(At("stage", "hang", hit=2), At("score", "hang", hit=4))
        wait_until((held / "stage.2").exists, driver.is_running, before.log)
        wait_until((held / "score.4").exists, driver.is_running, before.log)
        kill_tree(old.nodes[0])  # before the driver: a head that is there ends the actors of a driver that is not
        kill_tree(driver)
        with ray_cluster(tmp_path) as new:
            trial = Trial(new, made, data)
            driver, marks = trial.start(At("verify", "hang"))
            try:
                wait_until((marks / "verify.1").exists, driver.is_running, trial.log)
                staged = trial.staged()
                (held / "stage.2.go").touch()  # one writes its shard while the night that has it is being verified
                wait_until(lambda: trial.staged() != staged, old.nodes[1].is_running, before.log)
                (marks / "verify.1.go").touch()
                assert driver.wait(TIMEOUT_S) == 0, trial.log.read_text()
            finally:
                kill_tree(driver)
            manifest = verify_night(Place(str(data)), NIGHT)
            assert not trial.staged()
            (held / "score.4.go").touch()  # and one when the night is published
            wait_until(lambda: bool(trial.staged()), old.nodes[1].is_running, before.log)
            assert verify_night(Place(str(data)), NIGHT) == manifest
            assert trial.run() == 0, trial.log.read_text()
            trial.check()


def _wait_for_rows(url: str, driver: psutil.Popen, log: Path) -> dict[str, float]:
    """The gauges of rows by state, as soon as some are done."""
    rows: dict[str, float] = {}

    def some_done() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
            rows.update(
                {
                    sample.labels["state"]: sample.value
                    for family in text_string_to_metric_families(text)
                    for sample in family.samples
                    if sample.name == "ray_reviewllm_backfill_rows"
                }
            )
        return rows.get("done", 0) > 0

    wait_until(some_done, driver.is_running, log)
    return rows


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
