"""Tokenizers in the manner of Llama-3, Llama-2, Gemma and Qwen, trained on a few sentences, saved, and loaded as any base's is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from conftest import WORDS
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from reviewllm.prompts.tasks.review import INSTRUCTION
from reviewllm.prompts.tokenizer import load_tokenizer

# The two differ in how many digits make a token.
LLAMA_3_SPLIT, QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    + digits
    + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for digits in (r"\p{N}{1,3}", r"\p{N}")
)
LLAMA_3_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
LLAMA_2_SPECIAL = ["<unk>", "<s>", "</s>"]
GEMMA_SPECIAL = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QWEN_TEMPLATE = "{% for one in messages %}<|im_start|>{{ one.role }}\n{{ one.content }}<|im_end|>\n{% endfor %}"


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


def sentencepiece(special: list[str] = LLAMA_2_SPECIAL, *, dummy_prefix: bool = True) -> Tokenizer:
    """A BPE tokenizer with byte fallback as converted from SentencePiece; ids: special tokens, the 256 bytes, pieces."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator([*WORDS, INSTRUCTION], trainers.BpeTrainer(vocab_size=200, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(model["vocab"], key=model["vocab"].get)]
    backend = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=list(map(tuple, model["merges"])),
            unk_token=special[0],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix, strip = ([normalizers.Prepend("▁")], [decoders.Strip(" ", 1, 0)]) if dummy_prefix else ([], [])
    backend.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
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


def gemma(folder: Path) -> Style:
    backend = adds(sentencepiece(GEMMA_SPECIAL, dummy_prefix=False), "<bos>")
    options = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<pad>"}
    tokenizer = loaded(backend, folder, "PreTrainedTokenizerFast", **options)
    return Style(tokenizer, GEMMA_SPECIAL, 2, 1, lambda byte: 5 + byte, tokenizer.convert_tokens_to_ids("▁"))


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
    "gemma": gemma,
    "qwen": qwen,
}
