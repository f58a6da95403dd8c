"""Training on one GPU: speed, memory, recompilations and equal losses at the true shape of Llama-3-8B, with random weights.

    python benchmarks/gpu.py --json gpu.json       one card of 80 GB or more, under ten minutes, no network
    python benchmarks/gpu.py --small --json F      the same code at tiny shapes, on a CPU where there is no GPU: does it run?

Needs torch, transformers, PEFT, pydantic, pydantic-settings, PyYAML and numpy; neither Ray nor vLLM. The base is written and read
again as any base is (16 GB for the largest): TMPDIR=/dev/shm keeps it in memory, 33 GB with what is loaded.

agreement   small float32 bases on the same card (plain, with a window, with caps, with sinks): loss and gradients of a tree, by
            the attention that training uses there, beside transformers' eager attention on each sample alone.
llama       Llama-3-8B's shape in bfloat16, LoRA of rank 8 on all linear layers, samples of up to 2,048 tokens: 8 a step that share
            nothing (plain), the same with checkpointed activations, and 64 a step of users' growing histories (tree).
lengths     two layers of Llama-3-8B's width, one sample a step at every packed length up to 4,096 in steps of 512, each twice, with
            FlexAttention compiled as transformers compiles it (dynamic=None), with dynamic=False and with dynamic=True: graphs that
            were compiled, seconds of the first and of the second visit.
smollm2     SmolLM2-135M's shape: plain and tree.

The figures are written after each case. One that would begin after --budget-s is left out and named.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bases import (
    LLAMA_3_8B,
    SMOLLM2_135M,
    SMOLLM2_VOCABULARY,
    VOCABULARY,
    drawn_lora,
    kept_bytes,
    peak_of,
    save_random_base,
    useful_flops,
)
from benchmarks.goals import Goal, print_goals
from jobs.entry import run
from reviewllm.config import JobConfig
from reviewllm.errors import ConfigError, TrainingError
from reviewllm.sft.config import SFTConfig, TrainingConfig
from reviewllm.sft.loss import response_loss
from reviewllm.sft.model import distribute, load_base, trainable
from reviewllm.sft.schedule import WorkerShare, share
from reviewllm.sft.sequences import PackedSequence, Sample, pack
from reviewllm.sft.step import make_optimizer, optimizer_step

Figures = dict[str, Any]
Case = Literal["agreement", "llama", "lengths", "smollm2"]

GOALS = (
    Goal("max_loss_difference", 1e-5, at_least=False),  # nats a token
    Goal("llama_share_of_peak_flops", 0.35, at_least=True),
    Goal("llama_peak_memory_gib", 76.0, at_least=False),  # a card of 80 GB has 79, and CUDA takes some
    Goal("llama_graphs_compiled_late", 0, at_least=False),  # after the steps that warm up
)
_SAMPLES_A_STEP = 8  # the paper's four workers, two samples each
_OF_A_USER, _USERS_A_STEP = 8, 8  # trees are for steps of many users
_WARM_UP = 2  # steps: the second length of a dimension is the one for which dynamo compiles a general graph


class Sizes(NamedTuple):
    """What shapes and samples are, in full or small."""

    llama: Mapping[str, int]
    vocabulary: int
    smollm2: Mapping[str, int]
    smollm2_vocabulary: int
    longest: int  # tokens of a sample
    response: int
    lengths: Sequence[int]  # of the case `lengths`


FULL = Sizes(LLAMA_3_8B, VOCABULARY, SMOLLM2_135M, SMOLLM2_VOCABULARY, 2048, 60, range(512, 4097, 512))
# Heads of 16 and a number of them as in the full shapes: a power of 2 with grouped keys, and 9.
_TINY = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
_NINE = {
    "hidden_size": 144,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
SMALL = Sizes(_TINY, 512, _NINE, 512, 96, 8, (32, 64, 96))


# What the attention of a layer can ask for besides the tree: see reviewllm/sft/attention.py.
_WINDOW = {**_TINY, "head_dim": 16, "sliding_window": 16}
_TWO_TYPES = {**_WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("LlamaConfig", _TINY),
    "window": ("MistralConfig", _WINDOW),
    "window and caps": ("Gemma2Config", {**_TWO_TYPES, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 16}),
    "window and sinks": ("GptOssConfig", {**_TWO_TYPES, "num_local_experts": 4, "num_experts_per_tok": 2}),
}


class GpuJob(JobConfig):
    """Measure training on one GPU."""

    cases: list[Case] = Field(["agreement", "llama", "lengths", "smollm2"], description="what is measured, in this order")
    small: bool = Field(False, description="tiny shapes, on a CPU where there is no GPU")
    steps: int = Field(4, ge=1, description="timed optimizer steps of each training, after two that warm up")
    budget_s: float = Field(540, gt=0, description="seconds after which no further case begins")
    seed: int = Field(0, ge=0, description="of weights and tokens")
    json_file: Path | None = Field(None, alias="json", description="write all figures here")


class Bench(NamedTuple):
    """Where and with what sizes a case is measured."""

    config: GpuJob
    sizes: Sizes
    device: Any
    folder: Path

    @property
    def rng(self) -> np.random.Generator:
        """A case's own random numbers, the same whichever cases are asked for."""
        return np.random.default_rng(self.config.seed)

    def sft(self) -> SFTConfig:
        """The training of all cases; the rate shows in the loss within few steps."""
        return SFTConfig(
            base_model="random", learning_rate=1e-4, max_sequence_tokens=2 * self.sizes.longest, seed=self.config.seed
        )


