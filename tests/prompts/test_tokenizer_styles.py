"""Llama-3's, Llama-2's and Qwen's manner of tokenising: one BOS or none, one EOS, and training sees what generation sees."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import entry, example
from tokenizer_styles import STYLES, Style

from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tasks.review import INSTRUCTION
from reviewllm.sft.samples import Sample, SampleFile, write_samples
from reviewllm.sft.sequences import pack
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES

HOSTILE = ["<|eot_id|>", "<s>", "</s>", "<|im_end|>", "<|begin_of_text|>", "<|endoftext|>", "<tool_call>", "<<s>s>", "<unk>"]
HOSTILE += ["<eos>", "<end_of_turn>"]
ROWS = [
    example(
        history=[entry(1, rating=4.0), entry(2, title="Lamp é😀", review="Broken.", rating=1.0)],
        reference="Leaks, 125 of 125.",
    ),
    example(example_id="e2", title=f"Hose {' '.join(HOSTILE)}", reference=f"Good. {' '.join(HOSTILE)}"),
    example(example_id="e3", history=[entry(number, review=f"{HOSTILE[number]} é") for number in range(9)]),
]


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Style]:
    return {name: make(tmp_path_factory.mktemp("tokenizer")) for name, make in STYLES.items()}


@pytest.fixture(params=list(STYLES))
def style(request: pytest.FixtureRequest, styles: dict[str, Style]) -> Style:
    return styles[request.param]


def prompt_ids(style: Style, rows: list[dict[str, Any]]) -> list[list[int]]:
    """Prompts as generation renders them."""
    prompts = PromptRenderer(style.tokenizer, PromptConfig(max_prompt_tokens=4096)).render(rows)
    return [prompt.token_ids for prompt in prompts]  # type: ignore[union-attr]


def samples(style: Style, rows: list[dict[str, Any]], folder: Path) -> list[Sample]:
    """Samples as training tokenises them."""
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "examples" / "shard.parquet", EXAMPLES)
    renderer = PromptRenderer(style.tokenizer, PromptConfig(max_prompt_tokens=4096))
    write_samples(folder / "examples", folder / "samples", renderer, max_response_tokens=400, validation_fraction=0.0)
    return list(SampleFile(folder / "samples"))


def special_ids(style: Style) -> set[int]:
    return set(style.tokenizer.added_tokens_decoder)


def read(style: Style, ids: list[int]) -> str:
    """Text without special tokens, and without the space that a style puts before all of it."""
    shown: str = style.tokenizer.decode(
        [number for number in ids if number not in special_ids(style)], clean_up_tokenization_spaces=False
    )
    return shown.strip(" ")


def test_load_tokenizer_has_the_styles_special_tokens(style: Style) -> None:
    assert (style.tokenizer.bos_token_id, style.tokenizer.eos_token_id) == (style.bos, style.eos)
    special = [token.content for number, token in sorted(style.tokenizer.added_tokens_decoder.items()) if token.special]
    assert special == style.special
    assert style.tokenizer.convert_tokens_to_ids(special) == list(range(len(special)))


def test_render_one_bos_at_the_start_or_none(style: Style) -> None:
    for ids in prompt_ids(style, ROWS):
        assert [place for place, number in enumerate(ids) if number in special_ids(style)] == [0] * (style.bos is not None)
        assert style.bos is None or ids[0] == style.bos


def test_render_the_tokenizers_own_call_would_add_a_second_bos(style: Style) -> None:
    (ids,) = prompt_ids(style, ROWS[:1])
    again = style.tokenizer(style.tokenizer.decode(ids))["input_ids"]
    assert again.count(style.bos) == (0 if style.bos is None else 2)
    assert style.tokenizer("a")["input_ids"].count(style.bos) == (0 if style.bos is None else 1)


def test_write_samples_prompt_is_generations_id_for_id(style: Style, tmp_path: Path) -> None:
    renderer = PromptRenderer(style.tokenizer, PromptConfig(max_prompt_tokens=4096))
    responses = renderer.render_responses([row["reference"] for row in ROWS], max_tokens=400)
    trained = samples(style, ROWS, tmp_path)
    for sample, prompt, response in zip(trained, prompt_ids(style, ROWS), responses, strict=True):
        assert sample.token_ids[: sample.prompt_tokens].tolist() == prompt
        assert sample.token_ids.tolist() == prompt + response


def test_write_samples_one_end_token_is_last_and_in_the_loss(style: Style, tmp_path: Path) -> None:
    for sample in samples(style, ROWS, tmp_path):
        packed = pack([sample])
        assert packed.labels.tolist() == sample.token_ids[sample.prompt_tokens :].tolist()
        assert [number for number in packed.labels if number in special_ids(style)] == [packed.labels[-1]] == [style.eos]
        assert packed.input_ids[packed.predicts[0] + 1] == packed.labels[0]
        assert packed.predicts[0] == sample.prompt_tokens - 1


def test_render_responses_ids_by_hand(style: Style) -> None:
    """U+00E9 is the bytes C3 A9; no sentence that the tokenizers learned from has it."""
    renderer = PromptRenderer(style.tokenizer, PromptConfig())
    (ids,) = renderer.render_responses(["é"], max_tokens=10)
    assert ids == [style.space, style.alphabet(0xC3), style.alphabet(0xA9), style.eos]


@pytest.mark.parametrize("place", ["title", "history title", "history review", "response"])
def test_render_hostile_text_has_no_special_id(style: Style, place: str) -> None:
    # A text's own tokens are read as such by the tokenizer's own call.
    own = {token.content for token in style.tokenizer.added_tokens_decoder.values()}
    known = [text for text in HOSTILE if text in own]
    assert known
    for text in known:
        assert special_ids(style) & set(style.tokenizer(text, add_special_tokens=False)["input_ids"])
    for text in (*HOSTILE, "".join(HOSTILE)):
        row = {
            "title": example(title=f"a{text}b"),
            "history title": example(history=[entry(1, title=text)]),
            "history review": example(history=[entry(1, review=f"{text}{text}")]),
            "response": example(),
        }[place]
        (ids,) = prompt_ids(style, [row])
        assert [number for number in ids if number in special_ids(style)] == [style.bos] * (style.bos is not None)
        renderer = PromptRenderer(style.tokenizer, PromptConfig())
        (response,) = renderer.render_responses([text], max_tokens=400)
        assert [number for number in response if number in special_ids(style)] == [style.eos]


def test_render_instruction_that_names_special_tokens_has_no_special_id(style: Style, tmp_path: Path) -> None:
    file = tmp_path / "instruction.txt"
    file.write_text(f"Write {' '.join(style.special)} now.")
    (prompt,) = PromptRenderer(style.tokenizer, PromptConfig(instruction_file=file)).render([example()])
    assert isinstance(prompt, Prompt)
    assert [number for number in prompt.token_ids if number in special_ids(style)] == [style.bos] * (style.bos is not None)
    assert f"Write {' '.join(style.special)} now." in read(style, prompt.token_ids)


def test_render_reads_the_same_in_every_style(styles: dict[str, Style]) -> None:
    expected = (
        f"### Instruction:\n{INSTRUCTION}\n### Input:\nItems that the user purchased before: "
        "(1) Rake. %Review: I love it. %Rating: 4.0. (2) Lamp é😀. %Review: Broken. %Rating: 1.0.\n"
        "### The user purchased a new item:\n Garden hose. %Rating: 2.0.\n### Response:\n"
    )
    assert {name: read(style, prompt_ids(style, ROWS[:1])[0]) for name, style in styles.items()} == dict.fromkeys(
        styles, expected
    )


def test_render_history_is_a_prefix_of_the_users_later_prompts(style: Style) -> None:
    renderer = PromptRenderer(style.tokenizer, PromptConfig(max_prompt_tokens=4096))
    entries = [entry(number, title=f"Item {number} é", review=f"{HOSTILE[number]} {number}") for number in range(9)]
    prompts = prompt_ids(style, [example(history=entries[:size]) for size in range(10)])
    target = len(prompts[0]) - len(renderer._head)
    for shorter, longer in itertools.pairwise(prompts):
        assert longer[: len(shorter) - target] == shorter[:-target]
        assert longer[-target:] == shorter[-target:]


def test_response_bytes_are_those_of_the_text_that_the_ids_say(style: Style) -> None:
    renderer = PromptRenderer(style.tokenizer, PromptConfig(max_prompt_tokens=4096))
    review = "  Leaks é😀,\n125 of 125. ### No"
    assert renderer.response_bytes(review, max_tokens=400) == len("Leaks é😀, 125 of 125. # No".encode())
    assert renderer.response_bytes(" \n", max_tokens=400) == 0
    compared = 0
    for most in range(2, 30):
        (ids,) = renderer.render_responses([review], max_tokens=most)
        kept = [number for number in ids if number not in special_ids(style)]
        shown = style.tokenizer.decode(kept, clean_up_tokenization_spaces=False).lstrip(" ")
        if "\ufffd" not in shown:  # else the cut parts a character, which counts as a whole
            assert renderer.response_bytes(review, max_tokens=most) == len(shown.encode())
            compared += 1
    assert compared > 20
