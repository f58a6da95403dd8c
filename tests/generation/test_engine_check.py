"""What vLLM cannot do is found on the driver, from vLLM's own source."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reviewllm.errors import ConfigError
from reviewllm.generation import vllm_source
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine_check import check_engine
from reviewllm.tiny_base import TinyBaseConfig

LLAMA = {"architectures": ["LlamaForCausalLM"], "hidden_size": 128, "num_attention_heads": 4}
ON_CPU = pytest.mark.skipif(not vllm_source.computes_on_cpu(), reason="vLLM is not built for CPUs here")

_ASKED = """
import dataclasses, json
from typing import get_args
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.model_executor.layers.quantization import QuantizationMethods
from vllm.model_executor.models import registry
import torch
from vllm import _custom_ops
from vllm.platforms import current_platform
from vllm.v1.attention.backends.cpu_attn import _get_attn_isa
current_platform.import_kernels()
def computes(size):
    int32 = dict(dtype=torch.int32)
    try:
        _custom_ops.cpu_attn_get_scheduler_metadata(
            num_reqs=1, num_heads=2, num_kv_heads=1, head_dim=size, seq_lens=torch.tensor([4], **int32), dtype=torch.float32,
            query_start_loc=torch.tensor([0, 4], **int32), causal=True, sliding_window_size=-1,
            isa=_get_attn_isa(torch.float32, 128, size), enable_kv_split=False)
    except RuntimeError:
        return False
    return True
