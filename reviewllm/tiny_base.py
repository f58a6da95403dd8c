"""A tiny Llama-architecture base with its own tokenizer, made on the spot: for the demo and the tests, never for a shop.

It learns the shop's English from users who are not evaluated, several reviews of one user after another and without any
instruction, so that it writes such sentences and knows what a rating means, but has never seen a prompt.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pydantic import Field

from reviewllm.attributes.salience import by_salience
from reviewllm.attributes.serialise import Serialisation, serialise
from reviewllm.attributes.values import read_attributes
from reviewllm.config import StageConfig
from reviewllm.files import follow_umask
from reviewllm.prompts.config import PromptForm
from reviewllm.prompts.tasks import TASKS, TaskName
from reviewllm.prompts.tasks.task import (
    HISTORY_MARKER,
    ITEM_MARKER,
    NEW_ITEM_MARKER,
    RATING_FIELD,
    RESPONSE_MARKER,
    REVIEW_FIELD,
)

_ATTRIBUTES, _PRODUCT_CHARS = 8, 600  # of an item in a document: the tiny base sees 256 tokens at once
BOS, EOS, PAD = "<s>", "</s>", "<pad>"


class TinyBaseConfig(StageConfig):
    """Size and training of the tiny base."""

    base_vocabulary: int = Field(1280, ge=300, description="tokens of the tiny base's vocabulary")
    base_hidden: int = Field(128, ge=32, multiple_of=32, description="width of the tiny base, whose heads have 32 values")
    base_layers: int = Field(4, ge=1, description="layers of the tiny base")
    base_steps: int = Field(600, ge=0, description="optimizer steps of the tiny base's own training")
    base_learning_rate: float = Field(6e-3, gt=0, description="highest learning rate of the tiny base's own training")
    seed: int = Field(0, ge=0, description="of every random choice")


def user_documents(examples: pa.Table, forms: Sequence[Serialisation] = ()) -> list[list[str]]:
    """Each user's reviews in order of time with the items' titles and ratings: what the tiny base is trained on.

    Reads user_id, purchased_at, title, rating, reference and, with forms, attributes of training examples.

    Args:
        forms: in which the items' attributes stand beside the titles, in turn: a base has met such texts. None: only titles.
    """
    columns = ["user_id", "purchased_at", "title", "attributes", "rating", "reference"]
    ordered = pl.DataFrame(examples.select(columns)).sort("user_id", "purchased_at")
    if forms:
        shown = [
            _product(title, attributes, form)
            for title, attributes, form in zip(ordered["title"], ordered["attributes"], itertools.cycle(forms), strict=False)
        ]
        ordered = ordered.with_columns(title=pl.Series(shown, dtype=pl.String))
    text = pl.format("{}. Rating: {}. {}", "title", "rating", "reference")
    return ordered.group_by("user_id", maintain_order=True).agg(text.alias("texts"))["texts"].to_list()


def _product(title: str, attributes: str | None, form: Serialisation) -> str:
    """An item with its most telling attributes."""
    found = read_attributes(attributes)
    names = by_salience(found)[:_ATTRIBUTES]
    return serialise({"title": title, **{name: found[name] for name in names}}, form)[:_PRODUCT_CHARS]


def train_tokenizer(texts: Sequence[str], *, vocabulary: int, context: int) -> Any:
    """Train a byte-level BPE tokenizer that adds one BOS, in the manner of Llama-3's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[PAD, BOS, EOS], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=context
    )


def make_tiny_base(
    documents: Sequence[Sequence[str]],
    folder: Path,
    config: TinyBaseConfig,
    *,
    context: int = 2048,
    task: TaskName = "review",
    form: PromptForm = "paper",
    structure: Sequence[str] = (),
    on_step: Callable[[int, int, float], None] | None = None,
) -> Path:
    """Train tokenizer and weights and save them to `folder` as a Hugging Face model (safetensors).

    Args:
        documents: reviews of one user each, oldest first.
        task: whose instructions the tokenizer has met.
        form: of the prompts that it has met.
        structure: further texts of prompts that it has met.
        on_step: called with (steps done, steps in all, loss per token).
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(config.seed)
    texts = [text for document in documents for text in document]
    # The tokenizer has met the prompts' English, as any real one has, so that they leave room for history; the weights
    # have not.
    fields = [f"{REVIEW_FIELD} x{RATING_FIELD.format(stars)} (1)" for stars in range(1, 6)]
    asked = (TASKS[task].dialogue if form == "dialogue" else None) or TASKS[task]
    instructions = [asked.instruction, asked.instruction_without_rating]
    markers = [ITEM_MARKER] if form == "dialogue" else [HISTORY_MARKER, NEW_ITEM_MARKER]
    prompts = [*instructions, *markers, RESPONSE_MARKER, *fields, *structure]
    texts += prompts * (1 + len(texts) // 50)
    tokenizer = train_tokenizer(texts, vocabulary=config.base_vocabulary, context=context)
    heads = config.base_hidden // 32  # vLLM on CPUs computes with no smaller ones
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.base_hidden,
            intermediate_size=config.base_hidden * 8 // 3,
            num_hidden_layers=config.base_layers,
            num_attention_heads=heads,
            num_key_value_heads=heads if heads % 2 else heads // 2,
            max_position_embeddings=context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=True,
        )
    )
    stream = _token_stream(documents, tokenizer, config.seed)
    _train(model, torch.tensor(stream), config, on_step)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    follow_umask(folder)
    return folder


def _token_stream(documents: Sequence[Sequence[str]], tokenizer: Any, seed: int) -> list[int]:
    """Every review twice: beside the same user's others, and alone among strangers' in random order.

    Among a user's reviews the base learns to go on in a manner; alone, only the rating tells it what comes.
    """
    alone = [[text] for document in documents for text in document]
    random.Random(seed).shuffle(alone)
    stream: list[int] = []
    for document in [*documents, *alone]:
        stream.append(tokenizer.bos_token_id)
        for ids in tokenizer(list(document), add_special_tokens=False)["input_ids"]:
            stream += [*ids, tokenizer.eos_token_id]
    return stream


def _train(model: Any, stream: Any, config: TinyBaseConfig, on_step: Callable[[int, int, float], None] | None) -> None:
    """Plain next-token training on random windows; warm-up, then cosine decay."""
    import torch

    # At 6e-3 the base learns to go on in a user's manner within 400 steps; at 3e-3 it takes more than 600.
    window, batch, peak, warm_up = 256, 8, config.base_learning_rate, 40
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.95), weight_decay=0.01)
    generator = torch.Generator().manual_seed(config.seed)
    window = min(window, len(stream) - 1)
    for step in range(config.base_steps):
        progress = step / max(config.base_steps, 1)
        rate = peak * min((step + 1) / warm_up, max(0.1, 0.5 * (1 + math.cos(math.pi * progress))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(0, len(stream) - window, (batch,), generator=generator)
        tokens_BT = torch.stack([stream[start : start + window] for start in starts.tolist()])
        loss = model(input_ids=tokens_BT, labels=tokens_BT).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_step:
            on_step(step + 1, config.base_steps, float(loss.detach()))
