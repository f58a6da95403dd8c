"""Small files: JSON that is checked on its way in, text that appears whole or not at all; who may read files, and by which path."""

from __future__ import annotations

import glob
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from reviewllm.errors import SchemaError

Value = TypeVar("Value")


def read_json(path: Path, kind: TypeAdapter[Value]) -> Value:
    """Read a JSON file as a value of `kind`. NaN and infinities become the text that stands for them.

    Raises:
        SchemaError: the file cannot be read, is not JSON, or holds something else; the message names the first problem.
    """
    try:
        return kind.validate_python(json.loads(path.read_bytes(), parse_constant=str))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the whole file"
        raise SchemaError(f"{path}: {place}: {problem['msg']} ({error.error_count()} problem(s) in all)") from error
    except (OSError, ValueError) as error:
        raise SchemaError(f"{path}: cannot be read as JSON: {error}") from error


def follow_umask(folder: Path) -> None:
    """Give the safetensors of a folder the permissions of new files: the library makes them for their writer alone."""
    new = folder / f".{uuid.uuid4().hex[:8]}.tmp"
    new.touch()
    mode = new.stat().st_mode
    new.unlink()
    for file in folder.glob("*.safetensors"):
        file.chmod(mode)


@contextmanager
def without_patterns(folder: Path) -> Iterator[Path]:
    """A path to a folder for what takes a path for a pattern: itself where it has no [, * and ?, else a link to it."""
    if glob.escape(str(folder)) == str(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="reviewllm-link-") as place:
        link = Path(place) / "folder"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text aside and rename it, so that no reader sees half a file and a crash leaves the earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(aside, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
