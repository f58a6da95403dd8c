"""Base and adapter as one model: faster than an adapter that is served live, and all that vLLM can tell likelihoods by."""

from __future__ import annotations

from pathlib import Path

from reviewllm.generation.model import Variant
from reviewllm.sft.adapter import merge_adapter, model_digest

MERGED = ".merged"  # the folder of a run's merged models


def merged_model(variant: Variant, folder: Path) -> Path:
    """The base with the adapter merged into it; made once in `folder`, under a name of its own, and found again later.

    Needs a connected Ray: it is made by a worker, since the driver may have neither the memory for a base nor torch. The bare base
    for a variant without an adapter.
    """
    if variant.adapter is None:
        return variant.base
    import ray

    merged = folder.absolute() / f"{model_digest(variant.base)[:12]}-{model_digest(variant.adapter)[:12]}"
    if not merged.is_dir():
        ray.get(ray.remote(merge_adapter).remote(variant.base, variant.adapter, merged))
    return merged
