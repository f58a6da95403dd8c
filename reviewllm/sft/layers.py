"""Which layers of a base LoRA adapts: by default all linear ones of its decoder, as PEFT's `all-linear` means it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from reviewllm.errors import ConfigError

if TYPE_CHECKING:
    from peft import LoraConfig

    from reviewllm.sft.config import SFTConfig

ALL_LINEAR = "all-linear"


class Layers(NamedTuple):
    """What LoRA adapts of a base, and what it does not.

    adapted: the layers' full names. left_out: other weights of the decoder that an adapter for all linear layers does not
    reach, as those of experts, by the last two parts of their names.
    """

    adapted: list[str]
    left_out: list[str]

    def kinds(self) -> list[str]:
        """The last parts of the adapted layers' names.

        >>> Layers(["h.0.up", "h.0.down", "h.1.up", "h.1.down"], []).kinds()
        ['down', 'up']
        """
        return sorted({_kind(name) for name in self.adapted})


def adapted_layers(base: Any, target_modules: list[str], *, name: str) -> Layers:
    """Find what LoRA adapts of a base, which may be on the meta device.

    Args:
        target_modules: last parts of layers' names, or `all-linear`.
        name: of the base, for the message.

    Raises:
        ConfigError: names the unknown modules and those that exist.
    """
    linear = _linear_layers(base)
    if target_modules == [ALL_LINEAR]:
        return Layers(list(linear), _left_out(base, linear))
    kinds = dict.fromkeys(map(_kind, linear))
    unknown = [kind for kind in target_modules if kind not in kinds]
    if unknown or not target_modules:
        bare = [weight for weight in _left_out(base, linear) if _kind(weight) in unknown]
        raise ConfigError(
            f"--target-modules {' '.join(unknown) or '(none)'}: the base {name} has no such linear layer; it has "
            f"{', '.join(kinds)}, and {ALL_LINEAR} alone stands for all of them"
            + (f" ({', '.join(bare)}: weights without a layer of their own, which LoRA does not adapt here)" if bare else "")
        )
    return Layers([layer for layer in linear if _kind(layer) in target_modules], [])


def lora_config(base: Any, sft: SFTConfig) -> LoraConfig:
    """PEFT's configuration of the adapter."""
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    layers = adapted_layers(base, sft.target_modules, name=sft.base_model).adapted
    return LoraConfig(
        r=sft.lora_r,
        lora_alpha=sft.lora_alpha,
        lora_dropout=sft.lora_dropout,
        target_modules=_as_peft_names_them(base, layers),
        fan_in_fan_out=isinstance(base.get_submodule(layers[0]), Conv1D),  # GPT-2's, whose weights lie the other way
        task_type="CAUSAL_LM",
    )


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _linear_layers(base: Any) -> dict[str, Any]:
    """The linear layers of the decoder by full name: no output layer, no tower for images, and none that PEFT refuses."""
    import torch
    from peft import LoraConfig
    from peft.tuners.tuners_utils import _check_lora_target_modules_mamba
    from transformers.pytorch_utils import Conv1D

    output, decoder = base.get_output_embeddings(), {id(module) for module in base.get_decoder().modules()}
    found = {}
    for name, module in base.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not output and id(module) in decoder:
            try:
                _check_lora_target_modules_mamba(LoraConfig(), base, _kind(name))
            except ValueError:  # its weights are read past the layer, so LoRA would not act
                continue
            found[name] = module
    return found


def _left_out(base: Any, adapted: dict[str, Any]) -> list[str]:
    """Weights of the decoder that are no linear layer and no embedding, as [experts, out, in] of a mixture of experts."""
    import torch

    others = [
        ".".join(f"{name}.{weight}".split(".")[-2:])
        for name, module in base.get_decoder().named_modules()
        if not isinstance(module, torch.nn.Embedding) and module not in set(adapted.values())
        for weight, tensor in module.named_parameters(recurse=False)
        if tensor.ndim > 1 and not weight.endswith("bias")
    ]
    return sorted(set(others))


def _as_peft_names_them(base: Any, layers: list[str]) -> list[str]:
    """The last parts of the names, where these mean the same layers: short, and the same for a base of any depth."""
    chosen = set(layers)
    others = {_kind(name) for name, _ in base.named_modules() if name not in chosen}
    return sorted({_kind(name) if _kind(name) not in others else name for name in layers})
