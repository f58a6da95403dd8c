"""How likely texts are by a reference model, on one vLLM engine in a Ray actor: a prefill for each text, nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reviewllm.base_model import check_vocabulary, context_of, local_model_folder
from reviewllm.cluster import own_error, require_resources
from reviewllm.errors import EngineError
from reviewllm.files import without_patterns
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine_check import check_engine
from reviewllm.generation.engine_log import EngineLog
from reviewllm.generation.vllm_engine import as_transformers
from reviewllm.prompts.tokenizer import load_tokenizer

_FLAG = "--reference-model"
_MOST_TOKENS = 1024  # of a text; what a longer one goes on with tells nothing more
_MOST_CHARACTERS = 16 * _MOST_TOKENS  # no text has longer tokens on average


class ReferenceModel:
    """Ray actor: one engine that tells the likelihood of texts."""

    def __init__(self, model: str, engine_kwargs: dict[str, Any], *, most_tokens: int) -> None:
        """Start the engine.

        Args:
            most_tokens: of a text; the rest of a longer one is left out.

        Raises:
            EngineError: it cannot start.
        """
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        from vllm import LLM

        self._tokenizer = load_tokenizer(model)
        self._most_tokens = most_tokens
        arguments: dict[str, Any] = {
            "max_model_len": most_tokens + 1,  # vLLM always writes one token
            "enable_prefix_caching": False,  # a cached token has no likelihood
            "trust_remote_code": False,
            "load_format": "safetensors",
        }
        self._log = EngineLog()
        try:
            with without_patterns(Path(model)) as readable:  # weights are looked for by glob
                arguments = {"model": str(readable), **arguments, **engine_kwargs}
                arguments["hf_overrides"] = {**as_transformers(Path(model)), **arguments.get("hf_overrides", {})}
                self._engine = LLM(**arguments)
        except (RuntimeError, ValueError, TypeError, OSError) as error:
            said = " ".join(str(error).split())
            raise EngineError(f"{_FLAG} {model}: vLLM cannot start on it: {said}; {self._log.ending}") from error

    def log_likelihoods(self, texts: list[str]) -> list[float | None]:
        """Mean natural logarithm of the likelihood of each text's tokens; None for a text without a token to tell.

        Raises:
            EngineError: the engine died.
        """
        from vllm import SamplingParams
        from vllm.v1.engine.exceptions import EngineDeadError

        ids = [self._ids(text) for text in texts]
        asked = [number for number, tokens in enumerate(ids) if len(tokens) > 1]
        sampling = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        prompts = [{"prompt_token_ids": ids[number]} for number in asked]
        try:
            outputs = self._engine.generate(prompts, sampling, use_tqdm=False)
        except EngineDeadError as error:
            raise EngineError(f"vLLM died: {' '.join(str(error).split())}; {self._log.ending}") from error
        found: list[float | None] = [None] * len(texts)
        for number, output in zip(asked, outputs, strict=True):
            told = zip(ids[number][1:], output.prompt_logprobs[1:], strict=True)
            logs = [by_token[token].logprob for token, by_token in told]
            found[number] = float(sum(logs) / len(logs))
        return found

    def _ids(self, text: str) -> list[int]:
        """The tokens of a text behind the one that begins texts; where a tokenizer has none, behind the one that ends them."""
        start = self._tokenizer.bos_token_id
        if start is None:
            start = self._tokenizer.eos_token_id
        ids = self._tokenizer(text[:_MOST_CHARACTERS], add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [*([] if start is None else [start]), *ids][: self._most_tokens]


def check_reference(name: str, generation: GenerationConfig) -> Path:
    """Find out whether a reference model can be used, before anything is spent; returns its folder.

    Raises:
        ConfigError: the model cannot be read, its vocabulary does not fit, or the engine cannot compute with it.
    """
    folder = local_model_folder(name, flag=_FLAG)
    check_vocabulary(folder, load_tokenizer(str(folder), flag=_FLAG), flag=_FLAG)
    check_engine(folder, generation.model_copy(update={"engine": "vllm"}), flag=_FLAG)
    return folder


@contextmanager
def reference_model(name: str, generation: GenerationConfig) -> Iterator[Callable[[Sequence[str]], list[float | None]]]:
    """A function that tells the mean log-likelihood per token of texts, BOS before each; needs a connected Ray.

    A text that comes again is asked for once.

    Args:
        name: folder or hub name of the model.
        generation: its `cpus_per_engine`, `gpus_per_engine` and `engine_kwargs` are those of this engine.

    Raises:
        ConfigError: the model cannot be read.
        EngineError: the engine cannot start, or dies.
    """
    import ray
    import ray.exceptions

    folder = check_reference(name, generation)
    most_tokens = min(_MOST_TOKENS, (context_of(folder) or _MOST_TOKENS + 1) - 1)
    resources = {"num_cpus": generation.cpus_per_engine, "num_gpus": generation.gpus_per_engine}
    require_resources(
        cpus=generation.cpus_per_engine, gpus=generation.gpus_per_engine, flags="--cpus-per-engine, --gpus-per-engine"
    )
    actor = (
        ray.remote(ReferenceModel)
        .options(**resources)
        .remote(str(folder), generation.engine_kwargs, most_tokens=most_tokens)
    )
    known: dict[str, float | None] = {}

    def log_likelihoods(texts: Sequence[str]) -> list[float | None]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        try:
            known.update(zip(new, ray.get(actor.log_likelihoods.remote(new)), strict=True) if new else ())
        except ray.exceptions.RayError as error:
            raise own_error(error, EngineError) from error
        return [known[text] for text in texts]

    try:
        yield log_likelihoods
    finally:
        ray.kill(actor)