print(json.dumps([
    [size for size in range(8, 600, 8) if computes(size)],
    sorted({*get_args(QuantizationMethods)}),
    sorted(field.name for field in dataclasses.fields(AsyncEngineArgs)),
    sorted({*registry._TEXT_GENERATION_MODELS, *registry._MULTIMODAL_MODELS, *registry._TRANSFORMERS_SUPPORTED_MODELS,
            *registry._TRANSFORMERS_BACKEND_MODELS}),
]))
"""


def base(folder: Path, **changed: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({**LLAMA, **changed}))
    return folder


@ON_CPU
@pytest.mark.slow  # it imports vLLM
def test_vllm_source_says_what_vllm_says() -> None:
    asked = subprocess.run([sys.executable, "-c", _ASKED], capture_output=True, text=True, check=True)
    found = [
        vllm_source.head_sizes_on_cpu(),
        vllm_source.quantizations(),
        vllm_source.engine_arguments(),
        vllm_source.generating_architectures(),
    ]
    assert [sorted(one or ()) for one in found] == json.loads(asked.stdout.splitlines()[-1])


def test_vllm_source_is_read_without_importing_vllm_or_torch() -> None:
    code = (
        "import sys; from reviewllm.generation import vllm_source as s; "
        "assert s.head_sizes_on_cpu() and s.engine_arguments() and s.other_architectures(); "
        "sys.exit(bool({'torch', 'vllm'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_check_engine_of_a_llama_and_of_the_demos_base_is_quiet(tmp_path: Path) -> None:
    check_engine(base(tmp_path), GenerationConfig(engine_kwargs={"dtype": "float32", "enforce_eager": True}))
    assert TinyBaseConfig().base_hidden // (TinyBaseConfig().base_hidden // 32) in (vllm_source.head_sizes_on_cpu() or ())


@ON_CPU
@pytest.mark.parametrize("shape", [{"hidden_size": 160}, {"head_dim": 40}, {"text_config": {"head_dim": 40}}])
def test_check_engine_head_size_that_no_cpu_kernel_has_is_refused(tmp_path: Path, shape: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"attention heads have 40 values each, and vLLM on CPUs .* 32, 48, 64, 80"):
        check_engine(base(tmp_path, **shape), GenerationConfig())
    check_engine(tmp_path, GenerationConfig(engine="rule"))
    check_engine(tmp_path, GenerationConfig(gpus_per_engine=1))
    check_engine(base(tmp_path, **shape, kv_lora_rank=512), GenerationConfig())


def test_check_engine_unknown_argument_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no argument 'max_num_seq'; did you mean 'max_num_seqs'"):
        check_engine(base(tmp_path), GenerationConfig(engine_kwargs={"max_num_seq": 4}))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"architectures": ["LamaForCausalLM"]},
            "knows its architecture 'LamaForCausalLM' .*, which is near 'LlamaForCausalLM'",
        ),
        ({"architectures": ["BertForSequenceClassification"]}, "embeds or classifies texts and writes none"),
        (
            {"quantization_config": {"quant_method": "bitsandbytes"}},
            "method 'bitsandbytes', which the installed vLLM does not",
        ),
        (
            {"architectures": ["RecurrentGemmaForCausalLM"], "model_type": "recurrent_gemma"},
            "no class for its architecture 'RecurrentGemmaForCausalLM', and cannot run that of transformers",
        ),
        ({"architectures": ["XGLMForCausalLM"], "model_type": "xglm"}, "whose attention is not exchangeable"),
    ],
)
def test_check_engine_base_that_vllm_writes_nothing_with_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"--reference-model {tmp_path}: .*{message}"):
        check_engine(base(tmp_path, **changed), GenerationConfig(), flag="--reference-model")


@pytest.mark.parametrize(
    "changed",
    [
        {"architectures": ["GPTNeoXForCausalLM"]},  # through transformers, by name
        {"architectures": ["BloomForCausalLM", "Other"]},
        {"architectures": ["GPTJForCausalLM"]},
        {"architectures": None},
        {"quantization_config": {"quant_method": "compressed_tensors"}},
        {"quantization_config": {"quant_method": "gptq"}},
    ],
)
def test_check_engine_base_that_vllm_may_know_is_left_to_it(tmp_path: Path, changed: dict[str, Any]) -> None:
    check_engine(base(tmp_path, **changed), GenerationConfig())


@pytest.mark.parametrize("architecture", ["GPT2LMHeadModel", "BloomForCausalLM", "FalconForCausalLM", "GPTJForCausalLM"])
def test_check_engine_adapter_beside_a_base_that_takes_none_is_refused(tmp_path: Path, architecture: str) -> None:
    check_engine(base(tmp_path, architectures=[architecture]), GenerationConfig())
    with pytest.raises(
        ConfigError, match=f"serves no adapter beside a {architecture}, so a/b has to be merged .*jobs/merge.py"
    ):
        check_engine(tmp_path, GenerationConfig(), adapter=Path("a/b"))
    check_engine(tmp_path, GenerationConfig(engine="rule"), adapter=Path("a/b"))


@pytest.mark.parametrize(
    "architecture",
    [
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Phi3ForCausalLM",
        "GptOssForCausalLM",
        "Olmo2ForCausalLM",
        "GPTNeoXForCausalLM",
    ],
)
def test_check_engine_adapter_beside_a_base_that_takes_some_is_quiet(tmp_path: Path, architecture: str) -> None:
    check_engine(base(tmp_path, architectures=[architecture]), GenerationConfig(gpus_per_engine=1), adapter=Path("a/b"))


@ON_CPU
@pytest.mark.parametrize(
    ("architecture", "why"),
    [
        ("GptOssForCausalLM", "whose experts need Triton"),
        ("MambaForCausalLM", "whose layers keep a state"),
        ("Qwen3NextForCausalLM", "whose layers keep a state"),
    ],
)
def test_check_engine_base_that_no_cpu_computes_is_refused(tmp_path: Path, architecture: str, why: str) -> None:
    check_engine(base(tmp_path, architectures=[architecture]), GenerationConfig(gpus_per_engine=1))
    with pytest.raises(ConfigError, match=f"is a {architecture}, {why}, and vLLM does not compute that on CPUs"):
        check_engine(tmp_path, GenerationConfig())


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"layer_types": ["full_attention", "sliding_attention"]}, True),
        ({"layer_types": ["sliding_attention"] * 2}, False),
        ({"use_sliding_window": True, "max_window_layers": 1, "num_hidden_layers": 2}, True),
        ({"use_sliding_window": True, "max_window_layers": 2, "num_hidden_layers": 2}, False),
        ({"use_sliding_window": False, "max_window_layers": 1, "num_hidden_layers": 2}, False),
    ],
)
@pytest.mark.parametrize(("architecture", "one_kind"), [("Qwen2ForCausalLM", True), ("Gemma2ForCausalLM", False)])
def test_check_engine_windows_in_some_layers(
    tmp_path: Path, architecture: str, one_kind: bool, changed: dict[str, Any], refused: bool
) -> None:
    made = base(tmp_path, architectures=[architecture], sliding_window=16, **changed)
    if refused and one_kind:
        with pytest.raises(
            ConfigError, match=f"a window of 16 tokens .* vLLM computes a {architecture} with one kind of layer"
        ):
            check_engine(made, GenerationConfig())
    else:
        check_engine(made, GenerationConfig())


@ON_CPU
def test_check_engine_refuses_prompts_in_parts_where_rows_sample_on_a_cpu(tmp_path: Path) -> None:
    parts = {"enable_chunked_prefill": True}
    with pytest.raises(
        ConfigError, match=r"--engine-kwargs enable_chunked_prefill: with --temperature 0\.7 vLLM on CPUs dies"
    ):
        check_engine(base(tmp_path), GenerationConfig(engine_kwargs=parts, temperature=0.7))
    check_engine(base(tmp_path), GenerationConfig(engine_kwargs=parts))
    check_engine(base(tmp_path), GenerationConfig(engine_kwargs=parts, temperature=0.7, gpus_per_engine=1))


NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}


@pytest.mark.parametrize(
    ("speculation", "options", "message"),
    [
        (NGRAM, {"temperature": 0.7}, "with --temperature 0.7 a row's text would depend on what else is in the batch"),
        (NGRAM, {"adapter": Path("lora")}, "is not served with a live adapter; merge it into the base"),
        ("ngram", {}, r"expected an object, as {'method': 'ngram'}, found 'ngram'"),
        ({"method": "suffix"}, {}, "the method suffix needs the package arctic-inference"),
    ],
)
def test_check_engine_refuses_speculation_that_would_write_another_text(
    speculation: object, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    adapter = options.pop("adapter", None)
    generation = GenerationConfig(engine_kwargs={"speculative_config": speculation}, **options)
    with pytest.raises(ConfigError, match=f"--engine-kwargs speculative_config: {message}"):
        check_engine(base(tmp_path), generation, adapter=adapter)


def test_check_engine_takes_greedy_speculation_with_what_is_merged(tmp_path: Path) -> None:
    check_engine(base(tmp_path), GenerationConfig(engine_kwargs={"speculative_config": NGRAM}))