def main(config: GpuJob) -> None:
    """Measure, print the goals and write the figures."""
    import torch

    if not (config.small or torch.cuda.is_available()):
        raise ConfigError("no CUDA device is here, so nothing was measured; --small runs the same code on a CPU")
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    started = time.monotonic()
    report: Figures = {"about": about(device), "config": config.model_dump(mode="json"), "cases": {}, "left_out": []}
    for name in config.cases:
        if time.monotonic() - started > config.budget_s:
            report["left_out"].append(name)
            continue
        with tempfile.TemporaryDirectory(prefix="bench-gpu-") as folder:
            bench = Bench(config, SMALL if config.small else FULL, device, Path(folder))
            report["cases"][name] = timed(functools.partial(CASES[name], bench))
        print(f"{name}: {json.dumps(report['cases'][name])}", flush=True)
        write(config, report)
    report["summary"] = summarise(report["cases"])
    write(config, report)
    print_goals(GOALS, report["summary"])
    if report["left_out"]:
        print(f"left out, as --budget-s {config.budget_s:g} was over: {', '.join(report['left_out'])}")
    if failures := failed(report["cases"]):
        raise TrainingError(f"{', '.join(failures)}: ended with an error, which stands in the figures; the others are whole")


def about(device: Any) -> Figures:
    """The machine, and the peak that shares of FLOP/s are of."""
    import peft
    import torch
    import transformers

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    peak = peak_of(name)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    return {"device": name, "peak_assumed": peak._asdict() if peak else None, **versions}


