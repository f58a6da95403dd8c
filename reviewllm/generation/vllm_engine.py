"""vLLM as the engine, on CPU or GPU: token ids in, final outputs only."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reviewllm.base_model import model_config
from reviewllm.errors import AdapterError, EngineError
from reviewllm.files import without_patterns
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine import Completion, Progress, RefusedError, Request, RowError, shared_beginning
from reviewllm.generation.engine_log import EngineLog
from reviewllm.generation.served_layers import EXTENSION
from reviewllm.generation.vllm_source import computes_on_cpu
from reviewllm.sft.canary import CANARY_TOKENS

# llguidance: xgrammar 0.2.8 allows no quotation mark in a string of limited length. Without white space between members an
# answer is written as it was trained on, and a model that has learned nothing cannot write spaces for ever.
_COMPACT_JSON = {"backend": "guidance", "disable_any_whitespace": True}
_CPU_KV_CACHE_GIB = "2"  # where the user set none: vLLM's own default takes half of the machine's memory


class VLLMEngine:
    """One `AsyncLLM`; adapters, where given, are served live beside the base."""

    def __init__(
        self,
        config: GenerationConfig,
        *,
        model: Path,
        tokenizer: Any,
        max_model_len: int,
        adapters: list[str],
        end_tokens: Sequence[int],
        constrained: bool = False,
    ) -> None:
        """Start the engine: about half a minute on two cores.

        Args:
            config: sampling, and `engine_kwargs` for vLLM, which win over what is set here.
            model: the base, or base and adapter merged.
            tokenizer: decodes what was written.
            max_model_len: tokens of prompt and response at most.
            adapters: folders of the LoRA adapters to serve live.
            end_tokens: ids that end a response.
            constrained: whether requests will have an `answer_schema`.

        Raises:
            EngineError: vLLM cannot start.
        """
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", _CPU_KV_CACHE_GIB)
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM

        self._progress = Progress()
        self._log = EngineLog()
        arguments: dict[str, Any] = {
            "max_model_len": max_model_len,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "trust_remote_code": False,
            "load_format": "safetensors",
        }
        if adapters:
            # On a CPU a row without an adapter that shares a batch with rows that have one gets the last place's (vLLM 0.32.0
            # indexes the places with -1, `lora_ops.bgmv_shrink`): that place stays empty, and empty places add nothing.
            places = len(adapters) + (1 if computes_on_cpu() else 0)
            arguments |= {"enable_lora": True, "max_loras": places, "max_lora_rank": _largest_rank(adapters)}
            # Else vLLM makes room for adapters on the output layer too, computes it for every token, and dies of the logits of a
            # prompt beside another request, since it takes them for those of one token each (0.32.0, `add_lora_logits`).
            arguments["lora_target_modules"] = _adapted_modules(adapters)
            arguments["worker_extension_cls"] = EXTENSION
        if config.temperature and computes_on_cpu():
            # vLLM draws a token behind a part of a prompt too, throws it away and takes the seeded generator's draw back, which a
            # CPU's cannot (0.32.0, `_bookkeeping_sync`): the engine dies. So prompts are computed whole.
            arguments["enable_chunked_prefill"] = False
        if constrained:
            arguments["structured_outputs_config"] = _COMPACT_JSON
        try:
            with without_patterns(model) as readable:  # weights are looked for by glob
                arguments = {"model": str(readable), **arguments, **config.engine_kwargs}
                arguments["hf_overrides"] = {**as_transformers(model), **arguments.get("hf_overrides", {})}
                self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), stat_loggers=[self._count_into()])
        except (RuntimeError, ValueError, TypeError, OSError) as error:
            raise EngineError(f"vLLM cannot start on {model}: {' '.join(str(error).split())}; {self._log.ending}") from error
        self._config = config
        self._tokenizer = tokenizer
        self._end_tokens = list(end_tokens)
        self._loras = {path: LoRARequest(Path(path).name, place, path) for place, path in enumerate(adapters, start=1)}
        self._numbers = itertools.count()

    async def load_adapters(self) -> None:
        """Load the adapters, whole.

        Raises:
            AdapterError: vLLM takes one not at all, or would leave out some of its layers.
        """
        for path, lora in self._loras.items():
            told = await self._engine.collective_rpc("adapter_left_out", args=(lora.lora_name, lora.lora_int_id, path))
            failures = [failure for failure, _ in told if failure]
            # Of a model that is shared out by layers each worker has its own.
            left_out = sorted(set.intersection(*({*names} for _, names in told)))
            if failures or left_out:
                raise AdapterError(
                    f"adapter {path}: vLLM "
                    + (
                        f"cannot load it ({' '.join(failures[0].split())})"
                        if failures
                        else f"would leave out {_few(left_out)}"
                    )
                    + "; merged into its base it is served whole: a backfill does so without --live-adapter; for other jobs merge "
                    "them with jobs/merge.py and name the merged model as the base"
                )

    async def generate(self, request: Request) -> Completion:
        """Write one row; cancelling the task cancels the request.

        Raises:
            RowError: vLLM refused the request, or failed on it.
            EngineError: the engine died.
        """
        (written,) = await self.write_drafts(request, 1)
        return written

    async def write_drafts(self, request: Request, count: int) -> list[Completion]:
        """Write one row so many times; the prompt is computed once.

        vLLM (0.32.0, `ParentRequest`) samples draft i of a request from seed + i with a generator of its own, so that a row's
        drafts differ from each other and follow from its seed alone. The first is the text of a request for one alone.

        Raises:
            RowError: vLLM refused the request, or failed on it.
            EngineError: the engine died.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        sampling = SamplingParams(
            n=count,
            max_tokens=CANARY_TOKENS if request.greedy else self._config.max_new_tokens,
            temperature=0.0 if request.greedy else self._config.temperature,
            top_p=1.0 if request.greedy else self._config.top_p,
            seed=request.seed,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            stop_token_ids=self._end_tokens,
            structured_outputs=StructuredOutputsParams(json=request.answer_schema) if request.answer_schema else None,
        )
        final = await self._run([int(token) for token in request.prompt_ids], sampling, request.adapter)
        return [self._completion(written) for written in final.outputs]

    def _completion(self, written: Any) -> Completion:
        ids = list(written.token_ids)
        ended = bool(ids) and ids[-1] in self._end_tokens  # a template's may be no special token, and would be read as text
        text = self._tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True).strip()
        return Completion(text, ids, str(written.finish_reason))

    async def log_likelihoods(self, request: Request) -> list[float]:
        """Ask for each choice behind the prompt, which is computed once; nothing is written but a token that is thrown away.

        Raises:
            RowError: vLLM refused a choice, or failed on it.
            EngineError: the engine died.
        """
        if not request.choices:
            return []
        prompt = [int(token) for token in request.prompt_ids]
        begins = len(prompt) + shared_beginning(request.choices)
        first, *others = [[*prompt, *choice] for choice in request.choices]
        alone = await self._log_likelihood(first, begins, request.adapter)  # so that the others find the prompt cached
        return [alone, *await asyncio.gather(*(self._log_likelihood(ids, begins, request.adapter) for ids in others))]

    async def reference_log_likelihood(self, request: Request) -> float:
        """Ask for the real review behind the prompt; where a text is being written to that, the cache has most of it.

        Raises:
            RowError: vLLM refused the request, or failed on it.
            EngineError: the engine died.
        """
        prompt = [int(token) for token in request.prompt_ids]
        ids = [*prompt, *(int(token) for token in request.reference_ids)]
        return await self._log_likelihood(ids, len(prompt), request.adapter)

    async def _log_likelihood(self, ids: list[int], begins: int, adapter: str | None, *, cached: bool = True) -> float:
        """Natural logarithm of the likelihood of `ids[begins:]`.

        vLLM reads no cache for such a request unless it is told to (`SamplingParams`), and gives the cached tokens of a prompt
        no likelihood: garbage, or (its second runner) no entry. Those are of the prompt, and not looked at: what is asked for
        stands at the end. Where the cache reached into it, as other choices begin with the same block of tokens, this one is
        computed anew as a whole. It also bounds memory: logits are computed for what is not cached alone, at most a block and
        the response, and not for the whole prompt times the vocabulary.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            prompt_logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_reading_prefix_cache=not cached,
        )
        final = await self._run(ids, sampling, adapter)
        # A token's likelihood comes of the state of the one before it, so that one must not be of the cache either.
        if cached and (final.num_cached_tokens or 0) >= begins:
            return await self._log_likelihood(ids, begins, adapter, cached=False)
        asked = ids[begins:]
        told = zip(asked, final.prompt_logprobs[-len(asked) :], strict=True)
        return float(sum(by_token[token].logprob for token, by_token in told))

    async def _run(self, ids: list[int], sampling: Any, adapter: str | None) -> Any:
        """vLLM's final output.

        Raises:
            RowError: vLLM refused the request, or failed on it.
            EngineError: the engine died.
        """
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        final: Any = None
        try:
            async for output in self._engine.generate(
                {"prompt_token_ids": ids},
                sampling,
                request_id=str(next(self._numbers)),
                lora_request=self._loras[adapter] if adapter else None,
            ):
                final = output
        except EngineDeadError as error:
            raise EngineError(f"vLLM died: {' '.join(str(error).split())}; {self._log.ending}") from error
        except (VLLMClientError, ValueError) as error:
            raise RefusedError(f"vLLM refused the request: {error}") from error
        except EngineGenerateError as error:
            raise RowError(f"vLLM failed on the request: {error}") from error
        return final

    def progress(self) -> Progress:
        """What the engine's steps have told so far."""
        return self._progress

    def _count_into(self) -> Any:
        """A logger for vLLM's statistics that keeps `self._progress` up to date, after every step of the engine."""
        from vllm.v1.metrics.loggers import StatLoggerBase

        engine = self

        class Counter(StatLoggerBase):  # type: ignore[misc]
            def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
                pass

            def record(self, scheduler_stats: Any, iteration_stats: Any, *_: Any, **__: Any) -> None:
                before = engine._progress
                tokens = queries = hits = 0
                if iteration_stats is not None:
                    tokens = iteration_stats.num_generation_tokens + iteration_stats.num_prompt_tokens
                if scheduler_stats is not None and scheduler_stats.prefix_cache_stats is not None:
                    queries, hits = scheduler_stats.prefix_cache_stats.queries, scheduler_stats.prefix_cache_stats.hits
                engine._progress = Progress(
                    before.tokens + tokens, before.prefix_queries + queries, before.prefix_hits + hits
                )

            def log_engine_initialized(self) -> None:
                pass

        return Counter

    def close(self) -> None:
        """Shut the engine's processes down."""
        self._engine.shutdown()


