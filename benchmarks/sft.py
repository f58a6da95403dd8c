"""Speed and memory of the trainer beside transformers' Trainer and TRL's SFTTrainer: same samples, same start, same steps.

    make bench-sft                                      all scenarios, 5 repetitions, half an hour on 2 idle cores
    .venv-benchmark/bin/python benchmarks/sft.py --quick    a smoke test of a minute

Every repetition of every trainer is a process of its own, in turns (ours, Trainer, TRL, ours, ...); figures are medians.
A run is one optimizer step to warm up and `--steps` timed ones. All trainers start from one base and one set of LoRA weights
(B is drawn at random instead of 0, so that the first loss already depends on LoRA) and see the same samples in each
optimizer step, so their losses must agree step by step.

long-prompt   a Llama body of 4 layers (hidden 256, tied embeddings, float32, random weights) under a vocabulary of
              128,256; prompts of 1,500 random tokens, responses of 60; 2 samples a step; nothing to share.
all-targets   every review of Amazon's Musical Instruments 2014 as a target, whole users, histories up to 8,192 tokens;
              32 samples a step. The same reviews in the dialogue form too: by ours, and by TRL with assistant-only loss and
              packing on the very dialogues that ours runs.
smollm2       SmolLM2-135M's shape in bfloat16 (30 layers, hidden 576, random weights); prompts of 1,024 random tokens,
              responses of 100; 4 samples a step, two in each of our passes by default. Ours in float32 as well.

What was chosen in favour of the others: no gradient checkpointing; `--peer-batch-size` 1 with gradient accumulation (no
padding; larger batches, for which each step's samples are sorted by length, have not been compared yet); TRL scores only
the positions that have a label, which in TRL 1.16.0 only its GPU kernels do: as published it scores all positions on a
CPU, and that is measured too, once.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bases import LLAMA_3_8B, SMALL_BODY, SMOLLM2_135M, SMOLLM2_VOCABULARY, VOCABULARY, save_random_base
from benchmarks.goals import Goal, print_goals
from benchmarks.sft_trainers import (
    CONTENDERS,
    DIALOGUE,
    HF,
    OURS,
    OURS_FLOAT32,
    TRL,
    TRL_AS_PUBLISHED,
    TRL_DIALOGUE,
    Task,
)
from jobs.entry import run
from reviewllm.config import JobConfig
from reviewllm.errors import ConfigError
from reviewllm.sft.config import SFTConfig, with_defaults
from reviewllm.sft.samples import SAMPLES, Sample, SampleFile
from reviewllm.sft.sequences import added_tokens

if TYPE_CHECKING:
    from reviewllm.prompts.renderer import PromptRenderer

Figures = dict[str, Any]

LONG_PROMPT, ALL_TARGETS, SMOLLM2 = "long-prompt", "all-targets", "smollm2"
ROOT = Path(__file__).resolve().parents[1]
_MAX_RESPONSE_TOKENS = 512

GOALS = (
    Goal("tokens_per_s_vs_hf_trainer", 1.5, at_least=True),
    Goal("peak_memory_vs_hf_trainer", 0.5, at_least=False),
    Goal("tokens_per_s_vs_trl", 1.0, at_least=True),
    Goal("samples_per_s_all_targets_vs_best_peer", 5.0, at_least=True),
    Goal("samples_per_s_dialogue_vs_trl_dialogue", 1.2, at_least=True),
    Goal("dialogue_peak_memory_vs_hf_trainer", 0.5, at_least=False),
    Goal("max_loss_difference", 1e-4, at_least=False),
    Goal("smollm2_peak_memory_gib", 4.0, at_least=False),
    Goal("smollm2_tokens_per_s_vs_best_peer", 1.0, at_least=True),
    Goal("smollm2_max_loss_difference", 0.05, at_least=False),  # bfloat16 rounds
)


class BenchmarkJob(JobConfig):
    """Compare the trainer with transformers' Trainer and TRL's SFTTrainer."""

    scenario: Literal["all", "long-prompt", "all-targets", "smollm2"] = Field("all", description="what is measured")
    repetitions: int = Field(5, ge=1, description="runs of each trainer, in turns; figures are medians")
    steps: int | None = Field(None, ge=1, description="timed optimizer steps; default 3 (long-prompt), 1 (the others)")
    quick: bool = Field(False, description="one repetition of tiny sizes: does it run?")
    gpu: bool = Field(False, description="Llama-3-8B's shape with random bfloat16 weights on a GPU")
    threads: int = Field(2, ge=1, description="CPU threads of every trainer")
    peer_batch_size: int = Field(
        1, ge=1, description="samples of the others' forward passes, sorted by length within a step"
    )
    max_sequence_tokens: int = Field(16_384, ge=64, description="our --max-sequence-tokens")
    reviews: Path = Field(
        ROOT / "../shared/data/amazon_2014/reviews_Musical_Instruments_5.json.gz", description="reviews of all-targets"
    )
    base: Path = Field(ROOT / "../shared/models/tiny-reviews", description="base of all-targets")
    max_prompt_tokens: int = Field(8192, ge=64, description="of all-targets; Llama-3's context")
    seed: int = Field(0, ge=0, description="of weights, tokens and users")
    json_file: Path | None = Field(None, alias="json", description="write all figures here")


def main(config: BenchmarkJob) -> None:
    """Measure, print the table and write the figures."""
    names = [name for name in SCENARIOS if config.scenario in ("all", name)]
    with tempfile.TemporaryDirectory(prefix="bench-sft-") as folder:
        scenarios = {name: measure(name, config, Path(folder)) for name in names}
    summary = summarise(scenarios)
    for name, figures in scenarios.items():
        print_scenario(name, figures)
    print_goals(GOALS, summary)
    if config.json_file is not None:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        report = {**summary, "config": config.model_dump(mode="json"), "scenarios": scenarios}
        config.json_file.write_text(json.dumps(report, indent=1), encoding="utf-8")


# --- what is measured -----------------------------------------------------------------------------------------------


def measure(scenario: str, config: BenchmarkJob, folder: Path) -> Figures:
    """Run every trainer `repetitions` times in turns; returns each one's runs and medians, and what was trained on."""
    folder = folder / scenario
    folder.mkdir()
    tasks = SCENARIOS[scenario](config, folder)
    once = [] if config.gpu else [tasks[0].model_copy(update={"contender": TRL_AS_PUBLISHED})]
    runs: dict[str, list[Figures]] = {}
    for repetition in range(1 if config.quick else config.repetitions):
        for task in (*tasks, *(once if not repetition else ())):
            found = in_own_process(task, folder / "task.json", config.threads)
            runs.setdefault(task.contender, []).append(found)
            print(
                f"{scenario} {repetition + 1}: {task.contender} {found['tokens_per_s']:.0f} tokens/s, {found['samples_per_s']:.2f} "
                f"samples/s, {found['peak_memory_mib']:.0f} MiB",
                file=sys.stderr,
            )
    data = {task.contender: describe(task) for task in tasks if task.contender in (OURS, DIALOGUE)}
    return {"data": data, "runs": runs, "median": {name: medians(found) for name, found in runs.items()}}


