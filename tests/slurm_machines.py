"""A real Slurm over machines in miniature: munged, slurmctld and a slurmd on each machine, none of them as a service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from namespaces import Machine, network
from ray_nodes import kill_tree

PROJECT = Path(__file__).resolve().parents[1]
TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "srun")
_CONFIG = """
ClusterName=reviewllm
SlurmctldHost={host}({address})
SlurmctldPort=16817
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=2
KillWait=10
InactiveLimit=0
SlurmdParameters=config_overrides
"""


class Slurm:
    """Nodes of two CPUs; those in the partition `gpu` have a GPU each (for Slurm: there is no device), those in `cpu` none."""

    def __init__(self, folder: Path, address: str, machines: list[Machine], *, with_gpu: int) -> None:
        self._folder, self.machines = folder, machines
        config = _CONFIG.format(host=os.uname().nodename, address=address, folder=folder)
        partitions = {"gpu": machines[:with_gpu], "cpu": machines[with_gpu:]}
        for partition, those in partitions.items():
            gres = " Gres=gpu:1" if partition == "gpu" else ""
            for machine in those:
                config += f"NodeName={machine.name} NodeAddr={machine.address} Port=17001 CPUs=2 RealMemory=4000{gres}\n"
            config += f"PartitionName={partition} Nodes={','.join(one.name for one in those)} State=UP\n"
        (folder / "slurm.conf").write_text(config)
        gpus = ",".join(machine.name for machine in partitions["gpu"])
        (folder / "gres.conf").write_text(f"NodeName={gpus} Name=gpu File=/dev/null\n")
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._started: list[psutil.Popen] = []

    def start(self) -> None:
        """Start all daemons, and wait until every node is idle."""
        (self._folder / "state").mkdir()
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        socket = self._folder / "munge.socket"
        files = [f"--{name}-file={self._folder}/munge.{name}" for name in ("pid", "log", "seed")]
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={socket}", *files)
        self._wait(socket.exists)
        self._daemon("slurmctld", "-D", "-f", self.environment["SLURM_CONF"])
        for machine in self.machines:
            self._daemon(*machine.command("slurmd", "-D", "-N", machine.name, "-f", self.environment["SLURM_CONF"]))
        self._wait(lambda: self._idle() == len(self.machines))

    def _idle(self) -> int:
        return self.run("sinfo", "--noheader", "--Node", "--states=idle", check=False).count("\n")

    def run(self, *command: str, check: bool = True) -> str:
        """One of Slurm's commands, in the project; returns what it prints."""
        done = subprocess.run(
            command, cwd=PROJECT, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, script: str, log: Path, *size: str, flags: list[str], partition: str = "gpu") -> str:
        """sbatch of a shipped script in a size for these nodes; returns the job's id."""
        options = ["--parsable", f"--partition={partition}", "--cpus-per-task=2", f"--output={log}", *size]
        return self.run("sbatch", *options, script, *flags).strip()

    def job(self, name: str) -> dict[str, str]:
        """What Slurm says of a job: JobState, ExitCode, Restarts ..."""
        return dict(re.findall(r"(\w+)=(\S*)", self.run("scontrol", "show", "job", name)))

    def wait_for(self, name: str, *states: str, timeout_s: float = 240) -> dict[str, str]:
        """Wait until a job is in one of these states. (`sbatch --wait` looks ever more seldom.)"""
        end = time.monotonic() + timeout_s
        while (job := self.job(name))["JobState"] not in states:
            assert time.monotonic() < end, job
            time.sleep(0.3)
        return job

    def stop(self) -> None:
        """End the daemons, and what still runs on the machines."""
        for process in reversed(self._started):
            kill_tree(process)
        for machine in self.machines:
            machine.lose()

    def _daemon(self, *command: str) -> None:
        with open(self._folder / f"{Path(command[0]).name}-{len(self._started)}.log", "wb") as log:
            self._started.append(psutil.Popen(command, env=self.environment, stdout=log, stderr=log))

    def _wait(self, happened: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not happened():
            assert time.monotonic() < end, "\n".join(log.read_text() for log in self._folder.glob("*.log"))
            time.sleep(0.1)


def lacking_tools() -> list[str]:
    """What of Slurm is not installed."""
    return [tool for tool in TOOLS if not shutil.which(tool)]


@contextmanager
def slurm_machines(folder: Path, *, with_gpu: int, without: int) -> Iterator[Slurm]:
    """A network with Slurm on it, both removed at the end."""
    with network(folder) as net:
        machines = [net.add() for _ in range(with_gpu + without)]
        slurm = Slurm(folder, net.bridge_address, machines, with_gpu=with_gpu)
        try:
            slurm.start()
            yield slurm
        finally:
            slurm.stop()
