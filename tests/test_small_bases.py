"""Bases of many architectures and odd checkpoints: trained, merged and served, with the same text each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from conftest import WORDS, entry, example
from peft import PeftModel, get_peft_model
from small_bases import CONTEXT, NAMES, VOCABULARY, WINDOW, random_model, save_small_base, small_base
from small_engine import MAX_TOKENS, SmallEngines, small_engines
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from reviewllm.errors import ConfigError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine_check import check_engine
from reviewllm.prompts.chat import end_token
from reviewllm.prompts.config import PromptConfig
from reviewllm.sft.adapter import merge_adapter
from reviewllm.sft.config import LoopConfig, SFTConfig, TrainingConfig
from reviewllm.sft.fit import prepare_run, train_adapter
from reviewllm.sft.layers import lora_config
from reviewllm.sft.loop import Worker, train
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import EOS, train_tokenizer

Ids = list[int]
_DRAWN = torch.Generator().manual_seed(3)
PROMPTS = [torch.randint(3, VOCABULARY, (tokens,), generator=_DRAWN).tolist() for tokens in (5, WINDOW + 8, 4 * WINDOW)]
MERGED_ONLY = {"gpt2", "bloom", "falcon", "gptj"}  # beside these vLLM serves no adapters
UNSERVED = {
    "qwen2-window": "some of its layers look at a window of 16 tokens and the others at all",
    "qwen3-window": "vLLM computes a Qwen3ForCausalLM with one kind of layer only",
    "gpt-oss": "is a GptOssForCausalLM, whose experts need Triton, and vLLM does not compute that on CPUs",
    "mamba": "is a MambaForCausalLM, whose layers keep a state, and vLLM does not compute that on CPUs",
    "lfm2": "is a Lfm2ForCausalLM, whose layers keep a state, and vLLM does not compute that on CPUs",
    "recurrent-gemma": "vLLM has no class for its architecture .*, and cannot run that of transformers",
}
ALL_SLIDING = {"layer_types": ["sliding_attention"] * 2, "max_window_layers": 0}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On models so small, threads wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def engines() -> Iterator[SmallEngines]:
    with small_engines() as running:
        yield running


def greedy(model: Any, prompts: Sequence[Ids] = PROMPTS) -> list[Ids]:
    """The ids that a model writes by transformers, whatever ends a text."""
    written = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        with torch.no_grad():
            output = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=MAX_TOKENS,
                do_sample=False,
                eos_token_id=None,
            )
        written.append(output[0, len(prompt) :].tolist())
    return written


def plain(folder: Path) -> Any:
    """A model as transformers computes it, in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def random_adapter(base: Path, folder: Path) -> list[Ids]:
    """Save an adapter of random weights on all linear layers; returns what PEFT's model writes with it."""
    torch.manual_seed(7)
    model = plain(base)
    bare = greedy(model)
    tuned = get_peft_model(model, lora_config(model, SFTConfig(base_model=str(base))))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1)
    tuned.save_pretrained(folder)
    written = greedy(tuned.eval())
    assert all(one != other for one, other in zip(written, bare, strict=True))
    return written


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    ("name", "changed"),
    [
        *((name, {}) for name in NAMES if name not in UNSERVED),
        pytest.param("qwen2-window", ALL_SLIDING, id="qwen2-all-sliding"),
        pytest.param("qwen3-window", ALL_SLIDING, id="qwen3-all-sliding"),
    ],
)
def test_every_architecture_is_served_as_peft_computes_it(
    name: str, changed: dict[str, Any], engines: SmallEngines, tmp_path: Path
) -> None:
    base, adapter = save_small_base(name, tmp_path / "base", **changed), tmp_path / "adapter"
    wanted = random_adapter(base, adapter)
    check_engine(base, GenerationConfig())
    assert engines.write(merge_adapter(base, adapter, tmp_path / "merged"), PROMPTS).ids == wanted
    if name in MERGED_ONLY:
        return
    check_engine(base, GenerationConfig(), adapter=adapter)
    written = engines.write(base, PROMPTS, adapter)
    assert written.left_out == []
    assert written.ids == wanted


@pytest.mark.parametrize("name", sorted({*UNSERVED, *MERGED_ONLY}))
def test_architecture_that_vllm_does_not_serve_is_refused_before_an_engine_starts(name: str, tmp_path: Path) -> None:
    small_base(name).save_pretrained(tmp_path)
    if name in MERGED_ONLY:
        check_engine(tmp_path, GenerationConfig())
    with pytest.raises(ConfigError, match=UNSERVED.get(name, "vLLM serves no adapter beside a")):
        check_engine(tmp_path, GenerationConfig(), adapter=Path("adapter"))