def long_prompt(config: BenchmarkJob, folder: Path) -> list[Task]:
    """Random weights and random tokens: no sample shares more than chance with another."""
    steps, per_step = config.steps or (1 if config.quick else 3), 2
    random_base(folder / "base", config)
    prompt, response = (150, 6) if config.quick else (1500, 60)
    write_random_samples(folder, config, (steps + 1) * per_step, prompt, response, vocabulary=VOCABULARY)
    return in_turns(make_task(LONG_PROMPT, config, folder, per_step=per_step, steps=steps), CONTENDERS)


def smollm2(config: BenchmarkJob, folder: Path) -> list[Task]:
    """SmolLM2-135M's shape with random bfloat16 weights, and random tokens: four samples of 1,024 and 100 in a step."""
    steps, per_step = config.steps or 1, 4
    shape = {**SMOLLM2_135M, "num_hidden_layers": 2} if config.quick else SMOLLM2_135M
    save_random_base(
        folder / "base",
        shape,
        vocabulary=SMOLLM2_VOCABULARY,
        tied=True,
        dtype="bfloat16",
        device="cuda" if config.gpu else "cpu",
        seed=config.seed,
    )
    prompt, response = (150, 6) if config.quick else (1024, 100)
    write_random_samples(folder, config, (steps + 1) * per_step, prompt, response, vocabulary=SMOLLM2_VOCABULARY)
    task = make_task(SMOLLM2, config, folder, per_step=per_step, steps=steps, dtype="bfloat16")
    task = task.model_copy(update={"max_sequence_tokens": default_pass(prompt, dialogue=False)})
    float32 = task.model_copy(update={"contender": OURS_FLOAT32, "dtype": "float32"})
    return [*in_turns(task, CONTENDERS), *([] if config.gpu else [float32])]


