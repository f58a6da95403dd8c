"""An NLI cross-encoder: a real one, made and trained on the spot, as none can be had here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from reviewllm.errors import ConfigError
from reviewllm.evaluation.nli import read_nli_model, sentences_of
from reviewllm.scoring.scorer import Product

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["The", "product", "is", "Kettle", ".", "It", "never", "works", "red", "fine"]
LABELS = {0: "contradiction", 1: "entailment", 2: "neutral"}


def cross_encoder(folder: Path, labels: dict[int, str]) -> Path:
    """A cross-encoder that finds a contradiction in a hypothesis with 'never' and an entailment in every other."""
    torch.manual_seed(0)
    tokens = Tokenizer(WordLevel({word: number for number, word in enumerate([*SPECIAL, *WORDS])}, unk_token="[UNK]"))
    tokens.pre_tokenizer = Whitespace()
    tokens.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokens, model_max_length=64, **names)
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
        num_labels=len(labels),
    )
    model = BertForSequenceClassification(config)
    hypotheses = ["It never works .", "It works .", "It is red .", "It never is red .", "fine .", "never fine ."]
    batch = tokenizer(["The product is Kettle ."] * 6, hypotheses, padding=True, return_tensors="pt")
    wanted = torch.tensor([0 if "never" in text else 1 for text in hypotheses])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(**batch).logits, wanted).backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow  # it trains the model
def test_nli_share_of_contradicted_sentences(tmp_path: Path) -> None:
    contradicted = read_nli_model(str(cross_encoder(tmp_path, LABELS)))
    kettle = Product("Kettle", None, [])
    texts = ["It never works. It is red.", "It works. Fine.", "5/5 !!!", "It never works."]
    assert contradicted([(text, kettle) for text in texts]) == [50.0, 0.0, None, 100.0]
    assert contradicted([]) == []


def test_nli_refuses_what_is_no_nli_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected one label 'contradiction' .* found bad, good"):
        read_nli_model(str(cross_encoder(tmp_path / "other", {0: "bad", 1: "good"})))
    with pytest.raises(ConfigError, match=r"--nli-model .*: neither a folder nor a hub name"):
        read_nli_model(str(tmp_path / "nothing"))


def test_sentences_of_hostile_text_are_few() -> None:
    assert len(sentences_of("It is so. " * 100_000)) == 30
    assert sentences_of("") == sentences_of("!!! ... 5") == []
