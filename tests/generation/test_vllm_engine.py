"""One real engine: names under a row's schema, and likelihoods as transformers computes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import WORDS, entry, example
from generation.one_engine import ask_one_engine

from reviewllm.generation.engine import Request, shared_beginning
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tasks import TASKS
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

LONG = "a very long name that fills whole blocks of the cache before it ends in " * 4
CANDIDATES = [["Rake", "Rake XL", "Gel pens, 12''", "Crème brûlée ☕ 日本"], [f"{LONG}red", f"{LONG}blue", "Lamp"]]


def row(candidates: list[str], count: int) -> dict[str, Any]:
    attributes = json.dumps({"candidates": candidates, "count": count})
    return example(history=[entry(1, title="Hose", review="")] * 3, attributes=attributes)


def expected(base: Path, prompts: list[list[int]], choices: list[list[list[int]]]) -> list[list[float]]:
    """The sum of log-softmax over each choice's own tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    told = []
    for prompt, several in zip(prompts, choices, strict=True):
        begins = len(prompt) + shared_beginning(several)
        told.append([])
        for choice in several:
            ids = torch.tensor([[*prompt, *choice]])
            with torch.no_grad():
                logs = torch.log_softmax(model(ids).logits[0], dim=-1)
            told[-1].append(sum(float(logs[place - 1, ids[0, place]]) for place in range(begins, ids.shape[1])))
    return told


@pytest.mark.slow
@pytest.mark.ray
def test_vllm_names_candidates_alone_and_tells_their_likelihoods(tmp_path: Path) -> None:
    base = make_tiny_base(
        [WORDS],
        tmp_path / "base",
        TinyBaseConfig(base_vocabulary=300, base_hidden=64, base_layers=2, base_steps=0),
        context=4096,
    )
    tokenizer = load_tokenizer(str(base))
    renderer = PromptRenderer(tokenizer, PromptConfig(task="recommend", max_prompt_tokens=2500))
    rows = [row(CANDIDATES[0], 3), row(CANDIDATES[1], 2), row(CANDIDATES[0], 1)]
    prompts = [made.token_ids for made in renderer.render(rows) if isinstance(made, Prompt)]
    choices = renderer.render_choices(rows)
    schema = TASKS["recommend"].answer_schema
    assert schema is not None

    written = [Request({}, ids, 0, None, answer_schema=schema(one)) for ids, one in zip(prompts, rows, strict=True)]
    asked = [Request({}, ids, 0, None, choices=some) for ids, some in zip(prompts, choices, strict=True)]
    answers, told = ask_one_engine(base, written, asked)
    for answer, one in zip(answers, rows, strict=True):
        wanted_of = json.loads(one["attributes"])
        names = json.loads(answer.text)
        assert len(names) == wanted_of["count"]
        assert set(names) <= set(wanted_of["candidates"])
    wanted = expected(base, prompts, choices)
    for likelihoods in told:
        for found, should in zip(likelihoods, wanted, strict=True):
            assert found == pytest.approx(should, rel=1e-4, abs=1e-3)
