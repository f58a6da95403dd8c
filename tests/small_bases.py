"""Random bases of two layers in the architectures that shops bring, small enough to be made in a test.

Windows are 16 tokens, caps of logits low, and the two layers of different types where an architecture has two.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from conftest import WORDS
from transformers import AutoModelForCausalLM, PretrainedConfig

from reviewllm.tiny_base import train_tokenizer

WINDOW, CONTEXT, VOCABULARY = 16, 512, 300
HEAD = 32  # values of an attention head: vLLM on CPUs computes with no smaller ones
_BOTH = ["sliding_attention", "full_attention"]
_WIDTHS = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": CONTEXT,
}
_ALL_HEADS = {name: value for name, value in _WIDTHS.items() if name != "num_key_value_heads"}
_HEADS = {**_WIDTHS, "head_dim": HEAD}
_GPT = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": CONTEXT}
_ALIBI = {"hidden_size": 64, "n_layer": 2, "n_head": 2}
_GEMMA = {**_HEADS, "sliding_window": WINDOW, "layer_types": _BOTH, "query_pre_attn_scalar": HEAD}
_CAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.0}
_QWEN_WINDOW = {"use_sliding_window": True, "sliding_window": WINDOW, "layer_types": _BOTH, "max_window_layers": 1}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 150000.0,
    "factor": 4.0,
    "original_max_position_embeddings": CONTEXT // 4,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
}
_LFM2 = {"conv_dim": 64, "block_dim": 64}  # what vLLM reads in the published ones, and transformers does not write

_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _WIDTHS),
    "mistral": ("MistralConfig", {**_HEADS, "sliding_window": None}),
    "mistral-window": ("MistralConfig", {**_HEADS, "sliding_window": WINDOW}),
    "qwen2": ("Qwen2Config", _WIDTHS),
    "qwen2-window": ("Qwen2Config", {**_WIDTHS, **_QWEN_WINDOW}),
    "qwen3": ("Qwen3Config", _HEADS),
    "qwen3-window": ("Qwen3Config", {**_HEADS, **_QWEN_WINDOW}),
    "gemma2": ("Gemma2Config", {**_GEMMA, **_CAPS}),
    "gemma3": ("Gemma3TextConfig", _GEMMA),
    "phi3": ("Phi3Config", {**_WIDTHS, "original_max_position_embeddings": CONTEXT}),
    "phi3-window": ("Phi3Config", {**_WIDTHS, "original_max_position_embeddings": CONTEXT, "sliding_window": WINDOW}),
    "cohere2": ("Cohere2Config", {**_HEADS, "sliding_window": WINDOW, "layer_types": _BOTH, "logit_scale": 0.5}),
    "olmo2": ("Olmo2Config", _WIDTHS),
    "gpt-neox": ("GPTNeoXConfig", _ALL_HEADS),
    "gpt2": ("GPT2Config", _GPT),
    "gpt-oss": (
        "GptOssConfig",
        {
            **_HEADS,
            "sliding_window": WINDOW,
            "layer_types": _BOTH,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "rope_parameters": _YARN,
        },
    ),
    "bloom": ("BloomConfig", _ALIBI),
    "falcon": ("FalconConfig", {**_WIDTHS, "ffn_hidden_size": 4 * 64}),  # vLLM knows no other width
    "gptj": ("GPTJConfig", {**_GPT, "rotary_dim": 16}),
    "mamba": ("MambaConfig", {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8}),
    "lfm2": ("Lfm2Config", {**_WIDTHS, "layer_types": ["conv", "full_attention"], **_LFM2}),
    "recurrent-gemma": (
        "RecurrentGemmaConfig",
        {**_HEADS, "lru_width": 64, "attention_window_size": WINDOW, "block_types": ("recurrent", "attention")},
    ),
}
NAMES = tuple(_CONFIGS)


def small_base(name: str, **changed: Any) -> PretrainedConfig:
    """The configuration of a small base; `changed` wins over what stands here."""
    kind, options = _CONFIGS[name]
    make: Callable[..., PretrainedConfig] = getattr(transformers, kind)
    tokens = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # train_tokenizer's
    return make(**{**tokens, "architectures": [_architecture(kind)], **options, **changed})


def _architecture(kind: str) -> str:
    return {"GPT2Config": "GPT2LMHeadModel", "Gemma3TextConfig": "Gemma3ForCausalLM"}.get(
        kind, kind.replace("Config", "ForCausalLM")
    )


def random_model(config: PretrainedConfig, *, seed: int = 0) -> Any:
    """A model in float32 whose every weight is random, and large enough for attention and layers to tell in what it writes.

    As made by transformers, biases and sinks are zero and norms plain.
    """
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    embeddings = model.get_input_embeddings().weight
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight is embeddings:
                weight.normal_(0, 0.05)  # a larger one that is tied would write each token again
            elif weight.ndim > 1 and "A_log" not in name:
                weight.normal_(0, 0.2)
            elif weight.ndim == 1 and not name.endswith((".D", "recurrent_param")):
                weight.add_(torch.randn_like(weight), alpha=0.1)
    return model


def save_small_base(name: str, folder: Path, *, seed: int = 0, **changed: Any) -> Path:
    """Write a small random base with its tokenizer to `folder`."""
    random_model(small_base(name, **changed), seed=seed).save_pretrained(folder)
    train_tokenizer(WORDS, vocabulary=VOCABULARY, context=CONTEXT).save_pretrained(folder)
    return folder
