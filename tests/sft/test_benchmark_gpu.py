"""benchmarks/gpu.py: its samples, its arithmetic, what it counts, and all of it at tiny shapes."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask
from transformers.integrations.flex_attention import flex_attention_forward

from benchmarks.bases import LLAMA_3_8B, PEAK_FLOPS, drawn_lora, kept_bytes, peak_of, save_random_base, useful_flops
from benchmarks.gpu import (
    SMALL,
    Bench,
    GpuJob,
    counting,
    failed,
    flex_compiled,
    main,
    pairs_of,
    plain_samples,
    summarise,
    timed,
    user_samples,
)
from reviewllm.config import parse
from reviewllm.errors import ConfigError
from reviewllm.sft.config import SFTConfig
from reviewllm.sft.loss import response_loss
from reviewllm.sft.model import load_base
from reviewllm.sft.sequences import PackedSequence, pack

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_RAY = """
import runpy, sys
sys.modules.update(dict.fromkeys(("ray", "vllm", "polars")))  # None: importing it fails
runpy.run_path("benchmarks/gpu.py", run_name="__main__")
"""
BENCH = Bench(GpuJob(small=True), SMALL, torch.device("cpu"), Path())
SHAPE = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}


def kept_tensors(layers: int, folder: Path, sequence: PackedSequence) -> int:
    """Bytes that a forward pass keeps for its backward pass, weights left out."""
    shape = {**SHAPE, "num_hidden_layers": layers}
    save_random_base(folder, shape, vocabulary=512, tied=True, dtype="bfloat16", device="cpu", seed=0)
    model = drawn_lora(load_base(str(folder), dtype="bfloat16", device="cpu"), SFTConfig(base_model="x"))
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        response_loss(model, sequence, device="cpu")
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in weights)


def test_kept_bytes_are_what_a_layer_keeps_of_each_token(tmp_path: Path) -> None:
    (one,) = plain_samples(BENCH, 512, 1)
    two, three = (kept_tensors(layers, tmp_path / str(layers), pack([one])) for layers in (2, 3))
    hidden, wide, keys = 64, 96, 32
    lora = (
        8 * ((hidden + hidden) * 2 + (hidden + keys) * 2 + (hidden + wide) * 3) * 2
    )  # its weights in bfloat16, of any length
    assert three - two == sum(kept_bytes(SHAPE).values()) * len(one.token_ids) + lora


def test_kept_bytes_of_llama_3_8b() -> None:
    by_what = {name: found / 1024 for name, found in kept_bytes(LLAMA_3_8B).items()}
    assert by_what == {
        "norms": 2 * 4 * 4 + 2 * 4 / 1024,  # KiB: 4,096 values of 4 bytes, twice
        "lora": 3 * 8 + 28 + 7 * 8 * 2 / 1024,
        "attention": 2 * 8 + 2 * 2 + 32 * 4 / 1024,
        "mlp": 3 * 28,
    }


def test_useful_flops_counts_weights_output_and_pairs() -> None:
    shape = SimpleNamespace(vocab_size=10, hidden_size=4, num_attention_heads=2, num_hidden_layers=3, head_dim=None)
    weights = [("model.layers.0.q_proj", torch.zeros(4, 4)), ("model.embed_tokens", torch.zeros(10, 4))]
    model = SimpleNamespace(config=shape, named_parameters=lambda: weights)
    found = useful_flops(model, tokens=5, pairs=7, response_tokens=2)
    assert found == 4 * (16 * 5 + 10 * 4 * 2) + 3 * (3 * 4 * 2 * 2 * 7)


@pytest.mark.parametrize(
    ("device", "name"), [("NVIDIA A100-SXM4-80GB", "A100"), ("NVIDIA H100 PCIe", "H100 PCIe"), ("NVIDIA H200", "H200")]
)
def test_peak_of_known_devices_says_which_is_assumed(device: str, name: str) -> None:
    assert peak_of(device) == (name, PEAK_FLOPS[name])
    assert peak_of("NVIDIA GeForce") is None


def test_user_samples_share_and_plain_samples_do_not() -> None:
    users, plain = user_samples(BENCH, 512, 64), plain_samples(BENCH, 512, 8)
    assert len(users) == 64
    assert sum(len(one.token_ids) for one in users) > 2 * len(pack(users).input_ids)
    assert sum(len(one.token_ids) for one in plain) < 1.05 * len(pack(plain).input_ids)
    assert max(len(one.token_ids) for one in plain) == SMALL.longest
    assert all(len(one.token_ids) - one.prompt_tokens == SMALL.response for one in [*users, *plain])


def test_pairs_of_a_tree_are_those_that_see_each_other() -> None:
    packed = pack(user_samples(BENCH, 512, 8))
    i, j = np.indices((len(packed.until),) * 2)
    assert pairs_of(packed) == int(((j <= i) & (i < packed.until[j])).sum())


def graphs(dynamic: bool | None, lengths: list[int]) -> int:
    """Graphs that FlexAttention is compiled to at these lengths, by the way that transformers calls it."""
    with flex_compiled(dynamic), counting() as compiled, torch.no_grad():
        for length in lengths:
            states = torch.zeros(1, 2, length, 16)
            mask = create_block_mask(lambda batch, head, i, j: j <= i, None, None, length, length, device="cpu")
            flex_attention_forward(SimpleNamespace(training=True), states, states, states, mask)
    return compiled["graphs"]


def test_flex_compiled_static_has_a_graph_for_each_length_and_dynamic_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    # What dynamo compiles anew it decides itself; no kernels have to be built for that.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    lengths = [256, 384, 512, 640, 768]
    assert graphs(False, lengths) == len(lengths)
    assert graphs(None, lengths) <= 2  # one for the first length, one for all others
    assert graphs(True, lengths) <= 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_gpu_benchmark_without_a_gpu_measures_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no CUDA device is here, so nothing was measured"):
        main(GpuJob(json=tmp_path / "figures.json"))
    assert not (tmp_path / "figures.json").exists()


def test_gpu_benchmark_cases_are_named_with_commas() -> None:
    assert parse(GpuJob, ["--cases", "agreement,lengths"]).cases == ["agreement", "lengths"]
    with pytest.raises(ConfigError, match=r"--cases.*'agreement', 'llama', 'lengths' or 'smollm2'"):
        parse(GpuJob, ["--cases", "speed"])


def test_timed_error_of_torch_ends_one_case_and_is_named() -> None:
    def without_memory() -> dict[str, Any]:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    agreed = {"loss_difference_of_a_sample": 2e-6, "loss_difference_of_the_tree": 1e-6}
    cases = {
        "llama": {"plain": timed(without_memory)},
        "lengths": timed(without_memory),
        "agreement": {"window": timed(without_memory), "plain": timed(lambda: agreed)},
    }
    assert cases["lengths"]["error"] == "OutOfMemoryError: CUDA out of memory."
    assert failed(cases) == ["lengths", "llama: plain", "agreement: window"]
    assert summarise(cases) == {"max_loss_difference": 2e-6}


@pytest.mark.slow
def test_gpu_benchmark_small_runs_every_case_without_ray(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_RAY, "--small", "--steps", "1", "--json", str(tmp_path / "figures.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    assert list(report["cases"]) == ["agreement", "llama", "lengths", "smollm2"]
    assert report["summary"]["max_loss_difference"] < 1e-5
    assert not failed(report["cases"])
    agreement = report["cases"]["agreement"]
    kinds = ("plain", "window", "window and caps", "window and sinks")
    assert max(agreement[kind]["gradient_difference"] for kind in kinds) < 1e-4
    llama = report["cases"]["llama"]
    assert set(llama) >= {"plain", "tree", "plain, checkpointed"}
    assert llama["tree"]["tokens_per_s"] > 2 * llama["tree"]["run_tokens_per_s"]
    # Computing activations again changes no loss, and neither do the steps before it, but for the weights that they moved.
    assert llama["plain"]["losses"][0] == pytest.approx(llama["plain, checkpointed"]["losses"][0], abs=0.05)
    if report["about"]["device"] == "cpu":
        assert (
            report["about"]["peak_assumed"]
            is llama["plain"]["share_of_peak_flops"]
            is llama["plain"]["peak_memory_gib"]
            is None
        )