def write_random_samples(
    folder: Path, config: BenchmarkJob, count: int, prompt: int, response: int, *, vocabulary: int
) -> None:
    """Samples of random tokens, each of a user of its own."""
    rng = np.random.default_rng(config.seed)
    samples = [
        Sample(f"example-{n}", f"user-{n}", rng.integers(3, vocabulary, prompt + response, dtype=np.int32), prompt)
        for n in range(count)
    ]
    write_sample_file(samples, folder / "samples.arrow")


def all_targets(config: BenchmarkJob, folder: Path) -> list[Task]:
    """Whole users of the review file, drawn at random until there are enough samples for all steps."""
    from jobs.prepare import PrepareJob
    from jobs.prepare import main as prepare
    from reviewllm.prompts.config import PromptConfig
    from reviewllm.prompts.renderer import PromptRenderer
    from reviewllm.prompts.tokenizer import load_tokenizer

    steps, per_step = config.steps or 1, 8 if config.quick else 32
    max_prompt_tokens = 256 if config.quick else config.max_prompt_tokens
    if not config.reviews.exists():
        raise ConfigError(f"--reviews {config.reviews}: no such file; name Amazon's 2014 reviews of Musical Instruments")
    prepare(PrepareJob(reviews=[config.reviews], out=folder / "run", targets="all", seed=config.seed))
    tokenizer = load_tokenizer(str(config.base))
    for form, file in (("paper", "samples.arrow"), ("dialogue", "dialogues.arrow")):
        renderer = PromptRenderer(tokenizer, PromptConfig(prompt_form=form, max_prompt_tokens=max_prompt_tokens))
        write_sample_file(whole_users(folder, renderer, count=(steps + 1) * per_step, seed=config.seed), folder / file)
    if config.gpu:
        random_base(folder / "base", config)
    else:
        save_longer_context(config.base, folder / "base", max_prompt_tokens + _MAX_RESPONSE_TOKENS)
    task = make_task(ALL_TARGETS, config, folder, per_step=per_step, steps=steps)
    longest = default_pass(max_prompt_tokens, dialogue=True)
    dialogue = task.model_copy(update={"samples": folder / "dialogues.arrow", "max_sequence_tokens": longest})
    return [*in_turns(task, CONTENDERS), *in_turns(dialogue, (DIALOGUE, TRL_DIALOGUE))]


SCENARIOS = {LONG_PROMPT: long_prompt, ALL_TARGETS: all_targets, SMOLLM2: smollm2}


def make_task(
    scenario: str, config: BenchmarkJob, folder: Path, *, per_step: int, steps: int, dtype: str = "float32"
) -> Task:
    """The task of a scenario whose base and samples lie in `folder`."""
    return Task(
        contender=OURS,
        scenario=scenario,
        base=folder / "base",
        samples=folder / "samples.arrow",
        samples_per_step=per_step,
        steps=steps,
        peer_batch_size=min(config.peer_batch_size, per_step),
        max_sequence_tokens=config.max_sequence_tokens,
        threads=config.threads,
        gpu=config.gpu,
        dtype="bfloat16" if config.gpu else dtype,
        seed=config.seed,
    )


def default_pass(max_prompt_tokens: int, *, dialogue: bool) -> int | None:
    """Tokens of our forward pass by default."""
    sft = SFTConfig(base_model="", max_response_tokens=_MAX_RESPONSE_TOKENS)
    return with_defaults(sft, max_prompt_tokens=max_prompt_tokens, dialogue=dialogue).max_sequence_tokens


def in_turns(task: Task, contenders: Sequence[str]) -> list[Task]:
    """The same task for each trainer."""
    return [task.model_copy(update={"contender": contender}) for contender in contenders]


