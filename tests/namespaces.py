"""Machines in miniature: network namespaces on one bridge, each with an address, a host name and an /etc/hosts of its own.

Processes share the file system (it stands for NFS), the memory and the process table. All is removed at the end, and only
processes that run in these namespaces are ended.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

_NETWORKS = itertools.count()  # of this process


class Machine(NamedTuple):
    """One namespace: its name is its host name too."""

    name: str
    address: str
    link: str  # the bridge's end of its cable
    hosts: Path

    def command(self, *arguments: str) -> list[str]:
        """What runs a command there. (`ip netns exec` would mount another /sys, without which slurmd does not start.)"""
        inside = 'mount --bind "$1" /etc/hosts && hostname "$2" && shift 2 && exec "$@"'
        enter = ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--uts", "--mount"]
        return [*enter, "sh", "-c", inside, "sh", str(self.hosts), self.name, *arguments]

    def processes(self) -> list[psutil.Process]:
        """All that runs there."""
        pids = _ip("netns", "pids", self.name).split()
        found = []
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(pid)))
        return found

    def named(self, name: str) -> list[psutil.Process]:
        """The processes there that have this in their command line."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if any(name in word for word in process.cmdline()):
                    found.append(process)
        return found

    def lose(self) -> None:
        """SIGKILL all that runs there, as when the machine loses its power."""
        for _ in range(20):
            processes = self.processes()
            if not processes:
                return
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.1)
        raise AssertionError(f"{self.name}: processes survive SIGKILL: {self.processes()}")

    def cut(self) -> None:
        """Pull its network cable."""
        _ip("link", "set", self.link, "down")

    def restore(self) -> None:
        """Put the cable back."""
        _ip("link", "set", self.link, "up")


class Network:
    """A bridge, and the machines on it; `bridge_address` is that of the machine that the tests themselves run on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tag = f"{os.getpid() % 100_000:05d}{next(_NETWORKS)}"
        self._bridge = f"rlb{self._tag}"
        self._subnet = _free_subnet()
        self.machines: list[Machine] = []
        self.bridge_address = f"{self._subnet}.254"
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self.bridge_address}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def add(self) -> Machine:
        """One more machine."""
        number = len(self.machines) + 1
        name, link, address = f"rl{self._tag}n{number}", f"rlv{self._tag}n{number}", f"{self._subnet}.{number}"
        hosts = self._folder / f"hosts-{name}"
        machine = Machine(name, address, link, hosts)
        self.machines.append(machine)
        self._write_hosts()
        _ip("netns", "add", name)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", link, "master", self._bridge, "up")
        for arguments in (
            ["addr", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
        ):
            _ip("-n", name, *arguments)
        return machine

    def _write_hosts(self) -> None:
        """Every machine knows all names; in place, as running ones have the file mounted."""
        lines = ["127.0.0.1 localhost", *(f"{one.address} {one.name}" for one in self.machines)]
        for machine in self.machines:
            machine.hosts.write_text("\n".join(lines) + "\n")

    def remove(self) -> None:
        """End what runs on the machines, and take all away."""
        for machine in self.machines:
            with contextlib.suppress(subprocess.CalledProcessError):
                machine.lose()
                _ip("link", "del", machine.link)
                _ip("netns", "del", machine.name)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._bridge)


def why_not() -> str | None:
    """Why there can be no namespaces here; None where there can."""
    lacking = [tool for tool in ("ip", "nsenter", "unshare") if not shutil.which(tool)]
    if lacking:
        return f"needs {', '.join(lacking)} (Debian: iproute2, util-linux), which is not there"
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    name = f"rlprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"network namespaces are not allowed here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


@contextlib.contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A network without machines, removed at the end."""
    made = Network(folder)
    try:
        yield made
    finally:
        made.remove()


def _free_subnet() -> str:
    used = _ip("-o", "addr")
    return next(subnet for number in range(50, 200) if f" {(subnet := f'10.77.{number}')}." not in used)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout
