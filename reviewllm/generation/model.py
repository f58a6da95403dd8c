"""Which base, adapter and prompt write the text, and the fingerprint that tells one such choice from another."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from reviewllm import __version__
from reviewllm.config import StageConfig
from reviewllm.errors import ConfigError
from reviewllm.generation.config import GenerationConfig
from reviewllm.prompts.renderer import PROMPT_VERSION, PromptConfig
from reviewllm.scoring.scorer import scorer_versions
from reviewllm.sft.adapter import Canary, check_fits, local_model_folder, model_digest


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
    check_context(base, prompt.max_prompt_tokens + generation.max_new_tokens)
    description = check_fits(adapter, base, prompt) if adapter else None
    return Variant(
        model=base_model,
        base=base,
        adapter=adapter.resolve() if adapter else None,
        prompt=prompt,
        canaries=description.canaries if description else [],
        fingerprint=fingerprint(base, adapter, prompt, generation),
    )


def fingerprint(base: Path, adapter: Path | None, prompt: PromptConfig, generation: GenerationConfig) -> str:
    """sha256 over all that decides a row's text and scores: equal fingerprints may share rows, others never."""
    parts = {
        "base": model_digest(base),
        "adapter": model_digest(adapter) if adapter else None,
        "prompt": {**prompt.model_dump(exclude={"instruction_file"}), "instruction": prompt.instruction()},
        "prompt_version": PROMPT_VERSION,
        "sampling": generation.sampling(),
        "scorers": scorer_versions(),
        "code": __version__,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def check_context(base: Path, tokens: int) -> None:
    """Refuse prompts and responses that the base has no positions for: such requests have hung engines for ever.

    Raises:
        ConfigError: with the numbers and what to lower.
    """
    limit = json.loads((base / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    if limit is not None and tokens > limit:
        raise ConfigError(
            f"--max-prompt-tokens and --max-new-tokens come to {tokens} tokens, but the base {base.name} has a context of "
            f"{limit}; lower one of them"
        )
