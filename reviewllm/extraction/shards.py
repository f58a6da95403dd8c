"""Shards of examples through an engine or the rule: what is written once is not written again.

Answers lie in a folder whose name says what decides them beside the examples (models, prompts, sampling, schemas), under the
names of their shards, which say what is in these: a re-run of the same work takes up the finished shards, other work never finds
them, and a second writer replaces a shard by an equal one. Journals and the watchdog are those of the backfill.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from reviewllm.evaluation.by_rule import without_prompts
from reviewllm.extraction.benchmarks import Product
from reviewllm.extraction.examples import DESCRIPTION, answer_text
from reviewllm.extraction.rule import RULE_VERSION, RuleExtractor
from reviewllm.extraction.schemas import Schemas, answer_schema, attributes_of
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine import Completion
from reviewllm.generation.model import Variant
from reviewllm.generation.pipeline import RunCounts
from reviewllm.generation.rows import generation_rows
from reviewllm.generation.tasks import GenerationSpec, Piece, Task, new_run
from reviewllm.generation.unfinished import is_finished, write_unfinished
from reviewllm.place import Place
from reviewllm.prompts.config import PromptConfig
from reviewllm.scoring.scorer import without_scores
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, GENERATIONS

RULE = "rule"
_ANSWER = ("example_id", "category", "review", "error", "model", "adapter", "fingerprint")


class Model(NamedTuple):
    """Who answers: by which variant, and for the rule (else None) what it has learned."""

    name: str
    variant: Variant
    rule: RuleExtractor | None = None


class Work(NamedTuple):
    """Example shards below `examples`, who answers them, and the folder of the answers."""

    examples: Path
    shards: Sequence[str]
    models: Sequence[Model]
    schemas: Schemas
    constrained: bool
    folder: Path

    def output(self, model: int, shard: str) -> str:
        """The name of a model's answers to a shard, below the folder."""
        return f"{model}/{shard}"

    def answers(self, model: int, shard: str) -> pa.Table:
        """A model's answers to a shard, of the generations only what is needed: `review` is the answer, null with an `error`.

        Raises:
            SchemaError: they are not there.
        """
        return read_table([self.folder / self.output(model, shard)], GENERATIONS.only(_ANSWER))


def rule_model(products: Sequence[Product]) -> Model:
    """The rule, which has learned of these products."""
    learned = hashlib.sha256(json.dumps(products, ensure_ascii=False).encode()).hexdigest()
    fingerprint = hashlib.sha256(f"{RULE} {RULE_VERSION} {learned}".encode()).hexdigest()
    variant = Variant(model=RULE, base=Path(), adapter=None, prompt=PromptConfig(task="extract"), fingerprint=fingerprint)
    return Model(RULE, variant, RuleExtractor(products))


def plan_work(
    examples: Path, shards: Sequence[str], models: Sequence[Model], schemas: Schemas, *, constrained: bool, near: Path
) -> Work:
    """Name the folder of the answers, a hidden one in `near`, by what decides them.

    Args:
        examples: folder of the examples.
        shards: their names below it, each of which carries the hash of its content.
        constrained: let engines write nothing but JSON that fits the category's schema.
        near: where the folder of the answers is made.
    """
    decides = [*(model.variant.fingerprint for model in models), _json_schemas(schemas), constrained]
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return Work(examples, shards, models, schemas, constrained, near / f".answers-{digest[:16]}")


def answer_all(
    work: Work,
    generation: GenerationConfig,
    *,
    cluster: Callable[[], AbstractContextManager[None]],
    on_progress: Callable[[RunCounts], None] | None = None,
) -> RunCounts:
    """Let every model answer the shards that it has not answered yet; returns what the engines did.

    Args:
        cluster: connects to Ray; only entered where an engine has to write.

    Raises:
        ReviewLLMError: the engine cannot be used; finished shards are kept.
    """
    for number, model in enumerate(work.models):
        for shard in work.shards if model.rule else ():
            if not is_finished(Place(str(work.folder)), work.output(number, shard)):
                _answer_by_rule(work, number, shard)
    engines = [number for number, model in enumerate(work.models) if not model.rule]
    if not engines:
        return RunCounts()
    tasks = [
        Task([Piece(shard)], place, work.output(number, shard))
        for place, number in enumerate(engines)
        for shard in work.shards
    ]
    variants = [work.models[number].variant for number in engines]
    spec = GenerationSpec(
        generation=generation,
        model=variants[0].base,
        live_adapters=True,
        variants=variants,
        source=str(work.examples.resolve()),
        target=str(work.folder.resolve()),
        for_publication=False,
        answer_schemas=_json_schemas(work.schemas) if work.constrained else {},
        scored=False,
        run=new_run(),
    )
    return write_unfinished(tasks, spec, cluster=cluster, on_progress=on_progress)


def _json_schemas(schemas: Schemas) -> dict[str, str]:
    return {category: answer_schema(attributes) for category, attributes in schemas.items()}


def _answer_by_rule(work: Work, number: int, shard: str) -> None:
    """Write the rule's answers in the form of a model's."""
    model = work.models[number]
    assert model.rule is not None
    asked = read_table([work.examples / shard], EXAMPLES)
    results = []
    for row in asked.to_pylist():
        shown: Mapping[str, list[str]] = json.loads(row["attributes"])
        product = Product(row["example_id"], row["category"], row["title"], " ".join(shown.get(DESCRIPTION, [])) or None, {})
        attributes = attributes_of(work.schemas, row["category"]) or {}
        results.append(Completion(answer_text(model.rule.extract(product, attributes), attributes), [], "stop"))
    rows = generation_rows(without_prompts(asked), [0] * asked.num_rows, results, model.variant)
    write_table(without_scores(rows), work.folder / work.output(number, shard), GENERATIONS)
