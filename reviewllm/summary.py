"""summary.json of a run folder: rows in and out of every step, its seconds and its configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

SUMMARY = "summary.json"


def read_summary(out: Path) -> dict[str, Any]:
    """The summary of a run folder; an empty one where none was written yet."""
    path = out / SUMMARY
    if not path.is_file():
        return {"steps": [], "config": {}}
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
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
    summary = read_summary(out)
    entry = {"step": name, "rows_in": rows_in, "rows_out": rows_out, "seconds": round(seconds, 1), "counts": counts}
    steps = summary["steps"]
    places = [place for place, step in enumerate(steps) if step["step"] == name]
    if places:
        steps[places[0]] = entry
    else:
        steps.append(entry)
    summary["config"][name] = config.model_dump(mode="json", exclude={"config"})
    summary.update(more)
    out.mkdir(parents=True, exist_ok=True)
    aside = out / f".{SUMMARY}.tmp"
    aside.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(aside, out / SUMMARY)
