"""Base and adapter as one model: faster than an adapter that is served live, and all that vLLM can tell likelihoods by."""

from __future__ import annotations

from pathlib import Path

from reviewllm.cluster import own_error
from reviewllm.errors import EngineError
from reviewllm.generation.model import Variant
from reviewllm.sft.adapter import merge_adapter, model_digest

MERGED = ".merged"  # the folder of a run's merged models


def merged_model(variant: Variant, folder: Path) -> Path:
    """The base with the adapter merged into it; made once in `folder`, under a name of its own, and found again later.

    Needs a connected Ray: it is made by a worker, since the driver may have neither the memory for a base nor torch. The bare base
    for a variant without an adapter.

    Raises:
        EngineError: it cannot be made, as where memory or disk do not suffice.
    """
    if variant.adapter is None:
        return variant.base
    import ray
    import ray.exceptions

    merged = folder.absolute() / f"{model_digest(variant.base)[:12]}-{model_digest(variant.adapter)[:12]}"
    if not merged.is_dir():
        try:
            ray.get(ray.remote(merge_adapter).remote(variant.base, variant.adapter, merged))
        except ray.exceptions.RayError as error:
            raise own_error(error, EngineError) from error
    return merged
