"""What the actors of a generation run do: write the reviews of a shard, then score it and put it in place."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from reviewllm.config import StageConfig
from reviewllm.errors import PromptError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine import Completion, Engine, Request, RowError
from reviewllm.generation.model import Variant
from reviewllm.prompts.renderer import Prompt, PromptRenderer, Row, load_tokenizer
from reviewllm.scoring.scorer import add_scores
from reviewllm.sft.canary import CANARY_TOKENS, check_canaries
from reviewllm.tables import EXAMPLES, GENERATIONS, SCORES, read_table, write_table

UNSCORED = pa.schema([field for field in GENERATIONS.schema if field.name not in {column.name for column in SCORES}])


class GenerationSpec(StageConfig):
    """All that an engine's actor is sent: cheap and picklable."""

    generation: GenerationConfig
    model: Path  # what the engine loads: the base, or base and adapter merged
    live_adapters: bool  # whether the variants' adapters are served beside it, or are merged into it
    variants: list[Variant]


class ShardGenerator:
    """Ray Data actor: one engine, several shards at once, so that it never starves at a shard's end.

    A batch is one row (shard, variant, output); what it gives is the same row with the shard's generations, without
    scores, as an Arrow stream, and its references.
    """

    def __init__(self, spec: GenerationSpec) -> None:
        """Start the engine.

        Raises:
            EngineError: it cannot start.
        """
        self._spec = spec
        self._tokenizer = load_tokenizer(str(spec.variants[0].base))
        self._renderers = [PromptRenderer(self._tokenizer, variant.prompt) for variant in spec.variants]
        self._engine = _start_engine(spec, self._tokenizer)
        self._checked = False
        self._check_lock = asyncio.Lock()

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """Write the reviews of one shard.

        Raises:
            SchemaError: the shard does not fit the table.
            AdapterError: an adapter does not act.
            EngineError: the engine died.
        """
        async with self._check_lock:
            if not self._checked:
                await self._check_adapters()
                self._checked = True
        (task,) = batch.to_pylist()
        variant = self._spec.variants[task["variant"]]
        rows = read_table([Path(task["shard"])], EXAMPLES).to_pylist()
        prompts = self._renderers[task["variant"]].render(rows)
        seeds = [row_seed(row["example_id"], self._spec.generation.sampling_seed) for row in rows]
        adapter = str(variant.adapter) if variant.adapter and self._spec.live_adapters else None
        written = await asyncio.gather(
            *(self._write(row, prompt, seed, adapter) for row, prompt, seed in zip(rows, prompts, seeds, strict=True))
        )
        generations = pa.Table.from_pylist(
            [
                _generation(row, prompt, seed, result, variant)
                for row, prompt, seed, result in zip(rows, prompts, seeds, written, strict=True)
            ],
            schema=UNSCORED,
        )
        references = pa.array([row["reference"] for row in rows], pa.string())
        stream = _to_stream(generations.append_column("reference", references))
        return batch.append_column("generations", pa.array([stream], pa.large_binary()))

    async def _write(self, row: Row, prompt: Prompt | PromptError, seed: int, adapter: str | None) -> Completion | str:
        """The completion, or why the row failed."""
        if isinstance(prompt, PromptError):
            return str(prompt)
        try:
            completion = await self._engine.generate(Request(row, prompt.token_ids, seed, adapter))
        except RowError as error:
            return str(error)
        return completion if completion.text.strip() else "the model wrote nothing"

    async def _check_adapters(self) -> None:
        """Replay every adapter's canaries before any time is spent."""
        if self._spec.generation.engine == "rule":
            return
        for variant in self._spec.variants:
            if variant.adapter is None:
                continue
            live = str(variant.adapter) if self._spec.live_adapters else None
            requests = [Request({}, canary.prompt, 0, live, greedy=True) for canary in variant.canaries]
            completions = await asyncio.gather(*(self._engine.generate(request) for request in requests))
            written = [completion.token_ids for completion in completions]
            check_canaries(variant.canaries, written, adapter=str(variant.adapter))

    def __del__(self) -> None:
        """Shut the engine down with the actor, or its log fills with errors of a dead engine."""
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.close()


class ShardScorer:
    """Ray Data actor: adds the scores to a shard's generations and writes it under the task's output name."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score and write one shard, aside and renamed; a second writer replaces it by an equally valid one.

        Returns the task's row with its counts: rows, failed, prompt_tokens, completion_tokens.
        """
        (task,) = batch.to_pylist()
        generations = pa.ipc.open_stream(task.pop("generations")).read_all()
        references = generations["reference"].combine_chunks()
        scored = add_scores(generations.drop_columns(["reference"]), references)
        write_table(scored, Path(task["output"]), GENERATIONS)
        counts = {
            "rows": scored.num_rows,
            "failed": scored["error"].length() - scored["error"].null_count,
            "prompt_tokens": pa.compute.sum(scored["prompt_tokens"]).as_py() or 0,
            "completion_tokens": pa.compute.sum(scored["completion_tokens"]).as_py() or 0,
        }
        return pa.Table.from_pylist([{**task, **counts}])


def row_seed(example_id: str, run_seed: int) -> int:
    """The seed of a row's sampling, 0 to 2^31 - 1: a re-run writes the same text, and no two rows share their luck."""
    return int.from_bytes(hashlib.blake2b(f"{run_seed}:{example_id}".encode(), digest_size=4).digest()) >> 1


def _start_engine(spec: GenerationSpec, tokenizer: Any) -> Engine:
    if spec.generation.engine == "rule":
        from reviewllm.generation.rule_engine import RuleEngine

        return RuleEngine(spec.generation)
    from reviewllm.generation.vllm_engine import VLLMEngine

    adapters = sorted({str(variant.adapter) for variant in spec.variants if variant.adapter}) if spec.live_adapters else []
    longest = max(variant.prompt.max_prompt_tokens for variant in spec.variants) + spec.generation.max_new_tokens
    canaries = [len(canary.prompt) + CANARY_TOKENS for variant in spec.variants for canary in variant.canaries]
    longest = max(longest, *canaries, 0)
    return VLLMEngine(spec.generation, model=spec.model, tokenizer=tokenizer, max_model_len=longest, adapters=adapters)


def _generation(row: Row, prompt: Prompt | PromptError, seed: int, result: Completion | str, variant: Variant) -> Row:
    """One row of the generations table, without scores; every row has every column."""
    done = result if isinstance(result, Completion) else None
    rendered = prompt if isinstance(prompt, Prompt) else None
    return {
        **{name: row[name] for name in ("example_id", "user_id", "item_id", "category", "rating", "split")},
        "review": done.text if done else None,
        "error": None if done else result,
        "model": variant.model,
        "adapter": str(variant.adapter) if variant.adapter else None,
        "with_rating": variant.prompt.rating,
        "fingerprint": variant.fingerprint,
        "prompt_tokens": len(rendered.token_ids) if rendered else None,
        "history_kept": rendered.history_kept if rendered else None,
        "completion_tokens": len(done.token_ids) if done else None,
        "finish_reason": done.finish_reason if done else None,
        "seed": seed,
        "generated_at": datetime.now(UTC),
        "is_generated": True,
    }


def _to_stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def task_table(tasks: Sequence[tuple[Path, int, Path]]) -> pa.Table:
    """The rows that the actors map: (shard, variant, output), with paths that do not depend on a worker's folder."""
    return pa.table(
        {
            "shard": [str(shard.absolute()) for shard, _, _ in tasks],
            "variant": pa.array([variant for _, variant, _ in tasks], pa.int64()),
            "output": [str(output.absolute()) for _, _, output in tasks],
        }
    )
