"""Ray nodes as processes of their own, on loopback, that a test may lose."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

RAY = Path(sys.executable).parent / "ray"
TIMEOUT_S = 240


def node_environment() -> dict[str, str]:
    """The environment of the nodes and drivers of one cluster, with a token of its own."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "GLOO_SOCKET_IFNAME": "lo",
    }


def start_node(environment: dict[str, str], log: Path, *arguments: str) -> psutil.Popen:
    """`ray start --block`, until the node says that it runs."""
    with open(log, "wb") as stream:
        node = psutil.Popen(
            [str(RAY), "start", "--block", "--node-ip-address=127.0.0.1", "--object-store-memory=200000000", *arguments],
            env=environment,
            stdout=stream,
            stderr=stream,
        )
    wait_until(lambda: "Ray runtime started" in log.read_text(), lambda: node.poll() is None, log)
    return node


def wait_until(happened: Callable[[], bool], alive: Callable[[], bool], log: Path) -> None:
    """Look often; fails with the log where the process is not alive any more, or nothing happens."""
    end = time.monotonic() + TIMEOUT_S
    while not happened():
        assert alive(), log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def kill_tree(process: psutil.Popen) -> None:
    """SIGKILL a process and all that it started, and no other."""
    tree = [*process.children(recursive=True), process] if process.is_running() else []
    for one in tree:
        if one.is_running():
            one.kill()
    psutil.wait_procs(tree, timeout=20)
