"""A backfill over three machines of which one is lost, cut off, or was the head: its night is exact all the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from faults import Faults
from kill_matrix import At, Trial, make_examples
from namespaces import Machine
from ray_machines import RayMachines
from ray_nodes import kill_tree, wait_until

pytestmark = pytest.mark.cluster

# An engine takes more than half of a worker's two CPUs: Ray may not put both on one, however the small actors lie.
TWO_ENGINES = ["--num-engines", "2", "--cpus-per-engine", "1.25", "--shards-in-flight", "1"]
ENGINE, SCORER = "ShardGenerator", "ShardScorer"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_examples(tmp_path_factory.mktemp("made"))


class Night:
    """A night under way on the cluster, with an engine on each of two workers."""

    def __init__(self, cluster: RayMachines, made: Path, data: Path) -> None:
        self._cluster = cluster
        slow = ["--rule-concurrency", "1", "--rule-delay-s", "0.4"]
        self.trial = Trial(cluster, made, data, *TWO_ENGINES, *slow)
        self._driver: psutil.Popen | None = None

    def start(self, *events: At) -> Path:
        """Begin, and wait until an engine is on each worker, and three shards are staged; returns the folder of marks."""
        self._driver, hits = self.trial.start(*events)
        self.wait_until(lambda: len(self.trial.staged()) >= 3 and len(self.engines()) == len(self._cluster.workers))
        return hits

    def start_again(self) -> None:
        """Run the same night once more, under the present head."""
        if self._driver is not None:
            kill_tree(self._driver)  # it has ended already, or was lost with the head
        self._driver, _ = self.trial.start()

    def wait_until(self, happened: Callable[[], bool]) -> float:
        """Wait while the driver is alive; returns when it happened (monotonic)."""
        driver = self._driver
        assert driver is not None
        wait_until(happened, lambda: driver.poll() is None, self.trial.log)
        return time.monotonic()

    def wait_until_dead(self, dead: Callable[[str], float | None], machine: Machine) -> float:
        """Wait until Ray says that this machine is; returns when it did (monotonic)."""
        self.wait_until(lambda: dead(machine.address) is not None)
        return dead(machine.address) or 0.0

    def engines(self) -> set[str]:
        """The machines, of those that belong to the cluster, on which an engine is."""
        return {node.machine.name for node in self._cluster.workers if node.runs and node.machine.named(ENGINE)}

    def end(self) -> tuple[int, int]:
        """The driver ends well; returns rows lost and rows twice."""
        assert self._driver is not None
        try:
            assert self._driver.wait(180) == 0, self.trial.log.read_text()
        finally:
            kill_tree(self._driver)
        return self.trial.lost_and_twice()


def test_backfill_survives_the_loss_of_a_worker_and_uses_its_replacement(
    machines: RayMachines, made: Path, tmp_path: Path, faults: Faults
) -> None:
    machines.complete()
    night = Night(machines, made, tmp_path / "data")
    with machines.watched() as dead:
        night.start()
        lost = machines.workers[0].machine
        lost.lose()
        since = time.monotonic()
        noticed = night.wait_until_dead(dead, lost)
        machines.complete()
        replacement, joined = machines.workers[-1].machine.name, time.monotonic()
        used = night.wait_until(lambda: len(night.engines()) == 2)
    assert replacement in night.engines()
    result = night.end()
    night.trial.check()
    faults.record("backfill", "worker node killed, another one joins", since, noticed, used, result)
    faults.record("backfill", "  of it: the new node gets its engine", joined, None, used, result)


def test_backfill_survives_a_cut_link_and_the_return_of_the_node(
    machines: RayMachines, made: Path, tmp_path: Path, faults: Faults
) -> None:
    machines.complete()
    night = Night(machines, made, tmp_path / "data")
    with machines.watched() as dead:
        night.start()
        node = machines.workers[0]
        node.machine.cut()
        since = time.monotonic()
        noticed = night.wait_until_dead(dead, node.machine)
        assert node.runs  # nothing fences it: its engine goes on, and its scorer writes
        node.machine.restore()
        restored = time.monotonic()
        night.wait_until(lambda: not node.runs)  # it hears that it is dead, and ends itself; a supervisor starts it again
        machines.join(node.machine)
        machines.complete()
        used = night.wait_until(lambda: len(night.engines()) == 2)
    result = night.end()
    night.trial.check()
    faults.record("backfill", "link of a node cut and restored", since, noticed, used, result)
    faults.record("backfill", "  of it: after the link is back", restored, None, used, result)


def test_backfill_goes_on_under_a_new_head_while_the_old_workers_still_write(
    machines: RayMachines, made: Path, tmp_path: Path, faults: Faults
) -> None:
    machines.complete()
    night = Night(machines, made, tmp_path / "data")
    hang = At("stage", do="hang", hit=4)
    hits = night.start(hang)
    night.wait_until(lambda: (hits / "stage.4").exists())  # an actor is about to write a shard
    old = [node.machine for node in machines.workers]
    machines.head_machine.lose()
    since = time.monotonic()
    machines.complete()  # a new head, and new machines
    assert any(machine.named(SCORER) for machine in old)
    staged = night.trial.staged()
    night.start_again()
    used = night.wait_until(lambda: night.trial.staged().keys() > staged.keys())
    result = night.end()
    published = {file: file.stat().st_mtime_ns for file in (tmp_path / "data" / "generations").rglob("dt=*/*")}
    (hits / "stage.4.go").touch()  # the old actor writes now, after the night was published
    wait_until(lambda: bool(night.trial.staged()), lambda: True, night.trial.log)
    assert {file: file.stat().st_mtime_ns for file in published} == published
    for machine in old:
        machine.lose()
    night.start_again()  # the next run has nothing to do but to clean up
    assert night.end() == result
    night.trial.check()
    faults.record("backfill", "head node killed, old workers write on", since, None, used, result)


def test_backfill_with_vllm_on_two_machines_writes_every_row_once(machines: RayMachines, tmp_path: Path) -> None:
    machines.complete()
    # An untrained base writes noise, and greedily nothing but one word.
    options = ["--engine", "vllm", "--temperature", "1.0", "--max-failed-fraction", "1", *TWO_ENGINES]
    trial = Trial(machines, make_examples(tmp_path / "made", hidden=64), tmp_path / "data", *options)
    driver, _ = trial.start()
    seen: set[str] = set()
    try:
        while driver.poll() is None:
            seen |= {node.machine.name for node in machines.workers if node.machine.named("VLLM::EngineCore")}
            time.sleep(0.5)
    finally:
        kill_tree(driver)
    assert driver.returncode == 0, trial.log.read_text()
    assert seen == {node.machine.name for node in machines.workers}
    assert trial.lost_and_twice() == (0, 0)
    assert trial.published()["completion_tokens"].sum() > 0
