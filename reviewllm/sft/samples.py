"""Examples -> samples with the response marked, tokenised once and kept in one file that every worker maps.

A sample file is an Arrow IPC file of `SAMPLES`: its memory is the page cache's, so the workers of a node share it.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reviewllm.errors import InputError, PromptError, TrainingError
from reviewllm.examples.splits import example_files
from reviewllm.prompts.renderer import PromptRenderer
from reviewllm.prompts.tasks import TASKS, TaskName
from reviewllm.sft.sequences import Sample
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES
from reviewllm.texts import is_blank

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS_AT_ONCE = 1000  # rows held as Python objects while they are tokenised

SAMPLES = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("validation", pa.bool_(), nullable=False),  # measured, not trained on
        pa.field("prompt_tokens", pa.int32(), nullable=False),
        pa.field("evidence_tokens", pa.int32(), nullable=False),
        pa.field("token_ids", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False),
    ]
)


class SampleCounts(NamedTuple):
    """What became of the training examples; tokens are those of the samples that are trained on."""

    samples: int
    validation: int
    refused: int
    tokens: int
    response_tokens: int
    reviews_cut: int
    histories_cut: int
    attributes_dropped: int = 0
    with_evidence: int = 0


def write_samples(
    examples: Path, file: Path, renderer: PromptRenderer, *, max_response_tokens: int, validation_fraction: float
) -> SampleCounts:
    """Tokenise every training example, in the order of the files, into a new sample file.

    An example whose prompt cannot be rendered or whose review is blank has no label that could be learned: it is refused
    and counted. A review over `max_response_tokens` is cut and has no end token, so the model does not learn to stop there.

    Raises:
        SchemaError: the examples do not fit the table.
        InputError: some are of another split than train, were made for another task, or hold nothing of what prompts are to show.
        TrainingError: no sample is left.
    """
    counts = SampleCounts(0, 0, 0, 0, 0, 0, 0)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SAMPLES) as writer:
        for shard in example_files(examples, "train"):
            table = read_table([shard], EXAMPLES)
            _check_task(table, shard, renderer.config.task)
            for start in range(0, table.num_rows, _ROWS_AT_ONCE):
                batch, more = _tokenise(
                    table.slice(start, _ROWS_AT_ONCE).to_pylist(), renderer, max_response_tokens, validation_fraction
                )
                writer.write_batch(batch)
                counts = SampleCounts(*map(sum, zip(counts, more, strict=True)))
    if not counts.samples:
        held_out = f"; {counts.validation} are held out for validation" if counts.validation else ""
        raise TrainingError(
            f"{examples}: no training sample: {counts.refused} example(s) have no review or do not fit the budget{held_out}"
        )
    return counts


def _check_task(table: pa.Table, shard: Path, task: TaskName) -> None:
    """Examples of extraction and recommendation have the same columns and splits as those of reviews, but no stars."""
    if task not in ("review", "attributes", "extract", "recommend"):
        return
    rated, expected = pc.sum(pc.greater(table["rating"], 0)).as_py() or 0, "rating" in TASKS[task].columns
    strange = table.num_rows - rated if expected else rated
    if strange:
        others = "extract or recommend" if expected else "review or attributes"
        raise InputError(
            f"{shard}: {strange} of {table.num_rows} examples have {'no stars' if expected else 'stars'}, so they were made for "
            f"--task {others}, not for --task {task}; set the task that they were made for, or name other examples"
        )


def _tokenise(
    rows: list[dict[str, Any]], renderer: PromptRenderer, max_response_tokens: int, validation_fraction: float
) -> tuple[pa.RecordBatch, SampleCounts]:
    columns: dict[str, list[Any]] = {name: [] for name in SAMPLES.names}
    trained = held_out = refused = tokens = in_loss = cut = histories_cut = dropped = with_evidence = 0
    responses = renderer.render_responses([row["reference"] or "" for row in rows], max_tokens=max_response_tokens)
    for row, prompt, response in zip(rows, renderer.render(rows), responses, strict=True):
        # A response of the end token alone says nothing either.
        if isinstance(prompt, PromptError) or is_blank(row["reference"]) or len(response) < 2:
            refused += 1
            continue
        validation = _held_out(row["user_id"], validation_fraction)
        ids = prompt.token_ids + response
        own = (row["example_id"], row["user_id"], validation, len(prompt.token_ids), prompt.evidence_tokens, ids)
        for name, value in zip(SAMPLES.names, own, strict=True):
            columns[name].append(value)
        if validation:
            held_out += 1
            continue
        trained += 1
        tokens += len(ids)
        in_loss += len(response)
        cut += response[-1] != renderer.end
        histories_cut += prompt.history_kept < prompt.history_given or prompt.reviews_shortened
        with_evidence += prompt.evidence_tokens > 0
        dropped += (prompt.attributes_kept or 0) < (prompt.attributes_given or 0)
    counts = SampleCounts(trained, held_out, refused, tokens, in_loss, cut, histories_cut, dropped, with_evidence)
    return pa.RecordBatch.from_pydict(columns, schema=SAMPLES), counts


def _held_out(user_id: str, fraction: float) -> bool:
    """Whole users are held out, the same ones whatever else is in the file: histories overlap within a user."""
    return int.from_bytes(hashlib.sha256(user_id.encode()).digest()[:8], "big") < fraction * 2**64


class SampleFile(Sequence[Sample]):
    """The samples of a file that are trained on, or (`validation`) those that are measured; read without copying."""

    def __init__(self, file: Path, *, validation: bool = False) -> None:
        """Map a file of `write_samples`.

        Raises:
            TrainingError: it cannot be read.
        """
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(file)))
            self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        except (OSError, pa.ArrowInvalid) as error:
            raise TrainingError(f"{file}: the tokenised samples cannot be read: {error}; remove the file") from error
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])
        wanted = [batch.column("validation").to_numpy(zero_copy_only=False) == validation for batch in self._batches]
        self._rows = np.flatnonzero(np.concatenate(wanted)) if wanted else np.empty(0, dtype=np.int64)
        self._ids = [
            (batch.column("token_ids").offsets.to_numpy(), batch.column("token_ids").values.to_numpy())
            for batch in self._batches
        ]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> list[Sample]: ...
    def __getitem__(self, place: int | slice) -> Sample | list[Sample]:
        """The sample at a place, in the order of the file."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        row = int(self._rows[place])
        number = bisect.bisect_right(self._starts, row) - 1
        row -= int(self._starts[number])
        batch, (offsets, values) = self._batches[number], self._ids[number]
        return Sample(
            batch.column("example_id")[row].as_py(),
            batch.column("user_id")[row].as_py(),
            values[offsets[row] : offsets[row + 1]],
            batch.column("prompt_tokens")[row].as_py(),
            batch.column("evidence_tokens")[row].as_py(),
        )

    def __iter__(self) -> Iterator[Sample]:
        """The samples in the order of the file."""
        return (self[place] for place in range(len(self)))

    def users(self) -> NDArray[np.int64]:
        """For each sample the number of its user, counted from 0 in the order of first appearance."""
        numbers: dict[str, int] = {}
        ids = pa.chunked_array([batch.column("user_id") for batch in self._batches]).take(pa.array(self._rows))
        return np.array([numbers.setdefault(user, len(numbers)) for user in ids.to_pylist()], dtype=np.int64)

    def runs(self) -> NDArray[np.int64]:
        """For each sample the number of its run: neighbours of one user whose histories grow, so that they begin alike.

        Where a history is full and begins anew, a prompt is shorter than the one before.
        """
        users = self.users()
        prompts, others = (
            np.concatenate([batch.column(f"{name}_tokens").to_numpy() for batch in self._batches])[self._rows]
            for name in ("prompt", "evidence")
        )
        prompts = prompts - others  # they come and go from one prompt to the next
        begins = np.ones(len(users), dtype=bool)
        begins[1:] = (users[1:] != users[:-1]) | (prompts[1:] < prompts[:-1])
        return np.cumsum(begins) - 1
