"""Is a base trained here as its own code would have it? Asked of a small random model of its kind, before a worker starts.

What a layer does is its code's: a window, a cap, a sink, a state. So nothing is looked up in a list: the losses of samples
with our attention are compared with those of transformers' own (eager, one sample at a time).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reviewllm.errors import ConfigError
from reviewllm.sft.attention import TREE_ATTENTION
from reviewllm.sft.loss import response_loss
from reviewllm.sft.model import for_training
from reviewllm.sft.sequences import Sample, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VOCABULARY, _WINDOW, _INNER = 512, 8, 64  # of the small model; its width is the base's
_SHARED, _LENGTHS, _RESPONSE = 24, (40, 48, 56), 12  # tokens of the samples, which are longer than the window
_MOST = 1e-4  # nats a token: rounding gives a hundredth of it, and a forgotten window more than ten times as much


def check_trainable(folder: Path, *, packing: bool) -> None:
    """Refuse a base whose samples would not have the losses that its own code gives them.

    Args:
        folder: of the base.
        packing: whether samples share a forward pass.

    Raises:
        ConfigError: transformers knows no such causal language model; its attention is not ours to replace; or its layers
            hold a state, so that samples of a pass are not apart.
    """
    from transformers import AutoConfig

    try:
        config = small(for_training(AutoConfig.from_pretrained(folder, trust_remote_code=False)))
        model = _random_model(config)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"--base-model {folder}: transformers knows no such causal language model: {error}") from error
    samples = _samples()
    alone = [_eager_loss(model, sample) for sample in samples]
    name = type(model).__name__
    if not model._can_set_attn_implementation():
        raise ConfigError(f"--base-model {folder}: {_cannot(name, 'it takes no attention but its own')}")
    model.set_attn_implementation(TREE_ATTENTION)
    try:
        ours = [_loss(model, [sample]) for sample in samples]
        packed = _loss(model, samples)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"--base-model {folder}: {_cannot(name, ' '.join(str(error).split()))}") from error
    tokens = len(samples) * _RESPONSE
    if max(abs(one - other) for one, other in zip(ours, alone, strict=True)) > _MOST * _RESPONSE:
        said = f"a loss of {sum(ours) / tokens:.4f} nats a token where its own code gives {sum(alone) / tokens:.4f}"
        raise ConfigError(f"--base-model {folder}: {_cannot(name, said)}")
    if packing and abs(packed - sum(alone)) > _MOST * tokens:
        raise ConfigError(
            f"--base-model {folder}: layers of {name} hold a state that goes from sample to sample of a forward pass (a loss of "
            f"{packed / tokens:.4f} nats a token packed, {sum(alone) / tokens:.4f} alone); set --no-packing"
        )


def _cannot(name: str, why: str) -> str:
    return (
        f"{name} of transformers cannot be trained with the attention that keeps the samples of a forward pass apart: {why}; "
        "name a base of another architecture, such as Llama"
    )


def small(config: Any) -> Any:
    """The configuration of a small model with the same kinds of layers, one of each, and windows that bite; changed in place."""
    text = config.get_text_config()
    layers = text.num_hidden_layers
    lists = {name: value for name, value in vars(text).items() if isinstance(value, list | tuple) and len(value) == layers}
    kinds = {tuple(str(value[place]) for value in lists.values()): place for place in reversed(range(layers))}
    kept = sorted(kinds.values()) if lists else list(range(min(2, layers)))
    changed: dict[str, Any] = {name: [value[place] for place in kept] for name, value in lists.items()}
    changed |= {"num_hidden_layers": len(kept), "vocab_size": _VOCABULARY, "pad_token_id": None}
    changed["initializer_range"] = 2 / text.hidden_size**0.5  # attention that tells tokens apart
    for name, most in (
        ("sliding_window", _WINDOW),
        ("attention_window_size", _WINDOW),
        ("attention_chunk_size", _WINDOW),
        ("intermediate_size", _INNER),
        ("moe_intermediate_size", _INNER),
    ):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > most:
            changed[name] = most
    for name, value in changed.items():
        setattr(text, name, value)
    return config


def _random_model(config: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()


def _samples() -> list[Sample]:
    """Two samples that share their first tokens, and one apart."""
    rng = np.random.default_rng(0)

    def tokens(count: int) -> NDArray[np.int32]:
        return rng.integers(3, _VOCABULARY, count, dtype=np.int32)

    shared = tokens(_SHARED)
    texts = [np.concatenate([shared, tokens(length - _SHARED)]) for length in _LENGTHS[:2]] + [tokens(_LENGTHS[2])]
    return [Sample(str(number), "u", text, len(text) - _RESPONSE) for number, text in enumerate(texts)]


def _eager_loss(model: Any, sample: Sample) -> float:
    import torch
    from torch.nn.functional import cross_entropy

    ids = torch.from_numpy(sample.token_ids.astype(np.int64))
    with torch.no_grad():
        logits = model(input_ids=ids[None], use_cache=False).logits[0]
    start = sample.prompt_tokens
    return float(cross_entropy(logits[start - 1 : -1].float(), ids[start:], reduction="sum"))


def _loss(model: Any, samples: list[Sample]) -> float:
    import torch

    with torch.no_grad():
        return float(response_loss(model, pack(samples), device="cpu"))
