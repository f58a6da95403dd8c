"""The shipped sbatch scripts on a real Slurm, unchanged apart from partition and size: success, scancel, requeue."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from conftest import WORDS, entry, example
from kill_matrix import make_examples
from ray_nodes import wait_until
from slurm_machines import PROJECT, Slurm, lacking_tools, slurm_machines

from reviewllm.backfill.night import Manifest, published_files, read_manifest
from reviewllm.backfill.verify import verify_night
from reviewllm.place import Place
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES, GENERATIONS

SCRIPTS = Path("cluster/slurm")
NIGHT = dt.date(2026, 11, 21)
BACKFILL, TRAIN = str(SCRIPTS / "backfill.sbatch"), str(SCRIPTS / "train.sbatch")


@pytest.fixture(scope="module")
def slurm(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Slurm on three machines with a GPU each, and two without."""
    if lacking := lacking_tools():
        pytest.skip(f"needs Slurm (Debian: slurmctld slurmd slurm-client munge); not there: {', '.join(lacking)}")
    folder = tmp_path_factory.mktemp("slurm")
    with slurm_machines(folder, with_gpu=3, without=2) as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, purchases to write and examples to train on."""
    folder = make_examples(tmp_path_factory.mktemp("made"), hidden=64)
    rows = [example(example_id=f"t{n}", user_id=f"t{n}", history=[entry(1)], reference=WORDS[n % 3]) for n in range(32)]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "train" / "a.parquet", EXAMPLES)
    return folder


def backfill_flags(made: Path, out: Path) -> list[str]:
    """A night of 12 shards that takes some 10 s on three engines."""
    options = {
        "engine": "rule",
        "base-model": made / "base",
        "examples": made / "examples",
        "out": out,
        "date": NIGHT,
        "shard-rows": 10,
        "max-prompt-tokens": 400,
        "rule-delay-s": 0.3,
        "rule-concurrency": 1,
        "shards-in-flight": 1,
        "cpus-per-engine": 0.5,
    }
    return ["--bare-base", *(text for name, value in options.items() for text in (f"--{name}", str(value)))]


def staged(out: Path) -> list[Path]:
    return list(out.glob("generations/.staging/*/*/*.parquet"))


def assert_exact(made: Path, out: Path) -> Manifest:
    """Every purchase is in the published night once."""
    place = Place(str(out))
    manifest = verify_night(place, NIGHT)
    rows = pl.concat([pl.DataFrame(place.read_table(file, GENERATIONS)) for file in published_files(place, NIGHT, manifest)])
    wanted = pl.read_parquet(made / "examples" / "*.parquet")["example_id"]
    assert sorted(rows["example_id"]) == sorted(wanted)
    return manifest


def wait_for_shards(slurm: Slurm, job: str, out: Path, log: Path, count: int) -> None:
    wait_until(
        lambda: len(staged(out)) >= count, lambda: slurm.job(job)["JobState"] in ("RUNNING", "PENDING", "CONFIGURING"), log
    )


def assert_nothing_left(slurm: Slurm) -> None:
    """No process of a job is left on any machine, and no token in the logs' folders."""
    end = time.monotonic() + 20
    while left := [process for machine in slurm.machines for process in machine.named("ray")]:
        assert time.monotonic() < end, [process.cmdline() for process in left]
        time.sleep(0.5)


@pytest.mark.cluster
def test_backfill_is_cancelled_and_submitted_again(slurm: Slurm, made: Path, tmp_path: Path) -> None:
    flags, log, out = backfill_flags(made, tmp_path / "run"), tmp_path / "log", tmp_path / "run"
    size = ("--nodes=3", "--gpus-per-node=1", f"--export=ALL,REVIEWLLM_LINGER_S=1,REVIEWLLM_LOGS={tmp_path / 'ray'}")
    cancelled = slurm.submit(BACKFILL, log, *size, flags=flags)
    wait_for_shards(slurm, cancelled, out, log, 3)
    slurm.run("scancel", cancelled)
    slurm.wait_for(cancelled, "CANCELLED")
    assert_nothing_left(slurm)
    assert read_manifest(Place(str(out)), NIGHT) is None

    again = slurm.submit(BACKFILL, log, *size, flags=flags)
    job = slurm.wait_for(again, "COMPLETED", "FAILED")
    text = log.read_text()
    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0"), text
    assert_exact(made, out)
    assert int(re.search(r"(\d+) of 12 shards were there before", text)[1]) >= 3
    assert "3 node(s) of 2 CPUs and 1 GPUs" in text
    assert_nothing_left(slurm)
    assert not list((tmp_path / "ray").rglob("token"))


