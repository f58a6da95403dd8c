"""A Ray cluster over machines in miniature (namespaces.py): machines are lost, cut off, brought back and replaced."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from namespaces import Machine, Network, network
from ray_nodes import RAY, kill_tree, node_environment, wait_until

from reviewllm.failpoints import VARIABLE

PROJECT = Path(__file__).resolve().parents[1]
# Tighter than cluster/README.md recommends, so that a node that is cut off is noticed after some six seconds.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
# Workers of a lost head would end after a minute; here they stay, so that they can do harm.
_STAY = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
_FIRST_PORT = 6400


class Node(NamedTuple):
    """A Ray node: `ray start --block` on a machine."""

    machine: Machine
    process: psutil.Popen

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None


class RayMachines:
    """A head without CPUs, and workers of two CPUs each; what was lost is made up for by `complete`."""

    def __init__(self, net: Network, folder: Path, *, dashboard: bool = False, head_cpus: int = 0) -> None:
        """Start nothing yet; `dashboard` brings the Jobs API and the metrics' service discovery, for some seconds more."""
        self._net, self._folder, self._dashboard, self._head_cpus = net, folder, dashboard, head_cpus
        self._temporary = Path(f"/tmp/{net.add().name}")  # Ray's socket names must be short
        self._heads = 0
        self.failpoints = folder / "failpoints.json"
        self.environment = {**node_environment(), **HEALTH, **_STAY, VARIABLE: str(self.failpoints)}
        del self.environment["GLOO_SOCKET_IFNAME"]  # the machines' names lead to their addresses
        self._started: list[psutil.Popen] = []
        self.head: Node | None = None
        self.workers: list[Node] = []

    @property
    def head_machine(self) -> Machine:
        """Where the head and the drivers run."""
        return self._net.machines[0]

    @property
    def address(self) -> str:
        """Of the present head's GCS."""
        return f"{self.head_machine.address}:{_FIRST_PORT + self._heads}"

    @property
    def session(self) -> Path:
        """Ray's session folder of the present head."""
        return self._temporary / f"head{self._heads}" / "session_latest"

    def complete(self, workers: int = 2) -> None:
        """Have a head, and so many workers, each on a machine of its own."""
        if self.head is None or not self.head.runs:
            self.start_head()
        self.workers = [node for node in self.workers if node.runs]
        while len(self.workers) < workers:
            self.join(self._net.add())

    def start_head(self) -> Node:
        """A new cluster, on another port: survivors of the last one look for that."""
        self._heads += 1
        self.workers = []
        arguments = ["--head", f"--port={_FIRST_PORT + self._heads}", f"--num-cpus={self._head_cpus}"]
        arguments.append(f"--dashboard-host={self.head_machine.address}" if self._dashboard else "--include-dashboard=false")
        self.head = self._start(self.head_machine, f"head{self._heads}", *arguments)
        return self.head

    def join(self, machine: Machine) -> Node:
        """A worker of two CPUs on this machine."""
        node = self._start(machine, f"{machine.name}-{time.monotonic_ns()}", f"--address={self.address}", "--num-cpus=2")
        self.workers.append(node)
        return node

    def _start(self, machine: Machine, name: str, *arguments: str) -> Node:
        command = [str(RAY), "start", "--block", f"--node-ip-address={machine.address}", "--object-store-memory=150000000"]
        temporary = self._temporary / (name if name.startswith("head") else name.rpartition("-")[2][-6:])
        log = self._folder / f"{name}.log"
        with open(log, "wb") as stream:
            process = psutil.Popen(
                machine.command(*command, f"--temp-dir={temporary}", *arguments),
                env=self.environment,
                stdout=stream,
                stderr=stream,
            )
        self._started.append(process)
        wait_until(lambda: "Ray runtime started" in log.read_text(), lambda: process.poll() is None, log)
        return Node(machine, process)

    def on_head(self, command: Sequence[str]) -> list[str]:
        """What runs a command on the head's machine."""
        return self.head_machine.command(*command)

    def start(self, command: Sequence[str], log: Path) -> psutil.Popen:
        """Run something on the head's machine, in the project."""
        with open(log, "ab") as stream:
            return psutil.Popen(self.on_head(command), cwd=PROJECT, env=self.environment, stdout=stream, stderr=stream)

    def processes(self, name: str) -> list[psutil.Process]:
        """The actors of this name on workers that run."""
        return [process for node in self.workers if node.runs for process in node.machine.named(name)]

    @contextmanager
    def watched(self) -> Iterator[Callable[[str], float | None]]:
        """A process on the head that looks who is alive; yields when (monotonic) a machine's address was first seen dead."""
        log = self._folder / f"watch-{time.monotonic_ns()}.jsonl"
        watcher = self.start([sys.executable, str(Path(__file__).with_name("watch_nodes.py")), self.address], log)
        try:
            wait_until(lambda: "alive" in log.read_text(), lambda: watcher.poll() is None, log)

            def dead(address: str) -> float | None:
                events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
                return next((event["at"] for event in events if event["address"] == address and not event["alive"]), None)

            yield dead
        finally:
            kill_tree(watcher)

    def remove(self) -> None:
        """End all that runs on the machines, and remove Ray's folders."""
        for machine in self._net.machines:
            machine.lose()
        for process in self._started:
            process.wait(20)
        shutil.rmtree(self._temporary, ignore_errors=True)


@contextmanager
def ray_machines(folder: Path, *, dashboard: bool = False, head_cpus: int = 0) -> Iterator[RayMachines]:
    """A network with a cluster, both removed at the end."""
    with network(folder) as net:
        cluster = RayMachines(net, folder, dashboard=dashboard, head_cpus=head_cpus)
        try:
            yield cluster
        finally:
            cluster.remove()