def whole_users(folder: Path, renderer: PromptRenderer, *, count: int, seed: int) -> list[Sample]:
    """At least `count` samples: all those of users drawn at random."""
    from reviewllm.sft.samples import write_samples

    write_samples(
        folder / "run" / "examples" / "train",
        folder / "all.arrow",
        renderer,
        max_response_tokens=_MAX_RESPONSE_TOKENS,
        validation_fraction=0,
    )
    samples = SampleFile(folder / "all.arrow")
    users = samples.users()
    order = np.random.default_rng(seed).permutation(int(users.max()) + 1)
    enough = int(np.searchsorted(np.cumsum(np.bincount(users)[order]), count)) + 1
    return [samples[int(place)] for place in np.flatnonzero(np.isin(users, order[:enough]))]


def write_sample_file(samples: Sequence[Sample], file: Path) -> None:
    """Write samples into a sample file, as `reviewllm.sft.samples.write_samples` does."""
    columns = {
        "example_id": [sample.example_id for sample in samples],
        "user_id": [sample.user_id for sample in samples],
        "validation": [False] * len(samples),
        "prompt_tokens": [sample.prompt_tokens for sample in samples],
        "evidence_tokens": [sample.evidence_tokens for sample in samples],
        "token_ids": [sample.token_ids for sample in samples],
    }
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SAMPLES) as writer:
        writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=SAMPLES))


def random_base(folder: Path, config: BenchmarkJob) -> None:
    """A Llama with random weights: a small float32 body, or with --gpu the shape of Llama-3-8B in bfloat16."""
    save_random_base(
        folder,
        LLAMA_3_8B if config.gpu else SMALL_BODY,
        vocabulary=VOCABULARY,
        tied=not config.gpu,
        dtype="bfloat16" if config.gpu else "float32",
        device="cuda" if config.gpu else "cpu",
        seed=config.seed,
    )


def save_longer_context(base: Path, folder: Path, tokens: int) -> None:
    """A copy of a base with at least `tokens` positions; with rotary positions no weight depends on their number."""
    folder.mkdir()
    for file in base.iterdir():
        if file.name != "config.json":
            (folder / file.name).symlink_to(file.resolve())
    shape = json.loads((base / "config.json").read_text(encoding="utf-8"))
    shape["max_position_embeddings"] = max(tokens, shape["max_position_embeddings"])
    (folder / "config.json").write_text(json.dumps(shape), encoding="utf-8")


def describe(task: Task) -> Figures:
    """What the timed steps train on: tokens as the others run them, and those that our packing is left with."""
    schedule = task.schedule()
    steps = [schedule.samples(step) for step in range(1, task.steps + 1)]
    lengths = np.array([len(sample.token_ids) for step in steps for sample in step])
    passes = [sequence for step in range(1, task.steps + 1) for sequence in schedule.share(step, 0).sequences]
    return {
        "samples": len(lengths),
        "users": len({sample.user_id for step in steps for sample in step}),
        "tokens": int(lengths.sum()),
        "mean_tokens": float(lengths.mean()),
        "max_tokens": int(lengths.max()),
        "response_tokens": sum(len(sample.token_ids) - sample.prompt_tokens for step in steps for sample in step),
        "tokens_run_when_shared": sum(len(sequence.input_ids) for sequence in passes if sequence),
        "tokens_if_steps_were_one_pass": int(sum(added_tokens(step).sum() for step in steps)),
        "forward_passes": len(passes),
    }


