"""summary.json of a run folder: rows in and out of every step, its seconds and its configuration."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from reviewllm.errors import InputError

SUMMARY = "summary.json"


def read_summary(out: Path) -> dict[str, Any]:
    """The summary of a run folder; an empty one where none was written yet.

    Raises:
        InputError: it is not JSON.
    """
    path = out / SUMMARY
    if not path.is_file():
        return {"steps": [], "config": {}}
    try:
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); remove it, the next step writes it anew") from error
    if not (isinstance(loaded, dict) and "steps" in loaded and "config" in loaded):
        raise InputError(f"{path}: is no summary, which has 'steps' and 'config'; remove it, the next step writes it anew")
    return loaded


def record_step(
    out: Path,
    name: str,
    config: BaseModel,
    *,
    rows_in: int,
    rows_out: int,
    seconds: float,
    counts: dict[str, Any],
    **more: Any,
) -> None:
    """Put a step, its configuration and anything else (`more`) into the summary, in place of an earlier run of it."""
    entry = {"step": name, "rows_in": rows_in, "rows_out": rows_out, "seconds": round(seconds, 1), "counts": counts}
    out.mkdir(parents=True, exist_ok=True)
    with open(out / f".{SUMMARY}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two trainings may share a run folder
        summary = read_summary(out)
        steps = {step["step"]: step for step in summary["steps"]} | {name: entry}
        summary["steps"] = list(steps.values())
        summary["config"][name] = config.model_dump(mode="json", exclude={"config"})
        summary.update(more)
        aside = out / f".{SUMMARY}.tmp"
        aside.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(aside, out / SUMMARY)
