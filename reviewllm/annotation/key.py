"""The key of an export: which pair is of which example and of which models. It stays with the researcher."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from reviewllm.errors import InputError
from reviewllm.files import read_json, write_text

if TYPE_CHECKING:
    from reviewllm.annotation.pairs import Draw, DrawConfig, Pair

KEY_FILE = "key.json"

Split = Literal["simple", "hard"]


class Record(BaseModel):
    """A piece of what annotation keeps: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KeyPair(Record):
    """What the page does not tell: `models` that wrote the text of this pair, and `text_sha256` of that text."""

    pair_id: str
    example_id: str
    models: tuple[str, ...]
    text_sha256: str


class NotShown(Record):
    """A drawn example for which a model wrote nothing that could be shown; it counts as not similar."""

    example_id: str
    model: str
    reason: Literal["failed", "blank"]


class Key(Record):
    """An export: what was drawn how, for whom, and what each pair is.

    `models` come in the order of the report, `examples` were drawn for each of them; `annotators` are those that got a page.
    """

    export_id: str
    exported_at: datetime
    split: Split
    with_rating: bool
    seed: int
    models: tuple[str, ...]
    examples: tuple[str, ...]
    annotators: tuple[str, ...]
    pairs: tuple[KeyPair, ...]
    not_shown: tuple[NotShown, ...]

    def count_not_shown(self, model: str, reason: Literal["failed", "blank"]) -> int:
        """Examples of a model that were not shown for one reason."""
        return sum(entry.model == model and entry.reason == reason for entry in self.not_shown)


_FILE = TypeAdapter(Key)


def annotation_folder(out: Path) -> Path:
    """Where the annotation of a run lies: pages, key and results."""
    return out / "annotation"


def make_key(draw: Draw, config: DrawConfig, *, annotators: int) -> Key:
    """Make the key of a new export, with a random id, for annotators named `annotator-01` and so on."""
    digits = max(2, len(str(annotators)))
    return Key(
        export_id=f"x{secrets.token_hex(8)}",
        exported_at=datetime.now(UTC),
        split=config.split,
        with_rating=config.with_rating,
        seed=config.seed,
        models=draw.models,
        examples=draw.examples,
        annotators=tuple(f"annotator-{number:0{digits}}" for number in range(1, annotators + 1)),
        pairs=tuple(_key_pairs(draw.pairs)),
        not_shown=draw.not_shown,
    )


def write_key(key: Key, folder: Path) -> None:
    """Write the key into a folder."""
    write_text(key.model_dump_json(indent=1) + "\n", folder / KEY_FILE)


def read_key(folder: Path) -> Key:
    """Read what `write_key` wrote.

    Raises:
        InputError: nothing was exported here.
        SchemaError: the key cannot be read.
    """
    path = folder / KEY_FILE
    if not path.is_file():
        raise InputError(
            f"{path}: no key is there, and answers mean nothing without it; name the run folder of the export with --out, "
            "or run jobs/annotate.py export first"
        )
    return read_json(path, _FILE)


def _key_pairs(pairs: Iterable[Pair]) -> Iterable[KeyPair]:
    for pair in pairs:
        digest = hashlib.sha256(pair.generated.encode()).hexdigest()
        yield KeyPair(pair_id=pair.pair_id, example_id=pair.example_id, models=pair.models, text_sha256=digest)
