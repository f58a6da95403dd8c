"""A training that is killed, at any point, ends bit for bit as one that never was."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from conftest import WORDS, entry, example, free_port
from ray_nodes import kill_tree, node_environment, start_node
from trained_here import train_here

from jobs.train import TrainJob
from reviewllm.failpoints import VARIABLE
from reviewllm.sft.adapter import CURVE_FILE
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

pytestmark = pytest.mark.ray

PROJECT = Path(__file__).resolve().parents[2]
STEPS, SAVE_STEPS = 18, 3
WEIGHTS = "adapter/adapter_model.safetensors"
DEADLINE_S = 240  # of one training; a loaded machine needs a third of it
SETTINGS = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}  # of Ray Train's look at its workers; 2 s by default


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base whose steps take a few tenths of a second, and with examples of 20 users."""
    folder = tmp_path_factory.mktemp("trial")
    config = TinyBaseConfig(base_vocabulary=300, base_hidden=64, base_layers=3, base_steps=0)
    make_tiny_base([WORDS], folder / "base", config, context=1024)
    history = [entry(number, title=f"Rake {number}", review=WORDS[number % 3] * 3) for number in range(12)]
    rows = [
        example(
            example_id=f"e{user}-{bought}",
            user_id=f"u{user}",
            history=history[user % 3 : bought],
            reference=WORDS[(user + bought) % 3],
        )
        for user in range(20)
        for bought in range(6, 12)
    ]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "examples" / "shard.parquet", EXAMPLES)
    return folder


def options_of(trial: Path, out: Path, workers: int) -> dict[str, Any]:
    """The options of a training."""
    return {
        "base_model": str(trial / "base"),
        "examples": str(trial / "examples"),
        "out": out,
        "num_workers": workers,
        "per_device_train_batch_size": 8 // workers,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 3,
        "max_steps": STEPS,
        "save_steps": SAVE_STEPS,
        "max_failures": 20,
        "learning_rate": 1e-3,
        "warmup_steps": 4,
        "lr_scheduler_type": "cosine",
        "lora_dropout": 0.1,
        "validation_fraction": 0.2,
        "eval_steps": 6,
        "max_prompt_tokens": 900,
        "max_response_tokens": 60,
        "max_sequence_tokens": 1024,
    }