def timed(case: Callable[[], Figures]) -> Figures:
    """A case's figures, or its error: too little memory, or a kernel that cannot be built, ends one case and not the others."""
    import torch

    started = time.monotonic()
    try:
        found = case()
    except RuntimeError as error:  # torch's own are of this kind
        found = {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {**found, "seconds": time.monotonic() - started}


def failed(cases: Mapping[str, Figures]) -> list[str]:
    """The cases, and parts of cases, that ended with an error."""
    parts = {
        f"{name}: {part}": found for name, case in cases.items() for part, found in case.items() if isinstance(found, dict)
    }
    return [name for name, found in {**cases, **parts}.items() if "error" in found]


def write(config: GpuJob, report: Figures) -> None:
    """Write what is known so far: a run that is ended keeps it."""
    if config.json_file is not None:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        config.json_file.write_text(json.dumps(report, indent=1), encoding="utf-8")


# --- samples --------------------------------------------------------------------------------------------------------


def plain_samples(bench: Bench, vocabulary: int, count: int) -> list[Sample]:
    """Samples that share nothing, of half the longest length to all of it; one in eight is the longest."""
    longest, response = bench.sizes.longest, bench.sizes.response
    rng = bench.rng
    lengths = rng.integers(longest // 2, longest + 1, count)
    lengths[::_SAMPLES_A_STEP] = longest
    return [sample_of(rng.integers(3, vocabulary, size), f"u{n}", response) for n, size in enumerate(lengths.tolist())]


def user_samples(bench: Bench, vocabulary: int, count: int) -> list[Sample]:
    """Samples of users, eight of each in order: a history that grows by what was bought and written, then item and response."""
    response = bench.sizes.response
    rng = bench.rng
    samples: list[Sample] = []
    for user in range(-(-count // _OF_A_USER)):
        longest = int(rng.integers(bench.sizes.longest * 3 // 4, bench.sizes.longest + 1))
        path = rng.integers(3, vocabulary, longest)
        ends = np.linspace(longest // 2, longest, _OF_A_USER).astype(int)
        # The new item of a purchase stands where the history will have it; the response differs from what follows there.
        samples += [
            sample_of(np.concatenate([path[: end - response], rng.integers(3, vocabulary, response)]), f"u{user}", response)
            for end in ends
        ]
    return samples[:count]


def sample_of(token_ids: Any, user: str, response: int) -> Sample:
    """A sample whose last `response` tokens are in the loss."""
    return Sample(f"{user}-{len(token_ids)}", user, np.asarray(token_ids, dtype=np.int32), len(token_ids) - response)


def pairs_of(sequence: PackedSequence) -> int:
    """Pairs of tokens of which one sees the other, itself included."""
    return sum(
        (end - start) * len(before) + (end - start) * (end - start + 1) // 2 for start, end, before in sequence.segments
    )


# --- cases ----------------------------------------------------------------------------------------------------------


def agreement(bench: Bench) -> Figures:
    """Of each kind of attention loss and gradients beside transformers' eager attention, in float32."""
    return {name: timed(functools.partial(agreement_of, bench, kind, options)) for name, (kind, options) in _KINDS.items()}


def agreement_of(bench: Bench, kind: str, options: Mapping[str, Any]) -> Figures:
    """A tree of samples and each of them by itself, as training runs them, beside eager attention on each alone."""
    from transformers import AutoModelForCausalLM

    save_telling_base(bench, kind, options)
    small = bench._replace(sizes=SMALL)
    samples = user_samples(small, 512, 8) + plain_samples(small, 512, 4)
    ours = drawn_lora(load_base(str(bench.folder), dtype="float32", device=bench.device), bench.sft()).to(bench.device)
    eager = AutoModelForCausalLM.from_pretrained(bench.folder, dtype="float32", attn_implementation="eager")
    eager = drawn_lora(eager, bench.sft()).to(bench.device)
    packed = pack(samples)
    together = response_loss(ours, packed, device=bench.device)
    together.backward()
    alone = [eager_loss(eager, one, bench.device) for one in samples]
    own = [float(response_loss(ours, pack([one]), device=bench.device).detach()) for one in samples]
    tokens = np.array([len(one.token_ids) - one.prompt_tokens for one in samples])
    difference = np.abs(np.array(own) - np.array(alone)) / tokens
    return {
        "tokens_alone": sum(len(one.token_ids) for one in samples),
        "tokens_as_tree": len(packed.input_ids),
        "loss_difference_of_a_sample": float(difference.max()),
        "loss_difference_of_the_tree": abs(float(together.detach()) - sum(alone)) / int(tokens.sum()),
        "gradient_difference": gradient_difference(ours, eager),
    }


def save_telling_base(bench: Bench, kind: str, options: Mapping[str, Any]) -> None:
    """A base whose weights are large enough for windows, caps and sinks to tell in its losses, as freshly drawn ones are not."""
    import torch
    import transformers

    torch.manual_seed(bench.config.seed)
    config = getattr(transformers, kind)(vocab_size=512, bos_token_id=1, eos_token_id=2, pad_token_id=0, **options)
    model = transformers.AutoModelForCausalLM.from_config(config)
    embeddings = model.get_input_embeddings().weight
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.05 if weight is embeddings else 0.2)
            elif "sinks" in name:
                weight.normal_()
    model.save_pretrained(bench.folder)


def eager_loss(model: Any, sample: Sample, device: Any) -> float:
    """The summed loss of one sample by transformers' own attention and labels; its gradients are added to the model's."""
    import torch

    ids = torch.from_numpy(sample.token_ids.astype(np.int64))[None].to(device)
    labels = ids.clone()
    labels[0, : sample.prompt_tokens] = -100
    loss = model(input_ids=ids, labels=labels).loss * (len(sample.token_ids) - sample.prompt_tokens)
    loss.backward()
    return float(loss.detach())


def gradient_difference(ours: Any, theirs: Any) -> float:
    """The largest difference of a LoRA weight's gradient, relative to the largest gradient."""
    import torch

    one, other = (torch.cat([weight.grad.flatten() for weight in trainable(model).values()]) for model in (ours, theirs))
    return float((one - other).abs().max() / other.abs().max())


def llama(bench: Bench) -> Figures:
    """Llama-3-8B's shape: plain, checkpointed and tree."""
    return trainings(bench, bench.sizes.llama, bench.sizes.vocabulary, tied=False, checkpointed=True)


def smollm2(bench: Bench) -> Figures:
    """SmolLM2-135M's shape: plain and tree."""
    return trainings(bench, bench.sizes.smollm2, bench.sizes.smollm2_vocabulary, tied=True, checkpointed=False)


def trainings(bench: Bench, shape: Mapping[str, int], vocabulary: int, *, tied: bool, checkpointed: bool) -> Figures:
    """Train a shape on samples that share nothing and on users' trees, one after the other on the same weights."""
    on_gpu = bench.device.type == "cuda"
    dtype = "bfloat16" if on_gpu else "float32"
    place = str(bench.device)
    save_random_base(
        bench.folder, shape, vocabulary=vocabulary, tied=tied, dtype=dtype, device=place, seed=bench.config.seed
    )
    base = load_base(str(bench.folder), dtype=dtype, device=bench.device)
    model = distribute(drawn_lora(base, bench.sft()), TrainingConfig(), device=bench.device, world_size=1)
    steps = _WARM_UP + bench.config.steps
    plain = plain_samples(bench, vocabulary, _SAMPLES_A_STEP * steps)
    trees = user_samples(bench, vocabulary, _OF_A_USER * _USERS_A_STEP * steps)
    found: Figures = {
        "kept_kib_a_token_expected": sum(kept_bytes(shape).values()) * shape["num_hidden_layers"] / 2**10,
        "plain": timed(functools.partial(train, bench, model, plain, steps=steps)),
        "tree": timed(functools.partial(train, bench, model, trees, steps=steps)),
    }
    if checkpointed:
        distribute(model, TrainingConfig(gradient_checkpointing="full"), device=bench.device, world_size=1)
        found["plain, checkpointed"] = timed(functools.partial(train, bench, model, plain, steps=steps))
    return found


def train(bench: Bench, model: Any, samples: Sequence[Sample], *, steps: int) -> Figures:
    """Optimizer steps over samples, as a worker takes them; the figures are of the steps after the first two.

    `over_loaded_kib_a_token` is what the longest pass took beyond what was loaded, LoRA's gradients and Adam's state in it.
    """
    import torch

    on_gpu = bench.device.type == "cuda"
    size = len(samples) // steps
    parts = [share(samples[step * size : (step + 1) * size], rank=0, world_size=1, sft=bench.sft()) for step in range(steps)]
    pass_lengths = [[len(one.input_ids) for one in part.sequences] for part in parts]
    optimizer, _ = make_optimizer(model, bench.sft(), steps=steps)
    loaded = torch.cuda.memory_allocated() if on_gpu else None
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds, losses, graphs = [], [], []
    for part in parts:
        with counting() as compiled:
            started = time.perf_counter()
            losses.append(optimizer_step(model, optimizer, part, max_grad_norm=1.0, device=bench.device).loss)
            seconds.append(time.perf_counter() - started)  # the step has read its loss, so the device is done
        graphs.append(compiled["graphs"])
    timed_s = sum(seconds[_WARM_UP:])
    memory: Figures = {"loaded_gib": None, "peak_memory_gib": None, "over_loaded_kib_a_token": None}
    if loaded is not None:
        peak = torch.cuda.max_memory_allocated()
        memory = {
            "loaded_gib": loaded / 2**30,
            "peak_memory_gib": peak / 2**30,
            "over_loaded_kib_a_token": (peak - loaded) / 2**10 / max(map(max, pass_lengths)),
        }
    return {
        **speed(model, parts[_WARM_UP:], timed_s, about(bench.device)["peak_assumed"]),
        **memory,
        "pass_lengths": pass_lengths,
        "step_seconds": seconds,
        "graphs_compiled": graphs,
        "losses": losses,
    }


def speed(model: Any, parts: Sequence[WorkerShare], seconds: float, peak: Mapping[str, Any] | None) -> Figures:
    """Tokens of the samples, and tokens that were run, in a second; FLOP/s of what was run, and their share of the peak."""
    passes = [sequence for part in parts for sequence in part.sequences]
    flops = useful_flops(
        model,
        tokens=sum(len(one.input_ids) for one in passes),
        pairs=sum(map(pairs_of, passes)),
        response_tokens=sum(len(one.labels) for one in passes),
    )
    return {
        "tokens_per_s": sum(part.tokens for part in parts) / seconds,
        "run_tokens_per_s": sum(len(one.input_ids) for one in passes) / seconds,
        "tflops_per_s": flops / seconds / 1e12,
        "share_of_peak_flops": flops / seconds / peak["flops"] if peak else None,
    }


def lengths(bench: Bench) -> Figures:
    """What each packed length costs when it comes for the first time and for the second, by how FlexAttention is compiled."""
    on_gpu = bench.device.type == "cuda"
    shape = {**bench.sizes.llama, "num_hidden_layers": 2}
    dtype = "bfloat16" if on_gpu else "float32"
    place = str(bench.device)
    save_random_base(bench.folder, shape, vocabulary=512, tied=True, dtype=dtype, device=place, seed=bench.config.seed)
    model = drawn_lora(load_base(str(bench.folder), dtype=dtype, device=bench.device), bench.sft()).to(bench.device)
    found: Figures = {}
    for name, dynamic in (("as transformers", None), ("dynamic=True", True), ("dynamic=False", False)):
        with flex_compiled(dynamic):
            found[name] = visits(bench, model)
    found["cheapest"] = min(found, key=lambda name: found[name]["thousand_steps_s"])
    return found


def visits(bench: Bench, model: Any) -> Figures:
    """One optimizer step at each length, twice."""
    optimizer, _ = make_optimizer(model, bench.sft(), steps=2 * len(bench.sizes.lengths))
    rng = bench.rng
    rounds: list[list[float]] = []
    with counting() as compiled:
        for _ in range(2):
            rounds.append([])
            for size in bench.sizes.lengths:
                one = sample_of(rng.integers(3, 512, size), "u", bench.sizes.response)
                part = WorkerShare([pack([one])], bench.sizes.response, size)
                started = time.perf_counter()
                optimizer_step(model, optimizer, part, max_grad_norm=1.0, device=bench.device)
                rounds[-1].append(time.perf_counter() - started)
    first, second = rounds
    steady = float(np.mean(second))
    return {
        "graphs": compiled["graphs"],
        "first_visit_s": first,
        "second_visit_s": second,
        "thousand_steps_s": sum(first) + (1000 - len(first)) * steady,
    }


# --- what the compiler does -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def counting() -> Iterator[dict[str, int]]:
    """Counts the graphs that dynamo compiles meanwhile, those compiled again included."""
    from torch._dynamo.utils import counters

    found = {"graphs": 0}
    before = counters["stats"]["unique_graphs"]
    yield found
    found["graphs"] = counters["stats"]["unique_graphs"] - before


@contextlib.contextmanager
def flex_compiled(dynamic: bool | None) -> Iterator[None]:
    """Have transformers call FlexAttention compiled so; nothing of another compilation is left over."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention
    from transformers.integrations.flex_attention import WrappedFlexAttention

    torch._dynamo.reset()
    wrapped = WrappedFlexAttention(True)  # the one object that holds it; training is what it is asked for again
    before = wrapped._compiled_flex_attention
    wrapped._compiled_flex_attention = torch.compile(flex_attention, dynamic=dynamic)
    try:
        yield
    finally:
        wrapped._compiled_flex_attention = before
        torch._dynamo.reset()


# --- what comes of it -----------------------------------------------------------------------------------------------


def summarise(cases: Mapping[str, Figures]) -> dict[str, float]:
    """The figures that have goals, of the cases that were measured."""
    found: dict[str, float] = {}
    agreed = cases.get("agreement", {})
    kinds = [agreed[name] for name in _KINDS if name in agreed and "error" not in agreed[name]]
    if kinds:
        names = ("loss_difference_of_a_sample", "loss_difference_of_the_tree")
        found["max_loss_difference"] = max(kind[name] for kind in kinds for name in names)
    plain = cases.get("llama", {}).get("plain", {"error": "was not measured"})
    if "error" not in plain:
        named = {
            "llama_share_of_peak_flops": plain["share_of_peak_flops"],
            "llama_peak_memory_gib": plain["peak_memory_gib"],
            "llama_graphs_compiled_late": sum(plain["graphs_compiled"][_WARM_UP:]),
        }
        found |= {name: value for name, value in named.items() if value is not None}
    return found


CASES: dict[Case, Callable[[Bench], Figures]] = {
    "agreement": agreement,
    "llama": llama,
    "lengths": lengths,
    "smollm2": smollm2,
}


if __name__ == "__main__":
    run(main, GpuJob)
