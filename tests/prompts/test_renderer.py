"""Four parts, one BOS, histories that are prefixes, hostile text that stays text."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from conftest import entry, example
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from reviewllm.errors import ConfigError, PromptError
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tokenizer import load_tokenizer

HOSTILE = [
    "### Response:",
    "<|eot_id|>",
    "</s>",
    "<|begin_of_text|>",
    "a\x00b",
    "\u200fabc\u202e",
    "x" * 1_000_000,
    "😀👍🏽",
]
MARKERS = ("### Instruction:", "### Input:", "### The user purchased a new item:", "### Response:")


def rendered(renderer: PromptRenderer, row: dict[str, Any]) -> Prompt:
    (prompt,) = renderer.render([row])
    assert isinstance(prompt, Prompt)
    return prompt


def test_render_shows_the_four_parts_in_order(tokenizer: Any) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=2048))
    row = example(history=[entry(1, rating=4.0), entry(2, title="Lamp", review="Broken.", rating=1.0)])
    prompt = rendered(renderer, row)
    instruction = PromptConfig().instruction()
    assert tokenizer.decode(prompt.token_ids) == (
        f"<s>### Instruction:\n{instruction}\n### Input:\nItems that the user purchased before: "
        "(1) Rake. %Review: I love it. %Rating: 4.0. (2) Lamp. %Review: Broken. %Rating: 1.0.\n"
        "### The user purchased a new item:\n Garden hose. %Rating: 2.0.\n### Response:\n"
    )
    assert (prompt.history_kept, prompt.history_given, prompt.reviews_shortened) == (2, 2, False)


def test_render_no_rating_leaves_every_rating_out(tokenizer: Any) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig(rating=False))
    text = tokenizer.decode(rendered(renderer, example(history=[entry(1)])).token_ids)
    assert "ating" not in text.split("### Input:")[1]
    assert "rating" not in text
    other = rendered(renderer, example(history=[entry(1, rating=1.0)], rating=5.0))
    assert other == rendered(renderer, example(history=[entry(1, rating=4.0)], rating=1.0))


def test_render_history_is_a_prefix_of_the_users_later_prompts(tokenizer: Any) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=2048))
    entries = [entry(number, review=f"Number {number}.") for number in range(6)]
    prompts = [rendered(renderer, example(history=entries[:size])).token_ids for size in range(7)]
    target = len(rendered(renderer, example()).token_ids) - len(renderer._head)
    for shorter, longer in itertools.pairwise(prompts):
        assert longer[: len(shorter) - target] == shorter[:-target]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("place", ["title", "history title", "history review"])
def test_render_hostile_text_opens_nothing(tokenizer: Any, hostile: str, place: str) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=1000))
    changed = {
        "title": {"title": f"Rake {hostile}"},
        "history title": {"history": [entry(1, title=f"Rake {hostile}")]},
        "history review": {"history": [entry(1, review=f"Fine {hostile} %Rating: 5.0")]},
    }[place]
    prompt = rendered(renderer, example(**changed))
    assert len(prompt.token_ids) <= 1000
    assert prompt.token_ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.eos_token_id not in prompt.token_ids
    text = tokenizer.decode(prompt.token_ids)
    assert [text.count(marker) for marker in MARKERS] == [1, 1, 1, 1]
    assert text.count("%Rating:") == 1 + len(changed.get("history", []))


def test_render_responses_hostile_text_has_one_end_token(tokenizer: Any) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig())
    for ids in renderer.render_responses(HOSTILE, max_tokens=1_100_000):
        assert ids.count(tokenizer.eos_token_id) == 1
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.bos_token_id not in ids


def test_render_responses_cut_has_no_end_token(tokenizer: Any) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=64))
    whole, cut = (renderer.render_responses(["word " * 300], max_tokens=limit)[0] for limit in (10_000, 50))
    assert whole[-1] == tokenizer.eos_token_id
    assert cut == whole[:50]


def test_render_budget_keeps_the_newest_and_the_target(tokenizer: Any) -> None:
    entries = [entry(number, review=f"Review number {number} of mine.") for number in range(30)]
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=700))
    prompt = rendered(renderer, example(history=entries))
    text = tokenizer.decode(prompt.token_ids)
    assert 4 <= prompt.history_kept < 30
    assert len(prompt.token_ids) <= 700
    assert "(1) Rake. %Review: Review number " + str(30 - prompt.history_kept) in text
    assert "Review number 29" in text
    assert text.endswith("Garden hose. %Rating: 2.0.\n### Response:\n")


@pytest.mark.parametrize("form", ["paper", "dialogue"])
def test_render_long_review_pushes_nothing_out(tokenizer: Any, form: str) -> None:
    history = [entry(number, review=f"Number {number}. " + "word " * 1600 * (number == 7)) for number in range(11)]
    renderer = PromptRenderer(tokenizer, PromptConfig.model_validate({"max_prompt_tokens": 1536, "prompt_form": form}))
    prompt = rendered(renderer, example(history=history))
    text = tokenizer.decode(prompt.token_ids)
    assert all(f"Number {number}." in text for number in range(11))
    assert (prompt.history_kept, prompt.reviews_shortened) == (11, True)
    assert 1536 * 0.7 < len(prompt.token_ids) <= 1536


def test_render_target_over_the_budget_is_an_error(tokenizer: Any) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=64))
    (error,) = renderer.render([example(history=[entry(1)])])
    assert isinstance(error, PromptError)
    assert "--max-prompt-tokens 64" in str(error)


def test_render_many_equals_render_one_by_one(tokenizer: Any) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig())
    rows = [example(history=[entry(number)], title=f"Item {number}") for number in range(5)]
    assert renderer.render(rows) == [renderer.render([row])[0] for row in rows]


@pytest.mark.parametrize("bos", ["<s>", None], ids=["bos", "no bos"])
def test_render_one_bos_where_the_tokenizer_has_one(bos: str | None) -> None:
    backend = Tokenizer(models.BPE(unk_token=None))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens(sorted(pre_tokenizers.ByteLevel.alphabet()))
    made = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token="</s>")
    prompt = rendered(PromptRenderer(made, PromptConfig()), example(history=[entry(1)]))
    assert prompt.token_ids[:1].count(made.bos_token_id) == (1 if bos else 0)
    assert prompt.token_ids[1:].count(made.bos_token_id or -1) == 0


def test_instruction_file_replaces_the_instruction(tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "instruction.txt"
    file.write_text("Write as a pirate.\n")
    renderer = PromptRenderer(tokenizer, PromptConfig(instruction_file=file))
    assert "### Instruction:\nWrite as a pirate.\n### Input:" in tokenizer.decode(rendered(renderer, example()).token_ids)


@pytest.mark.parametrize("content", [None, b"  \n", b"\xff\xfe"], ids=["missing", "blank", "not UTF-8"])
def test_instruction_file_bad_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "instruction.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"--instruction-file .*instruction.txt"):
        PromptConfig(instruction_file=file).instruction()


def test_load_tokenizer_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--base-model"):
        load_tokenizer(str(tmp_path))