class Node:
    """A Ray node of two CPUs that outlives its drivers and may be lost."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.failpoints = folder / f"failpoints-{port}.json"
        self.environment = {**node_environment(), **SETTINGS, VARIABLE: str(self.failpoints)}
        self._temporary = Path(f"/tmp/reviewllm-recovery-{port}")  # Ray's socket names must be short
        flags = ["--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={self._temporary}"]
        self.process = start_node(self.environment, folder / f"node-{port}.log", *flags)

    def lose(self) -> None:
        """SIGKILL all of it."""
        kill_tree(self.process)
        shutil.rmtree(self._temporary, ignore_errors=True)


class Training:
    """A training as its own process, which can lose workers, its driver or its node."""

    def __init__(self, node: Node, trial: Path, out: Path, workers: int, *, killed_writing: int | None = None) -> None:
        """Start; the first worker is killed in the middle of writing the checkpoint of step `killed_writing`."""
        self.node = node
        self.checkpoints = out / "checkpoints" / "adapter"
        self.log = out / "log.txt"
        out.mkdir(parents=True, exist_ok=True)
        options = {**options_of(trial, out, workers), "ray_address": node.address}
        flags = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
        wanted = {"do": "kill", "hit": 2, "folder": str(out / "hits")}  # behind the second file
        failpoints = {f"put checkpoint-{killed_writing:08d}": wanted} if killed_writing else {}
        node.failpoints.write_text(json.dumps(failpoints))
        with open(self.log, "ab") as log:
            self.driver = psutil.Popen(
                [sys.executable, "jobs/train.py", *flags, "--no-track"],
                cwd=PROJECT,
                stdout=log,
                stderr=log,
                env=node.environment,
            )

    def workers(self) -> list[psutil.Process]:
        """The living processes of Ray Train's workers, in no order."""
        found = []
        for process in self.node.process.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                named = "RayTrainWorker" in process.name() or "RayTrainWorker" in " ".join(process.cmdline())
                if named and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kill(self, victims: list[psutil.Process]) -> None:
        """SIGKILL some workers, and wait until Ray Train has ended the others of their group too."""
        group = set(self.workers())
        for victim in victims:
            victim.kill()
        self.wait_until(lambda: not group & set(self.workers()))

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Look very often; fails with the log where the training ends or hangs before."""
        end = time.monotonic() + DEADLINE_S
        while not happened():
            assert self.driver.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.0005)

    def last_step(self) -> int:
        """The step of the last checkpoint that is there; 0 without one."""
        return max((int(path.name[-8:]) for path in self.checkpoints.glob("checkpoint-*")), default=0)

    def resumed(self) -> list[int]:
        """The steps after which this training and those before it in the same folder have gone on."""
        steps = [int(step) for step in re.findall(r"goes on after step (\d+)", self.log.read_text())]
        assert steps == sorted(steps)
        assert all(step % SAVE_STEPS == 0 for step in steps)
        return steps

    def end(self) -> int:
        """Wait for the end; the exit status."""
        return self.driver.wait(DEADLINE_S)

    def kill_everything(self) -> None:
        """SIGKILL the driver and its node: what a lost head node leaves."""
        kill_tree(self.driver)
        self.node.lose()


@pytest.fixture
def start(trial: Path, tmp_path: Path) -> Iterator[Callable[..., Training]]:
    """Starts trainings in one folder, on a node that is there or a new one; what still runs at the end is ended."""
    trainings: list[Training] = []

    def training(workers: int, **options: Any) -> Training:
        there = trainings and trainings[-1].node.process.is_running()
        node = trainings[-1].node if there else Node(tmp_path)
        trainings.append(Training(node, trial, tmp_path / "killed", workers, **options))
        return trainings[-1]

    yield training
    for one in trainings:
        one.kill_everything()


def curve(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "adapter" / CURVE_FILE).read_text().splitlines()]


def undisturbed(trial: Path, out: Path, workers: int) -> Path:
    """The folder of a training that nothing happened to, and that no Ray had a part in."""
    train_here(TrainJob(**options_of(trial, out, workers)))
    return out


def assert_same(out: Path, expected: Path) -> None:
    """Curve and adapter are equal to the bit, and nothing is left aside."""
    assert [row["step"] for row in curve(out)] == list(range(1, STEPS + 1))
    assert curve(out) == curve(expected)
    assert (out / WEIGHTS).read_bytes() == (expected / WEIGHTS).read_bytes()
    assert not [path for path in (out / "checkpoints" / "adapter").iterdir() if path.name.startswith(".")]


def test_two_workers_killed_one_after_the_other_end_as_if_nothing_had_happened(
    trial: Path, tmp_path: Path, start: Callable[..., Training]
) -> None:
    training = start(2, killed_writing=5 * SAVE_STEPS)
    training.wait_until(lambda: len(training.workers()) == 2 and training.checkpoints.is_dir())
    time.sleep(1)
    training.kill(training.workers()[:1])
    assert training.last_step() == 0  # before the first checkpoint
    for victims, step in ((slice(0, 1), SAVE_STEPS), (slice(1, 2), 2 * SAVE_STEPS)):  # another one each time, in mid-step
        training.wait_until(lambda step=step: training.last_step() >= step and len(training.workers()) == 2)  # type: ignore[misc]
        time.sleep(0.3)
        training.kill(training.workers()[victims])
    assert training.end() == 0, training.log.read_text()
    assert training.resumed()[-1] == 4 * SAVE_STEPS  # the one that was being written is not there
    assert len(training.resumed()) == 3
    assert_same(tmp_path / "killed", undisturbed(trial, tmp_path / "undisturbed", 2))


def test_one_worker_interrupted_killed_and_without_its_driver_ends_as_if_nothing_had_happened(
    trial: Path, tmp_path: Path, start: Callable[..., Training]
) -> None:
    out = tmp_path / "killed"
    training = start(1)
    training.wait_until(lambda: training.last_step() > 0)
    training.driver.send_signal(signal.SIGINT)  # Ctrl-C
    assert training.end() == 130
    assert "the same command goes on" in training.log.read_text()

    training = start(1, killed_writing=4 * SAVE_STEPS)
    training.wait_until(lambda: 3 * SAVE_STEPS in training.resumed())
    training.kill_everything()  # the driver with all of its Ray
    assert not (out / "adapter").exists()

    again = start(1)
    assert again.end() == 0, again.log.read_text()
    assert len(again.resumed()) >= 2
    expected = undisturbed(trial, tmp_path / "undisturbed", 1)
    assert_same(out, expected)

    (out / WEIGHTS).unlink()  # a start of a finished training trains nothing, and puts its adapter in place again
    once_more = start(1)
    assert once_more.end() == 0
    assert once_more.resumed() == again.resumed()
    assert_same(out, expected)
