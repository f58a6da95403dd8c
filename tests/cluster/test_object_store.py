"""A backfill whose data lie on a real S3 server: its driver is killed at every step, and its store throttles and cuts."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kill_matrix import DRIVER_LABELS, NIGHT, At, Cluster, Trial, make_examples, ray_cluster
from s3_faults import faulty

from reviewllm.backfill.night import LOCK, published_files, read_manifest
from reviewllm.place import below
from reviewllm.tables import GENERATIONS

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_examples(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ray_cluster(tmp_path_factory.mktemp("node")) as cluster:
        yield cluster


def readable(trial: Trial) -> int:
    """How many rows a reader sees who goes by the manifest, now."""
    manifest = read_manifest(trial.place, NIGHT)
    files = published_files(trial.place, NIGHT, manifest) if manifest else []
    return sum(trial.place.read_table(file, GENERATIONS).num_rows for file in files)


def end_lease(trial: Trial) -> None:
    """What an operator does who knows that the run is dead and does not want to wait."""
    trial.place.delete_folder(LOCK)


def test_backfill_on_s3_killed_at_every_step_of_its_driver_writes_every_row_once(
    node: Cluster, made: Path, tmp_path: Path, s3_server: str
) -> None:
    trial = Trial(node, made, tmp_path / "killed", where=below(s3_server, uuid.uuid4().hex))
    rows = len(trial.expected())
    for label in DRIVER_LABELS:
        assert trial.run(At(label)) == -9, trial.log.read_text()
        assert readable(trial) == (rows if label == "finish" else 0)  # the manifest is the commit
        if label == "plan":  # the lease of the killed run stands, and says so
            assert trial.run() == 2
            assert "its lease ends 120 s later, or at once if s3://" in trial.log.read_text()
        end_lease(trial)
    assert trial.run() == 0, trial.log.read_text()
    trial.check()
    assert len(trial.kills) == len(DRIVER_LABELS)


def test_backfill_on_s3_that_throttles_and_cuts_writes_every_row_once(
    node: Cluster, made: Path, tmp_path: Path, s3_server: str
) -> None:
    where = below(s3_server, uuid.uuid4().hex)
    with faulty(where) as (seen, faults):
        trial = Trial(node, made, tmp_path / "throttled", where=where, seen=seen)
        faults.throttle_fraction = 0.1
        faults.cut_after = 2000
        assert trial.run() == 0, trial.log.read_text()
    trial.check()
    assert faults.throttled >= 10
    assert faults.cuts == 1
