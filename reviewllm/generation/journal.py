"""What a shard leaves behind while an engine works on it, so that a row that kills engines is found.

The journal lies beside the shard's output from the start of its generation until the output is there. One that is found
tells that the engine (or its whole process) was lost meanwhile, and which rows it had. The first loss may have nothing
to do with the rows: they all run again, alone. After a further loss they run in halves, each alone, until a single row has
lost two engines by itself: that one is given up. Losses of another run (a driver that was killed) do not count.
"""

from __future__ import annotations

import json
from typing import Any

from reviewllm.errors import StorageError
from reviewllm.generation.engine import Completion, Draft
from reviewllm.generation.failures import HUNG_ENGINE, KILLED_ENGINE, Failure
from reviewllm.place import Place

_DEATHS_ALONE = 2

Result = Completion | Failure


class Journal:
    """The journal of one shard: rows (by number) that are done, and the groups in which the others are to run."""

    def __init__(self, place: Place, name: str, *, rows: int, run: str) -> None:
        """Read it, and judge the rows that an engine of this run (`run`) was lost with."""
        self._place, self._name, self._run = place, name, run
        self.done: dict[int, Result] = {}
        self.groups: list[list[int]] = [list(range(rows))]
        self.losses = 0  # engines of this run that were lost with rows of this shard
        self._alone: dict[int, int] = {}
        self._running: list[int] = []
        found = self._read()
        if found and found["rows"] == rows:
            self._go_on(found)
        self._rows = rows

    @property
    def suspicious(self) -> bool:
        """Whether its groups must have an engine for themselves."""
        return self.losses > 0

    def start(self, group: list[int]) -> None:
        """Note that an engine works on these rows now."""
        self._running = group
        self._write(None)

    def finish(self, results: dict[int, Result]) -> None:
        """Note that the group that was started is done."""
        self.done |= results
        self.groups = [group for group in self.groups if group is not self._running]
        self._running = []

    def give_up(self, results: dict[int, Result], *, hung: bool) -> None:
        """Note, on the way out, that the engine is lost, and which rows of the group it had done."""
        self.done |= results
        self._running = [row for row in self._running if row not in results]
        self._write("hung" if hung else "died")

    def _go_on(self, found: dict[str, Any]) -> None:
        self.done = {int(row): _result(value) for row, value in found["done"].items()}
        self._alone = {int(row): count for row, count in found["alone"].items()}
        running = [row for row in found["running"] if row not in self.done]
        self.groups = [left for group in found["groups"] if (left := [row for row in group if row not in self.done])]
        self.groups = [group for group in self.groups if group != running]
        if found["run"] != self._run:  # that run was ended as a whole
            self.groups = [group for group in [running, *self.groups] if group]
            return
        self.losses = found["losses"] + bool(running)
        if len(running) == 1 and found["losses"]:  # it had the engine for itself
            self._alone[running[0]] = self._alone.get(running[0], 0) + 1
        self.groups = [*self._split(running, hung=found["reason"] == "hung"), *self.groups]

    def _split(self, running: list[int], *, hung: bool) -> list[list[int]]:
        """The groups in which the rows that an engine was lost with run next."""
        if len(running) == 1 and self._alone.get(running[0], 0) >= _DEATHS_ALONE:
            what = "gave no token any more" if hung else "died"
            message = f"{_DEATHS_ALONE} engines that had only this row {what}"
            self.done[running[0]] = Failure("generate", HUNG_ENGINE if hung else KILLED_ENGINE, message, self.losses)
            return []
        if self.losses <= 1 or len(running) == 1:
            return [running] if running else []
        half = len(running) // 2
        return [running[:half], running[half:]]

    def _read(self) -> dict[str, Any] | None:
        if not self._place.exists(self._name):
            return None
        try:
            found: dict[str, Any] = json.loads(self._place.read(self._name))
        except (StorageError, ValueError):  # removed by a second writer meanwhile, or of another version
            return None
        return found

    def _write(self, reason: str | None) -> None:
        content = {
            "run": self._run,
            "rows": self._rows,
            "losses": self.losses,
            "reason": reason,
            "running": self._running,
            "groups": self.groups,
            "alone": self._alone,
            "done": {row: result._asdict() for row, result in self.done.items()},
        }
        self._place.write(self._name, json.dumps(content).encode())


def journal_name(output: str) -> str:
    """The name of an output's journal."""
    folder, _, name = output.rpartition("/")
    return f"{folder}/_{name}.journal" if folder else f"_{name}.journal"


def _result(value: dict[str, Any]) -> Result:
    if "text" not in value:
        return Failure(**value)
    return Completion(**{**value, "drafts": [Draft(*draft) for draft in value.get("drafts", ())]})
