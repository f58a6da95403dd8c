"""Bases of random weights at true shapes, LoRA that acts from its first step, and what a pass over them computes and keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

VOCABULARY = 128_256  # Llama-3's
LLAMA_3_8B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
SMOLLM2_VOCABULARY = 49_152
SMOLLM2_135M = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
SMALL_BODY = {
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}

# Dense bf16 tensor-core peaks of the vendor's data sheets, FLOP/s. Of two names that fit the first counts.
PEAK_FLOPS = {"A100": 312e12, "A800": 312e12, "H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "B200": 2250e12}


class Peak(NamedTuple):
    """The peak of a device (FLOP/s), and the name in `PEAK_FLOPS` that it goes by."""

    name: str
    flops: float


def peak_of(device: str) -> Peak | None:
    """The peak that is assumed of a device with this name; None where the name is not known.

    >>> peak_of("NVIDIA H100 PCIe"), peak_of("a CPU")
    (Peak(name='H100 PCIe', flops=756000000000000.0), None)
    """
    return next((Peak(name, flops) for name, flops in PEAK_FLOPS.items() if name in device), None)


def save_random_base(
    folder: Path, shape: Mapping[str, int], *, vocabulary: int, tied: bool, dtype: str, device: str, seed: int
) -> None:
    """A Llama with random weights, without a tokenizer.

    Args:
        shape: the options of `LlamaConfig` that make its body.
        tied: whether the output layer is the embeddings.
        dtype: a name of torch's.
        device: where the weights are drawn.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        max_position_embeddings=16384,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **shape,
    )
    config.dtype = getattr(torch, dtype)
    with torch.device(device):
        LlamaForCausalLM._from_config(config, dtype=config.dtype).save_pretrained(folder)


def drawn_lora(base: Any, sft: Any) -> Any:
    """LoRA from the seed of an `SFTConfig`, with B drawn too: at 0 it would hide what LoRA does in the first step."""
    import torch

    from reviewllm.sft.model import add_lora, trainable

    model = add_lora(base, sft)
    generator = torch.Generator().manual_seed(sft.seed + 1)
    with torch.no_grad():
        for name, weight in trainable(model).items():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.01)
    return model


def useful_flops(model: Any, *, tokens: float, pairs: float, response_tokens: float) -> float:
    """FLOPs that a forward and a backward pass of LoRA need, whatever is computed twice to save memory.

    2 a weight and token forwards, 2 more for the gradient of the activations (the base's own weights have none); the
    output layer counts at response tokens alone; attention 4 x heads x width of a head x pairs forwards and twice that
    backwards.

    Args:
        tokens: that go through the body.
        pairs: of tokens of which one sees the other, in each layer.
    """
    shape = model.config
    body = sum(weight.numel() for name, weight in model.named_parameters() if "layers." in name)
    output = shape.vocab_size * shape.hidden_size
    width = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
    attended = shape.num_hidden_layers * 4 * shape.num_attention_heads * width * pairs
    return float(4 * (body * tokens + output * response_tokens) + 3 * attended)


def kept_bytes(shape: Mapping[str, int], *, rank: int = 8) -> dict[str, int]:
    """Bytes that one layer of a Llama keeps of each token for the backward pass, by what for.

    The base is in bfloat16, with LoRA on all linear layers; nothing is checkpointed. docs/training.md has the reasons.
    """
    hidden, wide, heads = shape["hidden_size"], shape["intermediate_size"], shape["num_attention_heads"]
    keys = hidden // heads * shape["num_key_value_heads"]
    half, single = 2, 4  # bytes of bfloat16 and of float32
    return {
        "norms": 2 * (hidden + 1) * single,
        "lora": (3 * hidden + wide + 7 * rank) * half,
        "attention": (2 * hidden + 2 * keys) * half + heads * single,
        "mlp": 3 * wide * half,
    }
