"""What the actors do to one shard, called without Ray."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import entry, example

from reviewllm.errors import SchemaError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import make_variant
from reviewllm.generation.shards import GenerationSpec, ShardGenerator, ShardScorer, row_seed, task_table
from reviewllm.prompts.renderer import Prompt, PromptConfig, PromptRenderer, load_tokenizer
from reviewllm.tables import EXAMPLES, GENERATIONS, read_table, write_table

ROWS = [
    example(example_id="good", rating=5.0, history=[entry(1)], reference="Excellent: Garden hose."),
    example(example_id="told to fail"),
    example(example_id="too long", title="T" * 300),
]


def generate(base: Path, tmp_path: Path, rows: list[dict[str, Any]]) -> pa.Table:
    shard, output = tmp_path / "shard.parquet", tmp_path / "out" / "shard.parquet"
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), shard, EXAMPLES)
    config = GenerationConfig(engine="rule", rule_fail_ids=["told to fail"])
    variant = make_variant(base_model=str(base), adapter=None, prompt=PromptConfig(max_prompt_tokens=400), generation=config)
    spec = GenerationSpec(generation=config, model=base, live_adapters=False, variants=[variant])
    generated = asyncio.run(ShardGenerator(spec)(task_table([(shard, 0, output)])))
    (counts,) = ShardScorer()(generated).to_pylist()
    assert (counts["rows"], counts["output"]) == (len(rows), str(output))
    return read_table([output], GENERATIONS)


def test_shard_failing_rows_become_rows_with_an_error(random_base: Path, tmp_path: Path) -> None:
    good, failed, long = generate(random_base, tmp_path, ROWS).to_pylist()
    assert (good["review"], good["error"], good["finish_reason"]) == ("Excellent: Garden hose.", None, "stop")
    assert good["rouge1"] == pytest.approx(100)
    assert good["history_kept"] == 1
    assert (failed["review"], failed["error"]) == (None, "the rule engine was told to fail on this row")
    assert failed["prompt_tokens"] > 0
    assert long["review"] is None
    assert "--max-prompt-tokens 400" in long["error"]
    assert (long["prompt_tokens"], long["rouge1"]) == (None, None)
    assert all(row["is_generated"] for row in (good, failed, long))


def test_shard_prompt_tokens_are_those_of_the_renderer(random_base: Path, tmp_path: Path) -> None:
    (row,) = generate(random_base, tmp_path, ROWS[:1]).to_pylist()
    renderer = PromptRenderer(load_tokenizer(str(random_base)), PromptConfig(max_prompt_tokens=400))
    (prompt,) = renderer.render(ROWS[:1])
    assert isinstance(prompt, Prompt)
    assert row["prompt_tokens"] == len(prompt.token_ids)


def test_shard_that_is_no_examples_table_is_named(random_base: Path, tmp_path: Path) -> None:
    generate(random_base, tmp_path, ROWS[:1])
    config = GenerationConfig(engine="rule")
    variant = make_variant(
        base_model=str(random_base), adapter=None, prompt=PromptConfig(max_prompt_tokens=400), generation=config
    )
    generator = ShardGenerator(GenerationSpec(generation=config, model=random_base, live_adapters=False, variants=[variant]))
    with pytest.raises(SchemaError, match=r"lacks the column\(s\) title"):
        asyncio.run(generator(task_table([(tmp_path / "out" / "shard.parquet", 0, tmp_path / "x")])))


def test_row_seed_is_stable_and_differs_by_row_and_run() -> None:
    # blake2b of "0:a", 4 bytes, shifted right by one: written down once, must never change between versions
    assert row_seed("a", 0) == row_seed("a", 0)
    assert len({row_seed(str(number), run) for number in range(100) for run in range(2)}) == 200
    assert all(0 <= row_seed(str(number), 0) < 2**31 for number in range(1000))
