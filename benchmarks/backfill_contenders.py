"""The contenders of benchmarks/backfill.py, each in a process of its own: a line of JSON in, a line of JSON out.

    python -m benchmarks.backfill_contenders NAME FOLDER       in: {"rows": [numbers]}   out: {"seconds", "start_seconds", ...}

All read FOLDER's base, prompts.json (the prompt ids of every row, as our renderer made them) and settings.json.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(VLLM_CPU_KVCACHE_SPACE="1", VLLM_NO_USAGE_STATS="1", HF_HUB_OFFLINE="1", RAY_USAGE_STATS_ENABLED="0")

Figures = dict[str, Any]
Run = Callable[[list[int]], Figures]


def ours(folder: Path, settings: Figures) -> Run:
    """This job's pipeline: prompts, generation, scores, staged shards; rows in order are cut into shards of whole users."""
    import numpy as np

    from reviewllm.cluster import ClusterConfig, ray_session
    from reviewllm.generation.config import GenerationConfig
    from reviewllm.generation.model import make_variant
    from reviewllm.generation.pipeline import run_tasks
    from reviewllm.generation.tasks import GenerationSpec, Piece, Task, new_run
    from reviewllm.prompts.config import PromptConfig

    generation = GenerationConfig(
        max_new_tokens=settings["max_new_tokens"],
        temperature=0.0,
        engine_kwargs=settings["engine_kwargs"],
        cpus_per_engine=1,
    )
    variant = make_variant(
        base_model=str(folder / "base"), adapter=None, prompt=PromptConfig(**settings["prompt"]), generation=generation
    )

    def once(rows: list[int]) -> Figures:
        with tempfile.TemporaryDirectory() as target, ray_session(ClusterConfig()):
            spec = GenerationSpec(
                generation=generation,
                model=variant.base,
                live_adapters=False,
                variants=[variant],
                source=str(folder / "examples"),
                target=target,
                run=new_run(),
            )
            shards = np.array_split(rows, max(1, len(rows) // settings["shard_rows"]))
            tasks = [
                Task([Piece("shard.parquet", part.tolist())], 0, f"shard-{number}.parquet")
                for number, part in enumerate(shards)
            ]
            counts = run_tasks(tasks, spec)
        assert counts.rows == len(rows)
        hits = counts.engines.prefix_hits / max(1, counts.engines.prefix_queries)
        tokens = counts.completion_tokens
        return {
            "seconds": counts.seconds - counts.start_seconds,
            "start_seconds": counts.start_seconds,
            "prefix_hit_rate": hits,
            "failed": counts.failed,
            "completion_tokens": tokens,
        }

    return once


def raw(folder: Path, settings: Figures) -> Run:
    """`vllm.LLM.generate`, called once with all prompt ids."""
    from vllm import LLM, SamplingParams

    started = time.monotonic()
    engine = LLM(
        model=str(folder / "base"),
        max_model_len=settings["max_model_len"],
        enable_prefix_caching=True,
        disable_log_stats=True,
        **settings["engine_kwargs"],
    )
    start_seconds = time.monotonic() - started
    prompts = json.loads((folder / "prompts.json").read_text())

    def once(rows: list[int]) -> Figures:
        sampling = [
            SamplingParams(max_tokens=settings["max_new_tokens"], temperature=0.0, seed=row, detokenize=False)
            for row in rows
        ]
        begun = time.monotonic()
        done = engine.generate([{"prompt_token_ids": prompts[row]} for row in rows], sampling, use_tqdm=False)
        seconds = time.monotonic() - begun
        engine.reset_prefix_cache()
        return {
            "seconds": seconds,
            "start_seconds": start_seconds,
            "completion_tokens": sum(len(one.outputs[0].token_ids) for one in done),
        }

    return once


def ray_data_llm(folder: Path, settings: Figures) -> Run:
    """A `ray.data.llm` processor with default settings, given token ids; its time runs from the start of its first batch
    in the engine, as the processor tells it, to the last row.
    """
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from reviewllm.cluster import ClusterConfig, ray_session

    prompts = json.loads((folder / "prompts.json").read_text())
    config = vLLMEngineProcessorConfig(
        model_source=str(folder / "base"),
        engine_kwargs={
            "max_model_len": settings["max_model_len"],
            "enable_prefix_caching": True,
            **settings["engine_kwargs"],
        },
        placement_group_config={"bundle_per_worker": {"CPU": 1}},
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        concurrency=1,
    )
    processor = build_processor(
        config,
        preprocess=lambda row: {
            "tokenized_prompt": row["ids"],
            "sampling_params": {"max_tokens": settings["max_new_tokens"], "temperature": 0.0, "seed": row["row"]},
        },
        postprocess=lambda row: {
            "tokens": row["num_generated_tokens"],
            "started": time.time() - row["time_taken_llm"],
            "ended": time.time(),
        },
    )

    def once(rows: list[int]) -> Figures:
        with ray_session(ClusterConfig()):
            begun = time.time()
            done = processor(ray.data.from_items([{"row": row, "ids": prompts[row]} for row in rows])).take_all()
        started = min(row["started"] for row in done)
        return {
            "seconds": max(row["ended"] for row in done) - started,
            "start_seconds": started - begun,
            "completion_tokens": sum(int(row["tokens"]) for row in done),
        }

    return once


def transformers_generate(folder: Path, settings: Figures) -> Run:
    """`transformers.generate` in batches of 8, padded on the left, on both cores."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    started = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.bfloat16).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "base")
    start_seconds = time.monotonic() - started
    prompts = json.loads((folder / "prompts.json").read_text())

    def once(rows: list[int]) -> Figures:
        begun, tokens = time.monotonic(), 0
        for start in range(0, len(rows), 8):
            some = [prompts[row] for row in rows[start : start + 8]]
            longest = max(map(len, some))
            ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(one)) + one for one in some])
            mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in some])
            with torch.inference_mode():
                done = model.generate(
                    ids,
                    attention_mask=mask,
                    max_new_tokens=settings["max_new_tokens"],
                    do_sample=False,
                    pad_token_id=tokenizer.pad_token_id,
                )
            tokens += done[:, longest:].numel()
        return {"seconds": time.monotonic() - begun, "start_seconds": start_seconds, "completion_tokens": tokens}

    return once


CONTENDERS = {one.__name__: one for one in (ours, raw, ray_data_llm, transformers_generate)}


def serve() -> None:
    """Answer lines of JSON until the input ends; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    folder = Path(sys.argv[2])
    run = CONTENDERS[sys.argv[1]](folder, json.loads((folder / "settings.json").read_text()))
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line)["rows"])), file=answers, flush=True)


if __name__ == "__main__":
    serve()
