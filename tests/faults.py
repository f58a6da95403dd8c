"""The table of faults: what was done to a cluster, how long it took to notice and to recover, and what it cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

_KEPT = Path(__file__).resolve().parents[1] / "out" / "cluster-faults.jsonl"


class Fault(NamedTuple):
    """One fault; seconds from it until the cluster knew (None: nobody was left to know) and until all ran again; rows or steps
    that the result lacks, or has too many.
    """

    job: str
    fault: str
    noticed_s: float | None
    recovered_s: float
    lost: int
    twice: int


class Faults:
    """All faults of a session of tests; each is appended to out/cluster-faults.jsonl too."""

    def __init__(self) -> None:
        self.seen: list[Fault] = []

    def record(
        self, job: str, fault: str, since: float, noticed: float | None, recovered: float, result: tuple[int, int]
    ) -> None:
        """Note a fault of the time `since`; times are monotonic, `result` is (lost, twice)."""
        row = Fault(job, fault, None if noticed is None else noticed - since, recovered - since, *result)
        self.seen.append(row)
        _KEPT.parent.mkdir(exist_ok=True)
        with open(_KEPT, "a", encoding="utf-8") as file:
            file.write(json.dumps(row._asdict()) + "\n")

    def lines(self) -> list[str]:
        """The table."""
        head = f"{'job':<10}{'fault':<54}{'noticed s':>10}{'recovered s':>12}{'lost':>6}{'twice':>6}"
        return [head, *(self._line(fault) for fault in self.seen)]

    def _line(self, fault: Fault) -> str:
        noticed = "-" if fault.noticed_s is None else f"{fault.noticed_s:.1f}"
        return f"{fault.job:<10}{fault.fault:<54}{noticed:>10}{fault.recovered_s:>12.1f}{fault.lost:>6}{fault.twice:>6}"