@pytest.mark.cluster
def test_backfill_whose_time_is_nearly_up_is_requeued_and_ends_exact(slurm: Slurm, made: Path, tmp_path: Path) -> None:
    flags, log, out = backfill_flags(made, tmp_path / "run"), tmp_path / "log", tmp_path / "run"
    job = slurm.submit(
        BACKFILL,
        log,
        "--nodes=2",
        "--gpus-per-node=1",
        f"--export=ALL,REVIEWLLM_LINGER_S=1,REVIEWLLM_LOGS={tmp_path / 'ray'}",
        flags=flags,
    )
    wait_for_shards(slurm, job, out, log, 3)
    slurm.run("scancel", "--signal=USR1", "--batch", job)  # what `--signal=B:USR1@180` does
    slurm.wait_for(job, "PENDING")
    text = log.read_text()
    assert "SIGTERM came; the finished shards are kept" in text
    assert read_manifest(Place(str(out)), NIGHT) is None
    slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")  # else two minutes later
    done = slurm.wait_for(job, "COMPLETED", "FAILED")
    assert (done["JobState"], done["Restarts"]) == ("COMPLETED", "1"), log.read_text()
    assert_exact(made, out)


@pytest.mark.cluster
def test_training_is_requeued_in_mid_run_and_goes_on(slurm: Slurm, made: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "run"
    options = {
        "base-model": made / "base",
        "examples": made / "train",
        "out": out,
        "num-train-epochs": 60,
        "save-steps": 8,
        "max-prompt-tokens": 400,
        "max-response-tokens": 60,
    }
    flags = ["--no-track", *(text for name, value in options.items() for text in (f"--{name}", str(value)))]
    job = slurm.submit(
        TRAIN,
        log,
        "--nodes=2",
        "--gpus-per-node=0",
        f"--export=ALL,REVIEWLLM_LINGER_S=1,REVIEWLLM_LOGS={tmp_path / 'ray'}",
        partition="cpu",
        flags=flags,
    )
    checkpoints = out / "checkpoints" / "adapter"
    wait_until(
        lambda: any(checkpoints.glob("checkpoint-*")), lambda: slurm.job(job)["JobState"] in ("RUNNING", "PENDING"), log
    )
    slurm.run("scontrol", "requeue", job)
    slurm.wait_for(job, "PENDING")
    slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")
    done = slurm.wait_for(job, "COMPLETED", "FAILED")
    assert (done["JobState"], done["Restarts"]) == ("COMPLETED", "1"), log.read_text()
    assert "goes on after step" in log.read_text()
    assert (out / "adapter" / "adapter_model.safetensors").is_file()
    assert_nothing_left(slurm)


@pytest.mark.cluster
def test_scrontab_submits_the_night_with_its_date(slurm: Slurm, tmp_path: Path) -> None:
    (line,) = [line for line in (PROJECT / SCRIPTS / "scrontab").read_text().splitlines() if not line.startswith("#")]
    schedule, command = line.split(" ", 5)[:5], line.split(" ", 5)[5]
    assert schedule == ["0", "1", "*", "*", "*"]
    command = command.replace("/shared/reviewllm", str(PROJECT)).replace("/shared/run", str(tmp_path))
    command = command.replace(
        "sbatch ",
        f"sbatch --parsable --hold --partition=gpu --nodes=2 --gpus-per-node=1 --cpus-per-task=2 --output={tmp_path}/log ",
    )
    before = dt.datetime.now(dt.UTC).date()
    job = slurm.run("sh", "-c", command).strip()
    after = dt.datetime.now(dt.UTC).date()  # another day, where midnight came meanwhile
    try:
        shown = slurm.run("scontrol", "show", "--detail", "job", job)
        assert f"--date {before}" in shown or f"--date {after}" in shown
        assert "JobName=reviewllm-backfill" in shown
    finally:
        slurm.run("scancel", job)


def test_scripts_pass_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck, which is not there")
    scripts = sorted(str(path) for path in (PROJECT / SCRIPTS).glob("*.sbatch"))
    assert len(scripts) == 2
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