def in_own_process(task: Task, file: Path, threads: int) -> Figures:
    """Run a task in a fresh process, so that its peak memory is its own."""
    file.write_text(task.model_dump_json(), encoding="utf-8")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(file.parent / "home"),
        "WANDB_DISABLED": "true",
    }
    command = [sys.executable, str(Path(__file__).with_name("sft_trainers.py").resolve()), str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{task.contender} failed in {task.scenario}:\n{done.stderr[-4000:]}")
    return json.loads(file.with_suffix(".figures").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def medians(runs: list[Figures]) -> Figures:
    """The median of every number over the runs."""
    numbers = [name for name, value in runs[0].items() if isinstance(value, float)]
    return {name: statistics.median(run[name] for run in runs) for name in numbers}


# --- what comes of it -----------------------------------------------------------------------------------------------


def summarise(scenarios: dict[str, Figures]) -> dict[str, float]:
    """The figures that have goals, of the scenarios that were measured."""
    found: dict[str, float] = {}
    if LONG_PROMPT in scenarios:
        ours, hf, trl = (scenarios[LONG_PROMPT]["median"][name] for name in CONTENDERS)
        found["tokens_per_s_vs_hf_trainer"] = ours["tokens_per_s"] / hf["tokens_per_s"]
        found["peak_memory_vs_hf_trainer"] = ours["peak_memory_mib"] / hf["peak_memory_mib"]
        found["peak_memory_over_loaded_vs_hf_trainer"] = ours["peak_over_loaded_mib"] / hf["peak_over_loaded_mib"]
        found["tokens_per_s_vs_trl"] = ours["tokens_per_s"] / trl["tokens_per_s"]
    if ALL_TARGETS in scenarios:
        median = scenarios[ALL_TARGETS]["median"]
        best = max(median[name]["samples_per_s"] for name in (HF, TRL))
        dialogue, theirs = median[DIALOGUE], median[TRL_DIALOGUE]
        found["samples_per_s_all_targets_vs_best_peer"] = dialogue["samples_per_s"] / best
        found["samples_per_s_all_targets_paper_vs_best_peer"] = median[OURS]["samples_per_s"] / best
        found["samples_per_s_dialogue_vs_trl_dialogue"] = dialogue["samples_per_s"] / theirs["samples_per_s"]
        found["dialogue_peak_memory_vs_hf_trainer"] = dialogue["peak_memory_mib"] / median[HF]["peak_memory_mib"]
        found["dialogue_peak_memory_vs_trl_dialogue"] = dialogue["peak_memory_mib"] / theirs["peak_memory_mib"]
    if SMOLLM2 in scenarios:
        median = scenarios[SMOLLM2]["median"]
        best = max(median[name]["tokens_per_s"] for name in (HF, TRL))
        found["smollm2_tokens_per_s_vs_best_peer"] = median[OURS]["tokens_per_s"] / best
        found["smollm2_peak_memory_gib"] = median[OURS]["peak_memory_mib"] / 2**10
        found["smollm2_max_loss_difference"] = loss_difference(scenarios[SMOLLM2])
        if OURS_FLOAT32 in median:
            found["smollm2_bfloat16_vs_float32"] = median[OURS]["tokens_per_s"] / median[OURS_FLOAT32]["tokens_per_s"]
    exact = [loss_difference(figures) for name, figures in scenarios.items() if name != SMOLLM2]
    return {**found, "max_loss_difference": max(exact)} if exact else found


def loss_difference(figures: Figures) -> float:
    """The largest difference between two runs' losses of the same step; those on dialogues are compared with each other."""
    forms: dict[bool, list[list[float]]] = {}
    for name, runs in figures["runs"].items():
        forms.setdefault(name in (DIALOGUE, TRL_DIALOGUE), []).extend(run["losses"] for run in runs)
    return max(float(np.ptp(np.array(losses), axis=0).max()) for losses in forms.values())


def print_scenario(name: str, figures: Figures) -> None:
    """Print a scenario's table; ratios are ours to theirs."""
    median = figures["median"]
    for contender, data in figures["data"].items():
        print(
            f"\n{name}, {contender}: {data['samples']} samples of {data['users']} users, {data['tokens']} tokens (mean "
            f"{data['mean_tokens']:.0f}, longest {data['max_tokens']}), of which packing runs {data['tokens_run_when_shared']} in "
            f"{data['forward_passes']} passes"
        )
    columns = ("tokens_per_s", "samples_per_s", "peak_memory_mib", "peak_over_loaded_mib")
    print(f"{'':18}{'tokens/s':>16}{'samples/s':>16}{'peak MiB':>16}{'over model MiB':>16}  final loss")
    for contender, found in median.items():
        cells = [f"{found[column]:,.{1 if column == 'samples_per_s' else 0}f}" for column in columns]
        if contender != OURS:
            ratios = [median[OURS][column] / found[column] for column in columns]
            cells = [f"{cell} ({ratio:.2f}x)" for cell, ratio in zip(cells, ratios, strict=True)]
        share = found.get("share_of_peak_flops")
        tail = f"  {share:.1%} of peak FLOP/s" if share else ""
        print(f"{contender:18}" + "".join(f"{cell:>16}" for cell in cells) + f"  {found['final_loss']:.6f}{tail}")


if __name__ == "__main__":
    run(main, BenchmarkJob)
