"""What an evaluation leaves in `<out>/metrics`, and how it is read back.

generations/<repeat>/*.parquet   GENERATIONS of every model, with every score
metrics.parquet                  METRICS
comparisons.parquet              COMPARISONS
models.json                      the names of the models (names.py)
samples.json                     prompts as text, of a few examples
validation.json                  what the figures are worth on real reviews
evaluation.json                  what was evaluated on what: written last
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter

from reviewllm.errors import InputError, SchemaError
from reviewllm.evaluation.comparisons import Side
from reviewllm.evaluation.contenders import Contender, Kind
from reviewllm.evaluation.reference import reference_versions
from reviewllm.files import read_json, write_text
from reviewllm.scoring.scorer import scorer_versions
from reviewllm.sft.adapter import examples_digest
from reviewllm.table_files import read_table, table_files
from reviewllm.tables import GENERATIONS

SCHEMA_VERSION = 6  # raise it with any change of what a reader of this folder relies on
EVALUATION = "evaluation.json"


class Evaluated(BaseModel):
    """One model with one kind of prompt, as it was evaluated; `fingerprints` one for each repetition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    model: str
    adapter: str | None
    with_rating: bool
    fingerprints: list[str] = Field(min_length=1)


class Cost(BaseModel):
    """What the answers of an endpoint have cost, whenever they were paid for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    without_usage: int
    """Answers of which the endpoint did not say what they took; they are in no sum."""


class Evaluation(BaseModel):
    """The head of an evaluation's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    run: str
    created_at: datetime
    protocol: str | None
    examples_digest: str
    rows: dict[str, NonNegativeInt]
    """Examples of each split."""
    repeats: int
    candidate: str
    candidate_with_rating: bool
    models: list[Evaluated]
    scorers: dict[str, str]
    """What decides the scores, as `scorer_versions` and `reference_versions` give it."""
    costs: dict[str, Cost]


_HEAD = TypeAdapter(dict[str, object])


def describe(
    contenders: Sequence[Contender],
    candidate: Side,
    shards: Sequence[Path],
    *,
    run: str,
    protocol: str | None,
    costs: dict[str, Cost],
    reference_tokens: int = 0,
) -> Evaluation:
    """The head of an evaluation of these contenders on these shards of examples.

    Args:
        reference_tokens: of a real review whose likelihood was told; 0 for none.
    """
    first = contenders[0].variant
    rows: Counter[str] = Counter()
    for shard in shards:
        rows[shard.parent.name] += pq.read_metadata(shard).num_rows
    return Evaluation(
        run=run,
        created_at=datetime.now(UTC),
        protocol=protocol,
        examples_digest=examples_digest(shards),
        rows=dict(rows),
        repeats=1 + max(contender.variant.repeat for contender in contenders),
        candidate=candidate.model,
        candidate_with_rating=candidate.with_rating,
        models=_models(contenders),
        scorers=scorer_versions(first.scoring) | reference_versions(first.base, reference_tokens),
        costs=costs,
    )


def _models(contenders: Sequence[Contender]) -> list[Evaluated]:
    """One entry for each model and kind of prompt, with the fingerprints of its repetitions."""
    groups: dict[tuple[str, bool], list[Contender]] = {}
    for contender in contenders:
        groups.setdefault((contender.name, contender.variant.prompt.rating), []).append(contender)
    return [
        Evaluated(
            name=name,
            kind=group[0].kind,
            model=group[0].pair[0],
            adapter=group[0].pair[1],
            with_rating=with_rating,
            fingerprints=[contender.variant.fingerprint for contender in group],
        )
        for (name, with_rating), group in groups.items()
    ]


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write the head; what lies beside it is complete by then."""
    write_text(evaluation.model_dump_json(indent=1), folder / EVALUATION)


def read_evaluation(metrics: Path) -> Evaluation:
    """Read the head of `<out>/metrics`.

    Raises:
        InputError: there is none.
        SchemaError: it is of another schema version, or damaged.
    """
    path = metrics / EVALUATION
    if not path.is_file():
        why = "was written by an earlier version of reviewllm" if (metrics / "metrics.parquet").is_file() else "is not there"
        raise InputError(f"{path}: {why}; run jobs/evaluate.py on this output folder")
    found = read_json(path, _HEAD).get("schema_version")
    if found != SCHEMA_VERSION:
        raise SchemaError(
            f"{path}: is of schema version {found}, and this reviewllm reads version {SCHEMA_VERSION}; run jobs/evaluate.py again"
        )
    return read_json(path, TypeAdapter(Evaluation))


def repeat_folders(metrics: Path) -> list[Path]:
    """The folders of the repetitions' generations, first repetition first."""
    found = [path for path in (metrics / "generations").glob("*") if path.is_dir() and path.name.isdecimal()]
    return sorted(found, key=lambda folder: int(folder.name))


def read_generations(metrics: Path, repeat: int = 0) -> pa.Table:
    """What every model wrote in one repetition.

    Raises:
        SchemaError: there is none, or a file does not fit.
    """
    return read_table(table_files(metrics / "generations" / str(repeat), GENERATIONS), GENERATIONS)
