"""Rows per second of the backfill beside the engine itself and beside what many would write first.

    .venv/bin/python benchmarks/backfill.py --json out/bench-backfill.json     about 40 minutes on 2 idle cores
    .venv/bin/python benchmarks/backfill.py --quick                            does it run?

One data set: users with 3 missing reviews each and histories of 1,000 tokens, a Llama base of 14 million random weights (on a
GPU, `--gpu`: the shape of Llama-3-8B), 60 tokens a review, and a key-value cache that holds a twentieth of the histories.
In each round the contenders take turns; figures are medians of the rounds, ratios are of one round's rates.

ours                    the job's pipeline on Ray: prompts, generation, scores and staged shards; rows by user
raw, same order         `vllm.LLM.generate` called once with the same prompt ids in the same order
raw, arrival order      the same call with shuffled rows
ray.data.llm            a processor with default settings over the shuffled rows, given token ids
transformers            `generate` in batches of 8 over shuffled rows (fewer of them)

Start of engines is left out everywhere and given apart. While one contender works, the others are not there or stopped.

How many prompt tokens the cache serves in each form of the prompts, of users whose histories are the same in their missing
reviews or grow from one to the next, and fit a prompt or not (an engine starts anew every night, so that nothing is kept from
the last one):

    for form in paper dialogue; do for growing in --no-growing --growing; do for tokens in 1400 700; do
      .venv/bin/python benchmarks/backfill.py --contenders ours --rounds 1 --prompt-form $form $growing --max-prompt-tokens $tokens
    done; done; done
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import psutil
import pyarrow as pa
from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bases import LLAMA_3_8B
from benchmarks.scale import make_examples, make_reviews
from jobs.entry import run
from reviewllm.config import JobConfig
from reviewllm.prompts.config import PromptConfig, PromptForm
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import train_tokenizer

ROOT = Path(__file__).resolve().parents[1]
_ROWS_OF_A_USER = 3
_BLOCK = 32  # tokens of a block of the cache: what the CPU attention needs

Figures = dict[str, Any]

SMALL = {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 6}


Turn = Literal["ours", "raw, same order", "raw, arrival order", "ray.data.llm", "transformers"]


class BackfillBenchmark(JobConfig):
    """Rows per second of the backfill, as ratios."""

    rounds: int = Field(5, ge=1, description="rounds in which the contenders take turns")
    users: int = Field(180, ge=1, description="users of the data set; the cache holds a twentieth of their histories")
    rows: int = Field(120, ge=3, description="rows that a contender writes in a round")
    transformers_rows: int = Field(24, ge=8, description="rows that transformers writes in a round")
    history_tokens: int = Field(1000, ge=100, description="tokens of a history, in the paper's form")
    prompt_form: PromptForm = Field("paper", description="form of the prompts")
    growing: bool = Field(False, description="a user's second and third rows have one purchase more in their histories each")
    max_prompt_tokens: int | None = Field(
        None, ge=64, description="token budget of a prompt; default 400 above the history's"
    )
    contenders: list[Turn] = Field(list(get_args(Turn)), min_length=1, description="what is measured")
    shard_rows: int = Field(30, ge=1, description="rows of a shard")
    max_new_tokens: int = Field(60, ge=1, description="tokens of a review")
    gpu: bool = Field(False, description="the shape of Llama-3-8B, for a machine with a GPU")
    quick: bool = Field(False, description="one round of few rows")
    folder: Path = Field(Path("out/bench-backfill"), description="where the data is made; removed at the start")
    json_file: Path | None = Field(None, alias="json", description="file for the figures")


def main(config: BackfillBenchmark) -> Figures:
    """Measure, print, and write the figures."""
    if config.quick:
        config = config.model_copy(update={"rounds": 1, "users": 20, "rows": 12, "transformers_rows": 8})
    folder = config.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    by_user, possible = _make_data(config, folder)
    shuffled = np.random.default_rng(1).permutation(by_user).tolist()
    turns: dict[Turn, tuple[str, list[int]]] = {
        "ours": ("ours", by_user[: config.rows]),
        "raw, same order": ("raw", by_user[: config.rows]),
        "raw, arrival order": ("raw", shuffled[: config.rows]),
        "ray.data.llm": ("ray_data_llm", shuffled[: config.rows]),
        "transformers": ("transformers_generate", shuffled[: config.transformers_rows]),
    }
    turns = {name: turn for name, turn in turns.items() if name in config.contenders}
    measured: dict[str, list[Figures]] = {name: [] for name in turns}
    lasting: dict[str, _Contender] = {}
    try:
        for number in range(config.rounds):
            for name, (contender, rows) in turns.items():
                answer = _turn(contender, rows, folder, lasting)
                answer["rows_per_s"] = len(rows) / answer["seconds"]
                measured[name].append(answer)
                print(f"round {number + 1} {name:<20} {answer['rows_per_s']:7.2f} rows/s", flush=True)
    finally:
        for one in lasting.values():
            one.end()
    figures = _ratios(measured, possible)
    print(json.dumps({name: value for name, value in figures.items() if name != "measured"}, indent=1))
    if config.json_file:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        config.json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def _ratios(measured: dict[str, list[Figures]], possible: float) -> Figures:
    def median(name: str, key: str) -> float:
        return statistics.median(one[key] for one in measured[name])

    def ratio(other: str) -> float:
        rates = zip(measured["ours"], measured[other], strict=True)
        return statistics.median(our["rows_per_s"] / their["rows_per_s"] for our, their in rates)

    compared = {
        "vs_raw_same_order": "raw, same order",
        "vs_raw_arrival_order": "raw, arrival order",
        "vs_ray_data_llm": "ray.data.llm",
        "vs_transformers_generate": "transformers",
    }
    ours = "ours" in measured
    return {
        **{name: ratio(other) for name, other in compared.items() if ours and other in measured},
        **({"prefix_hit_rate": median("ours", "prefix_hit_rate")} if ours else {}),
        "prefix_hit_rate_possible": possible,
        "rows_per_s": {name: median(name, "rows_per_s") for name in measured},
        "start_seconds": {name: median(name, "start_seconds") for name in measured},
        "cores": os.cpu_count(),
        "measured": measured,
    }


class _Contender:
    """A contender's process; stopped while it has no turn, so that it takes no CPU."""

    def __init__(self, name: str, folder: Path) -> None:
        log = open(folder / f"{name}.log", "ab")  # noqa: SIM115  (the process's, for its life)
        command = [sys.executable, "-m", "benchmarks.backfill_contenders", name, str(folder)]
        self._process = psutil.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self._log = folder / f"{name}.log"

    def turn(self, rows: list[int]) -> Figures:
        print(json.dumps({"rows": rows}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender ended: {self._log.read_text()[-3000:]}")
        answer: Figures = json.loads(line)
        return answer

    def signal(self, number: signal.Signals) -> None:
        for process in [self._process, *self._process.children(recursive=True)]:
            process.send_signal(number)

    def end(self) -> None:
        self.signal(signal.SIGCONT)
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except psutil.TimeoutExpired:
            self.signal(signal.SIGKILL)


def _turn(name: str, rows: list[int], folder: Path, lasting: dict[str, _Contender]) -> Figures:
    """One run; those on Ray begin anew each time, as a stopped cluster would take itself for dead."""
    if name in ("ours", "ray_data_llm"):
        once = _Contender(name, folder)
        try:
            return once.turn(rows)
        finally:
            once.end()
    if name not in lasting:
        lasting[name] = _Contender(name, folder)
        lasting[name].turn(rows[:1])  # to warm up
    else:
        lasting[name].signal(signal.SIGCONT)
    try:
        return lasting[name].turn(rows)
    finally:
        lasting[name].signal(signal.SIGSTOP)


def _make_data(config: BackfillBenchmark, folder: Path) -> tuple[list[int], float]:
    """Base, examples, prompts and settings; returns all rows by user, and the share of tokens that a cache could serve."""
    draw = np.random.default_rng(0)
    pool = make_reviews(draw)
    prompt = {
        "max_prompt_tokens": config.max_prompt_tokens or config.history_tokens + 400,
        "prompt_form": config.prompt_form,
    }
    tokenizer = train_tokenizer(pool[:2000], vocabulary=8000, context=4096)
    _make_base(folder / "base", LLAMA_3_8B if config.gpu else SMALL, len(tokenizer))
    tokenizer.save_pretrained(folder / "base")
    renderer = PromptRenderer(tokenizer, PromptConfig(**prompt))
    entry_tokens = np.mean([len(tokenizer.encode(text)) for text in pool[:200]]) + 25
    entries = max(1, round(config.history_tokens / entry_tokens))
    rows = config.users * _ROWS_OF_A_USER
    examples = make_examples(0, rows, pool, draw, rows_of_a_user=_ROWS_OF_A_USER, entries=entries)
    if config.growing:
        examples = _with_growing_histories(examples)
    write_table(examples, folder / "examples" / "shard.parquet", EXAMPLES)
    prompts = [one.token_ids for one in renderer.render(examples.to_pylist()) if isinstance(one, Prompt)]
    (folder / "prompts.json").write_text(json.dumps(prompts))
    held = sum(map(len, prompts[::_ROWS_OF_A_USER])) // 20 // _BLOCK  # a twentieth of the histories
    blocks = max(2 * -(-(max(map(len, prompts)) + config.max_new_tokens) // _BLOCK), held)
    settings = {
        "prompt": prompt,
        "max_new_tokens": config.max_new_tokens,
        "max_model_len": renderer.config.max_prompt_tokens + config.max_new_tokens,
        "shard_rows": config.shard_rows,
        "engine_kwargs": {"num_gpu_blocks_override": blocks, "block_size": _BLOCK, "dtype": "bfloat16"},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    print(
        f"{rows} rows of {config.users} users, {np.mean([*map(len, prompts)]):.0f} prompt tokens, cache of {blocks * _BLOCK} tokens"
    )
    return list(range(rows)), _possible_hits(prompts[: config.rows])


def _with_growing_histories(examples: pa.Table) -> pa.Table:
    """The last row of each user keeps its whole history, the rows before it one purchase less each."""
    rows = examples.to_pylist()
    for number, row in enumerate(rows):
        row["history"] = row["history"][: len(row["history"]) - (_ROWS_OF_A_USER - 1 - number % _ROWS_OF_A_USER)]
    return pa.Table.from_pylist(rows, schema=examples.schema)


def _possible_hits(prompts: list[list[int]]) -> float:
    """Share of prompt tokens that stand, block by block, at the start of the prompt before."""
    hits = 0
    for before, after in itertools.pairwise(prompts):
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
        hits += sum(1 for _ in alike) // _BLOCK * _BLOCK
    return hits / sum(map(len, prompts))


def _make_base(folder: Path, shape: Figures, vocabulary: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = LlamaConfig(vocab_size=vocabulary, max_position_embeddings=8192, tie_word_embeddings=True, **shape)
    LlamaForCausalLM(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    run(main, BackfillBenchmark)
