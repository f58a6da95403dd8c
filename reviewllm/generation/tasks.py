"""The work of a generation run as its actors see it: shards of examples, and what writes them."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
from pydantic import model_validator

from reviewllm.config import StageConfig
from reviewllm.errors import ConfigError, SchemaError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import Variant
from reviewllm.place import Place
from reviewllm.tables import EXAMPLES, GENERATIONS, SCORES

UNSCORED = pa.schema([field for field in GENERATIONS.schema if field.name not in {column.name for column in SCORES}])


class Piece(NamedTuple):
    """Some rows of one file of examples, by number and in the order in which they are written; None: all as they stand."""

    file: str
    rows: Sequence[int] | None = None


class Task(NamedTuple):
    """One shard to write: its examples, the number of the variant that writes it, and the output's name."""

    pieces: Sequence[Piece]
    variant: int
    output: str


# text         whatever the model writes, within `answer_schemas` where there are any
# constrained  what fits the row's own JSON Schema, which the prompt's task knows
# likelihood   JSON list of the log-likelihoods of the row's choices, which the task knows: nothing is written
Answers = Literal["text", "constrained", "likelihood"]


class GenerationSpec(StageConfig):
    """All that the actors are sent: cheap and picklable."""

    generation: GenerationConfig
    model: Path  # what the engine loads: the base, or base and adapter merged
    live_adapters: bool  # whether the variants' adapters are served beside it, or are merged into it
    variants: list[Variant]
    source: str  # path or URI of the examples
    target: str  # path or URI below which outputs are written
    for_publication: bool = True  # whether garbage and loops are failures too
    answer_schemas: dict[
        str, str
    ] = {}  # category (* for all others) to the JSON Schema that its texts must fit; none: any text
    answers: Answers = "text"
    scored: bool = True  # whether the texts are reviews, and get a review's scores
    reference_tokens: int = 0  # of the real review at most, whose likelihood is asked for beside the text; 0: it is not
    history_worth: bool = False  # whether that is asked behind the prompt without the history too
    max_hallucination: float | None = None  # in %; a row above it fails; None: none does
    max_copied_words: int | None = None  # from one review by another; a row above it fails; None: none does
    run: str = ""  # differs from run to run, also from that of a re-run

    @model_validator(mode="after")
    def _check_drafts(self) -> GenerationSpec:
        if self.generation.drafts > 1 and not (self.scored and self.answers == "text"):
            raise ConfigError(
                f"--drafts {self.generation.drafts}: this job asks for no reviews, and chooses from no answers; leave it out"
            )
        return self

    def answer_schema(self, category: str) -> str | None:
        """The JSON Schema that the texts of a category must fit; None where they may be any text."""
        return self.answer_schemas.get(category, self.answer_schemas.get("*"))


def new_run() -> str:
    """An id for `GenerationSpec.run`."""
    return uuid.uuid4().hex


_TASKS = pa.schema(
    [
        ("files", pa.list_(pa.string())),
        ("rows", pa.list_(pa.list_(pa.int32()))),
        ("variant", pa.int64()),
        ("output", pa.string()),
    ]
)


def task_table(tasks: Sequence[Task]) -> pa.Table:
    """The rows that the actors map, one of each task."""
    return pa.Table.from_pylist(
        [
            {
                "files": [piece.file for piece in task.pieces],
                "rows": [None if piece.rows is None else list(piece.rows) for piece in task.pieces],
                "variant": task.variant,
                "output": task.output,
            }
            for task in tasks
        ],
        schema=_TASKS,
    )


def read_examples(source: Place, files: Sequence[str], rows: Sequence[Sequence[int] | None]) -> pa.Table:
    """The examples of a task, in order.

    Raises:
        SchemaError: a file is damaged, does not fit the table, or has fewer rows than it had.
    """
    parts = []
    for file, numbers in zip(files, rows, strict=True):
        part = source.read_table(file, EXAMPLES)
        if numbers is not None and len(numbers) and max(numbers) >= part.num_rows:
            raise SchemaError(f"{source.where}/{file}: was changed while this job ran; run it again")
        parts.append(
            part if numbers is None or list(numbers) == list(range(part.num_rows)) else part.take(pa.array(numbers))
        )
    return pa.concat_tables(parts)


def to_stream(table: pa.Table) -> bytes:
    """A table as one value, to travel between actors."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_stream(stream: bytes) -> pa.Table:
    """What `to_stream` made."""
    return pa.ipc.open_stream(stream).read_all()