def _adapted_modules(adapters: list[str]) -> list[str]:
    """The names of the layers that the adapters have weights for, without the places where they stand."""
    from safetensors import safe_open

    names: set[str] = set()
    for folder in adapters:
        with safe_open(Path(folder) / "adapter_model.safetensors", framework="numpy") as weights:
            names |= {key.partition(".lora_")[0].rpartition(".")[2] for key in weights.keys() if ".lora_" in key}  # noqa: SIM118
    return sorted(names)


def as_transformers(model: Path) -> dict[str, Any]:
    """What vLLM has to be told otherwise of a base than `config.json` says, to compute as transformers, which adapters learn with.

    vLLM 0.32.0 lets Cohere's layers see a token more than their window has in transformers.
    """
    config = model_config(model)
    cohere = {"Cohere2ForCausalLM", "Cohere2MoeForCausalLM"}.intersection(config.get("architectures") or ())
    return {"sliding_window": config["sliding_window"] - 1} if cohere and config.get("sliding_window") else {}


def _few(names: Sequence[str]) -> str:
    """How many layers, and the first of them."""
    return f"{len(names)} of its layers ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _largest_rank(adapters: list[str]) -> int:
    """The smallest rank of those that vLLM can be built for (8, 16, ...) that serves all adapters."""
    import json

    ranks = [int(json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8"))["r"]) for folder in adapters]
    return next(rank for rank in (8, 16, 32, 64, 128, 256, 320, 512) if rank >= max(ranks))
