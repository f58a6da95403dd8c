"""A training over three machines of which one is lost, cut off, or was the head ends as if nothing had happened."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from conftest import WORDS, entry, example
from faults import Faults
from namespaces import Machine
from ray_machines import RayMachines
from ray_nodes import TIMEOUT_S, kill_tree, wait_until

from reviewllm.sft.adapter import CURVE_FILE
from reviewllm.sft.checkpoint import checkpoint_name
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

pytestmark = pytest.mark.cluster

STEPS = 24
WORKER = "RayTrainWorker"


class Training:
    """A training by two workers, on two machines where there are two."""

    def __init__(self, cluster: RayMachines, made: Path, out: Path) -> None:
        self._cluster, self._made, self.out = cluster, made, out
        self.log, self._marks = out.with_suffix(".log"), out.with_suffix(".marks")
        self._driver: psutil.Popen | None = None

    def start(self) -> None:
        """Begin, or go on with, the training."""
        self.stop()
        options = {
            "base-model": self._made / "base",
            "examples": self._made / "examples",
            "out": self.out,
            "per-device-train-batch-size": 4,
            "gradient-accumulation-steps": 1,
            "num-train-epochs": STEPS // 8,
            "save-steps": 2,
            "learning-rate": 1e-3,
            "max-prompt-tokens": 900,
            "max-response-tokens": 60,
            "max-sequence-tokens": 1024,
            "cpus-per-worker": 2,  # all of a machine: one is not enough for both
            "ray-address": self._cluster.address,
        }
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self._driver = self._cluster.start([sys.executable, "jobs/train.py", *flags, "--no-track"], self.log)

    def stop(self) -> None:
        """End the driver, where it has not ended or was not lost."""
        if self._driver is not None:
            kill_tree(self._driver)

    def wait_until(self, happened: Callable[[], bool]) -> float:
        """Wait while the driver is alive; returns when it happened (monotonic)."""
        driver = self._driver
        assert driver is not None
        wait_until(happened, lambda: driver.poll() is None, self.log)
        return time.monotonic()

    def wait_for(self, step: int) -> None:
        """Wait until the workers are on two machines and the first of them is about to write this step's checkpoint."""
        self.wait_until(lambda: self._mark(step).exists() and len(self.machines()) == 2)

    def let_write(self, step: int) -> None:
        """Let what hangs at this step's checkpoint write it."""
        self._mark(step).with_suffix(".1.go").touch()

    def hang_at(self, *steps: int) -> None:
        """Whoever is the first to write these steps' checkpoints hangs in the middle of it."""
        hang = {"do": "hang", "hit": 1, "folder": str(self._marks)}
        self._cluster.failpoints.write_text(json.dumps({f"put {checkpoint_name(step)}": hang for step in steps}))

    def _mark(self, step: int) -> Path:
        return self._marks / f"put {checkpoint_name(step)}.1"

    def wait_until_dead(self, dead: Callable[[str], float | None], machine: Machine) -> float:
        """Wait until Ray says that this machine is; returns when it did (monotonic)."""
        self.wait_until(lambda: dead(machine.address) is not None)
        return dead(machine.address) or 0.0

    def machines(self) -> set[str]:
        """The machines of the cluster on which a worker is."""
        return {node.machine.name for node in self._cluster.workers if node.runs and node.machine.named(WORKER)}

    def resumed(self) -> int:
        """How often the workers went on from a checkpoint."""
        return self.log.read_text().count("goes on after step")

    def end(self) -> tuple[list[dict[str, float]], bytes]:
        """The driver ends well; returns the loss curve and the weights."""
        assert self._driver is not None
        try:
            assert self._driver.wait(TIMEOUT_S) == 0, self.log.read_text()
        finally:
            self.stop()
        curve = [json.loads(line) for line in (self.out / "adapter" / CURVE_FILE).read_text().splitlines()]
        return curve, (self.out / "adapter" / "adapter_model.safetensors").read_bytes()


def lost_and_twice(curve: list[dict[str, float]]) -> tuple[int, int]:
    """Steps that a curve lacks, and that it has too many."""
    steps = [step["step"] for step in curve]
    return STEPS - len(set(steps)), len(steps) - len(set(steps))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    size = TinyBaseConfig(base_vocabulary=300, base_hidden=64, base_layers=3, base_steps=0)
    make_tiny_base([WORDS], folder / "base", size, context=1024)
    history = [entry(number, review=WORDS[number % 3] * 3) for number in range(10)]
    rows = [example(example_id=f"e{n}", user_id=f"u{n}", history=history, reference=WORDS[n % 3]) for n in range(64)]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "examples" / "a.parquet", EXAMPLES)
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    machines: RayMachines, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[dict[str, float]], bytes]:
    """What the training comes to where nothing happens."""
    machines.complete()
    training = Training(machines, made, tmp_path_factory.mktemp("undisturbed") / "run")
    training.start()
    return training.end()


def test_training_survives_lost_and_cut_machines(
    machines: RayMachines, made: Path, undisturbed: tuple[list[dict[str, float]], bytes], tmp_path: Path, faults: Faults
) -> None:
    machines.complete()
    training = Training(machines, made, tmp_path / "run")
    with machines.watched() as dead:
        training.hang_at(6, 14)
        training.start()
        training.wait_for(6)
        lost = machines.workers[0].machine
        lost.lose()
        killed = time.monotonic()
        noticed_kill = training.wait_until_dead(dead, lost)
        machines.complete()
        replacement = machines.workers[-1].machine.name
        recovered_kill = training.wait_until(lambda: training.resumed() == 1)

        training.wait_for(14)
        used = training.machines()
        cut = machines.workers[0]
        cut.machine.cut()
        pulled = time.monotonic()
        noticed_cut = training.wait_until_dead(dead, cut.machine)
        training.let_write(14)  # nothing fences the cut machine: where the writer is there, it writes
        cut.machine.restore()
        training.wait_until(lambda: not cut.runs)
        machines.join(cut.machine)
        machines.complete()
        recovered_cut = training.wait_until(lambda: training.resumed() == 2)
    assert replacement in used
    result = training.end()
    assert result == undisturbed
    cost = lost_and_twice(result[0])
    faults.record("training", "worker node killed, another one joins", killed, noticed_kill, recovered_kill, cost)
    faults.record("training", "link of a node cut and restored", pulled, noticed_cut, recovered_cut, cost)


def test_training_goes_on_under_a_new_head(
    machines: RayMachines, made: Path, undisturbed: tuple[list[dict[str, float]], bytes], tmp_path: Path, faults: Faults
) -> None:
    machines.complete()
    training = Training(machines, made, tmp_path / "run")
    training.hang_at(6)
    training.start()
    training.wait_for(6)
    old = [node.machine for node in machines.workers]
    machines.head_machine.lose()
    since = time.monotonic()
    machines.complete()  # a new head, and new machines; the old workers are still there
    assert any(machine.named(WORKER) for machine in old)
    training.start()
    recovered = training.wait_until(lambda: training.resumed() == 1)
    result = training.end()
    assert result == undisturbed
    training.let_write(6)  # the old workers go on, beside what the new ones have done
    time.sleep(3)
    assert training.end() == undisturbed
    for machine in old:
        machine.lose()
    faults.record("training", "head node killed, submitted to a new one", since, None, recovered, lost_and_twice(result[0]))
