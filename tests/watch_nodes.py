"""Prints who comes and goes in a Ray cluster, as seen by a driver: python tests/watch_nodes.py <address>."""

from __future__ import annotations

import json
import sys
import time

import ray


def main() -> None:
    """One JSON line a change, until killed."""
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
    before: dict[str, tuple[str, bool]] = {}
    while True:
        now = {node["NodeID"]: (node["NodeManagerAddress"], bool(node["Alive"])) for node in ray.nodes()}
        for name, (address, alive) in now.items():
            if before.get(name) != (address, alive):
                print(json.dumps({"at": time.monotonic(), "address": address, "alive": alive}), flush=True)
        before = now
        time.sleep(0.2)


if __name__ == "__main__":
    main()