def tied(folder: Path) -> Path:
    return save_small_base("llama", folder, tie_word_embeddings=True)


def padded(folder: Path) -> Path:
    """An embedding of more rows than the tokenizer has tokens, as of bases that were padded for their GPUs."""
    return save_small_base("llama", folder, vocab_size=VOCABULARY + 20)


def without_bos(folder: Path) -> Path:
    """As Qwen's: nothing begins a text."""
    return _with_tokenizer(folder, eos_token=EOS, pad_token="<pad>")


def pad_is_eos(folder: Path) -> Path:
    return _with_tokenizer(folder, bos_token="<s>", eos_token=EOS, pad_token=EOS)


def _with_tokenizer(folder: Path, **special: str) -> Path:
    save_small_base("llama", folder, bos_token_id=None, pad_token_id=2)
    backend = train_tokenizer(WORDS, vocabulary=VOCABULARY, context=CONTEXT).backend_tokenizer
    if "bos_token" not in special:
        backend.post_processor = None
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=CONTEXT, **special).save_pretrained(folder)
    return folder


def sharded(folder: Path) -> Path:
    save_small_base("llama", folder)
    (folder / "model.safetensors").unlink()
    random_model(small_base("llama")).save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


def float16(folder: Path) -> Path:
    save_small_base("llama", folder)
    random_model(small_base("llama")).half().save_pretrained(folder)
    return folder


def hub_cache(folder: Path) -> Path:
    """A snapshot of links to files that are named by what is in them, as a hub's cache holds it."""
    blobs, snapshot = folder / "blobs", folder / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    save_small_base("llama", blobs)
    for number, file in enumerate(sorted(blobs.iterdir())):
        file.rename(blobs / f"{number:040x}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040x}")
    return snapshot


ODD = (tied, padded, without_bos, pad_is_eos, sharded, float16, hub_cache)


def trained(base: Path, folder: Path) -> Path:
    """Two optimizer steps on a base, in this process; returns the adapter."""
    rows = [example(example_id=f"e{n}", user_id=f"u{n}", history=[entry(n)], reference="Good.") for n in range(4)]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "examples" / "a.parquet", EXAMPLES)
    run = prepare_run(
        examples=folder / "examples",
        run=str(folder / "run"),
        sft=SFTConfig(base_model=str(base), learning_rate=0.02, max_response_tokens=16),
        training=TrainingConfig(num_workers=1, dtype="float32"),
        prompt=PromptConfig(max_prompt_tokens=400),
    )
    end = end_token(run.tokenizer, chat_template=False)
    loop = LoopConfig(
        sft=run.sft, training=run.training, base=str(run.base), run=run.storage.uri, identity=run.identity, end_token=end
    )
    train(loop, Worker(0, 1, torch.device("cpu")), tell=lambda message: None)
    description = train_adapter(run, folder / "adapter")
    assert description.optimizer_steps == 2
    assert len(description.layers) == 7
    return folder / "adapter"


def trained_and_merged(make: Callable[[Path], Path], folder: Path) -> tuple[Path, Path, Path]:
    base = make(folder / "base")
    adapter = trained(base, folder)
    return base, adapter, merge_adapter(base, adapter, folder / "merged")


@pytest.mark.parametrize("make", ODD)
def test_odd_checkpoint_is_trained_and_merged_into_the_same_model(make: Callable[[Path], Path], tmp_path: Path) -> None:
    base, adapter, merged = trained_and_merged(make, tmp_path)
    bare, tuned, whole = plain(base), PeftModel.from_pretrained(plain(base), adapter).eval(), plain(merged)
    ids = torch.tensor([PROMPTS[-1]])
    with torch.no_grad():
        before, wanted, found = (model(ids).logits for model in (bare, tuned, whole))
    # float16 keeps ten bits of a merged weight
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-2 if make is float16 else 1e-4)
    assert (wanted - before).abs().max() > 0.1
    assert whole.config.tie_word_embeddings == bare.config.tie_word_embeddings
    assert found.shape[-1] == (VOCABULARY + 20 if make is padded else VOCABULARY)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("make", ODD)
def test_odd_checkpoint_is_served(make: Callable[[Path], Path], engines: SmallEngines, tmp_path: Path) -> None:
    base, adapter, merged = trained_and_merged(make, tmp_path)
    assert engines.write(base, PROMPTS, adapter).ids == greedy(PeftModel.from_pretrained(plain(base), adapter).eval())
    assert engines.write(merged, PROMPTS).ids == greedy(plain(merged))
