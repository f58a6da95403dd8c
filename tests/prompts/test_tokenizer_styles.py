"""Llama-3's, Llama-2's and Qwen's manner of tokenising: one BOS or none, one EOS, and training sees what generation sees.

Each tokenizer is trained here on a few sentences, saved, and loaded as any base's is.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from conftest import WORDS, entry, example
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tasks.review import INSTRUCTION
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.samples import Sample, SampleFile, write_samples
from reviewllm.sft.sequences import pack
from reviewllm.tables import EXAMPLES, write_table

# The two differ in how many digits make a token.
LLAMA_3_SPLIT, QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    + digits
    + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for digits in (r"\p{N}{1,3}", r"\p{N}")
)
LLAMA_3_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
LLAMA_2_SPECIAL = ["<unk>", "<s>", "</s>"]
QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QWEN_TEMPLATE = "{% for one in messages %}<|im_start|>{{ one.role }}\n{{ one.content }}<|im_end|>\n{% endfor %}"

HOSTILE = ["<|eot_id|>", "<s>", "</s>", "<|im_end|>", "<|begin_of_text|>", "<|endoftext|>", "<tool_call>", "<<s>s>", "<unk>"]
ROWS = [
    example(
        history=[entry(1, rating=4.0), entry(2, title="Lamp é😀", review="Broken.", rating=1.0)],
        reference="Leaks, 125 of 125.",
    ),
    example(example_id="e2", title=f"Hose {' '.join(HOSTILE)}", reference=f"Good. {' '.join(HOSTILE)}"),
    example(example_id="e3", history=[entry(number, review=f"{HOSTILE[number]} é") for number in range(9)]),
]


class Style(NamedTuple):
    """A loaded tokenizer, and the ids that it must be found to have."""

    tokenizer: Any
    special: list[str]  # their ids are their places
    bos: int | None
    eos: int
    alphabet: Callable[[int], int]  # id of a byte's token
    space: int  # id of the token that a text's first letter has before it


def byte_level(special: list[str], split: str) -> Tokenizer:
    """A byte-level BPE tokenizer; ids: special tokens, the 256 bytes in the order of the alphabet, merges."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=450, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator([*WORDS, INSTRUCTION], trainer)
    return backend


def sentencepiece() -> Tokenizer:
    """A BPE tokenizer with byte fallback as converted from SentencePiece; ids: special tokens, the 256 bytes, pieces."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator([*WORDS, INSTRUCTION], trainers.BpeTrainer(vocab_size=200, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    pieces = [*LLAMA_2_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(model["vocab"], key=model["vocab"].get)]
    backend = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=list(map(tuple, model["merges"])),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in LLAMA_2_SPECIAL])
    return backend


def adds(backend: Tokenizer, bos: str) -> Tokenizer:
    """The tokenizer, made to add a BOS by itself."""
    special = [(bos, backend.token_to_id(bos))]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=special
    )
    return backend


def loaded(backend: Tokenizer, folder: Path, tokenizer_class: str, **options: Any) -> Any:
    """Save a tokenizer under the class that its published bases name, and load it."""
    PreTrainedTokenizerFast(tokenizer_object=backend, **options).save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tokenizer_class": tokenizer_class}))
    return load_tokenizer(str(folder))


def gpt2_place(byte: int) -> int:
    """A byte's place in the byte-level alphabet: printable Latin-1 characters in order, then those that stand in for the rest."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [*printable, *(one for one in range(256) if one not in printable)].index(byte)


def llama_3(folder: Path) -> Style:
    backend = adds(byte_level(LLAMA_3_SPECIAL, LLAMA_3_SPLIT), "<|begin_of_text|>")
    options = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
    tokenizer = loaded(backend, folder, "PreTrainedTokenizerFast", **options)
    return Style(tokenizer, LLAMA_3_SPECIAL, 0, 1, lambda byte: 5 + gpt2_place(byte), 5 + gpt2_place(0x20))


def llama_2(folder: Path, tokenizer_class: str) -> Style:
    options = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = loaded(adds(sentencepiece(), "<s>"), folder, tokenizer_class, **options)
    return Style(tokenizer, LLAMA_2_SPECIAL, 1, 2, lambda byte: 3 + byte, tokenizer.convert_tokens_to_ids("▁"))


def qwen(folder: Path) -> Style:
    backend = byte_level(QWEN_SPECIAL, QWEN_SPLIT)
    backend.normalizer = normalizers.NFC()
    backend.add_tokens([AddedToken("<tool_call>", normalized=False, special=False)])
    # End and padding are the same token, as in Qwen's bases: it must be learned all the same.
    options = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "chat_template": QWEN_TEMPLATE}
    tokenizer = loaded(backend, folder, "Qwen2Tokenizer", **options)
    return Style(tokenizer, QWEN_SPECIAL, None, 0, lambda byte: 3 + gpt2_place(byte), 3 + gpt2_place(0x20))


STYLES: dict[str, Callable[[Path], Style]] = {
    "llama-3": llama_3,
    "llama-2": lambda folder: llama_2(folder, "LlamaTokenizer"),
    "llama-2 as in its file": lambda folder: llama_2(folder, "PreTrainedTokenizerFast"),
    "qwen": qwen,
}


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
