"""The likelihood of the real review: how much of it is looked at, and what decides the figure beside the model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from reviewllm.base_model import check_context, context_of
from reviewllm.evaluation.contenders import Contender
from reviewllm.generation.config import GenerationConfig
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.adapter import read_description
from reviewllm.sft.config import SFTConfig

_DEFAULT_TOKENS: int = SFTConfig.model_fields["max_response_tokens"].default


def reference_tokens(contenders: Sequence[Contender], generation: GenerationConfig, *, asked: int | None = None) -> int:
    """Tokens of a real review whose likelihood every model of an evaluation tells, the same for all; 0 where none can.

    By default as many as the adapters were trained on (the fewest of them), without an adapter as many as training takes by
    default; no more than the base has positions for behind the longest prompt, and one to spare, which vLLM asks for.

    Args:
        asked: `--max-response-tokens`; None for the default.

    Raises:
        ConfigError: more are asked for than the base has positions for.
        AdapterError: an adapter is incomplete.
    """
    variants = [one.variant for one in contenders if one.kind in ("base", "adapter")]
    if not variants or generation.engine == "rule":
        return 0
    base, prompt_tokens = variants[0].base, max(variant.prompt.max_prompt_tokens for variant in variants)
    if asked is not None:
        check_context(base, prompt_tokens + asked + 1)
        return asked
    adapters = {variant.adapter for variant in variants if variant.adapter}
    trained = [read_description(adapter).sft.max_response_tokens for adapter in adapters]
    context = context_of(base)
    room = [] if context is None else [context - prompt_tokens - 1]
    return min([*(trained or [_DEFAULT_TOKENS]), *room])


def reference_versions(base: Path, tokens: int, *, history_worth: bool = False) -> dict[str, str]:
    """What decides the figures beside the model and its prompts, by figure: nothing where none is told (`tokens` 0).

    A figure for each token is comparable under one tokenizer alone; one for each byte under any. `history_worth` says whether
    the review was asked for behind the prompt without the history too.
    """
    if not tokens:
        return {}
    tokenizer = hashlib.sha256(load_tokenizer(str(base)).backend_tokenizer.to_str().encode()).hexdigest()[:16]
    cut = f"of at most {tokens} tokens"
    by_token = f"{cut}, tokenizer {tokenizer}"
    alone = {"reference_nll_without_history": by_token} if history_worth else {}
    return {"reference_nll": by_token, "reference_nll_per_byte": cut, **alone}
