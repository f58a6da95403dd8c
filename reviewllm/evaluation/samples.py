"""A few prompts as text, for people to read in the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from reviewllm.evaluation.contenders import Contender
from reviewllm.evaluation.rows import SPLITS
from reviewllm.files import write_text
from reviewllm.generation.model import Variant
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES

_SAMPLES = 6  # of each split


def sample_prompts(contenders: Sequence[Contender], shards: Sequence[Path], to: Path) -> None:
    """Write the prompts of the first examples of each split, with and without ratings, decoded from their token ids.

    The file is a list of {"example_id", "with_rating", "prompt"}; empty where no contender is shown a prompt.
    """
    asked: dict[bool, Variant] = {}
    for one in contenders:
        if one.kind != "baseline":
            asked.setdefault(one.variant.prompt.rating, one.variant)  # of several serialisations the first
    samples = []
    for with_rating, variant in asked.items():
        tokenizer = load_tokenizer(str(variant.base))
        renderer = PromptRenderer(tokenizer, variant.prompt)
        for split in SPLITS:
            files = [shard for shard in shards if shard.parent.name == split]
            rows = read_table(files, EXAMPLES).slice(0, _SAMPLES).to_pylist() if files else []
            for row, prompt in zip(rows, renderer.render(rows), strict=True):
                text = tokenizer.decode(prompt.token_ids) if isinstance(prompt, Prompt) else str(prompt)
                samples.append({"example_id": row["example_id"], "with_rating": with_rating, "prompt": text})
    write_text(json.dumps(samples, ensure_ascii=False), to)
