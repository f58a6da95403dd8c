"""What is wrong is said before a worker starts; checkpoints of another training are not gone on from."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import entry, example
from peft import PeftModel
from transformers import AutoModelForCausalLM

from reviewllm.errors import ConfigError, SchemaError, TrainingError
from reviewllm.place import below
from reviewllm.prompts.config import PromptConfig
from reviewllm.sft.adapter import check_base
from reviewllm.sft.checkpoint import checkpoints
from reviewllm.sft.config import LoopConfig, SFTConfig, TrainingConfig
from reviewllm.sft.fit import Run, prepare_run, run_identity, train_adapter
from reviewllm.sft.loop import Worker, train
from reviewllm.sft.storage import Storage
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    rows = [example(example_id=f"e{n}", user_id=f"u{n}", history=[entry(n)], reference="Good.") for n in range(5)]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "examples" / "a.parquet", EXAMPLES)
    return tmp_path / "examples"


def prepare(
    examples: Path, base: Path, *, training: dict[str, Any] | None = None, prompt: Any = None, **options: Any
) -> Run:
    return prepare_run(
        examples=examples,
        run=str(examples.parent / "run"),
        sft=SFTConfig(base_model=str(base), **options),
        training=TrainingConfig(**{"num_workers": 1, "save_steps": 1, **(training or {})}),
        prompt=prompt or PromptConfig(max_prompt_tokens=400),
    )


def test_train_adapter_of_a_run_on_s3_that_is_finished(
    examples: Path, random_base: Path, s3_server: str, tmp_path: Path
) -> None:
    run = prepare_run(
        examples=examples,
        run=below(s3_server, "fit"),
        sft=SFTConfig(base_model=str(random_base)),
        training=TrainingConfig(num_workers=1, save_steps=1, save_total_limit=1),
        prompt=PromptConfig(max_prompt_tokens=400),
    )
    trained(run)
    assert run.storage.names() == ["checkpoint-00000003", "final", "samples"]
    description = train_adapter(run, tmp_path / "adapter")  # no worker is started: there is nothing left to train
    assert description.optimizer_steps == 3
    assert check_base(tmp_path / "adapter", random_base) == description
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(random_base), tmp_path / "adapter")
    assert model.peft_config["default"].r == 8


def trained(run: Run) -> None:
    """Train on this process alone."""
    import torch

    loop = LoopConfig(
        sft=run.sft, training=run.training, base=str(run.base), run=run.storage.uri, identity=run.identity, end_token=2
    )
    train(loop, Worker(0, 1, torch.device("cpu")), tell=lambda message: None)


def test_prepare_run_counts_and_identity(examples: Path, random_base: Path) -> None:
    run = prepare(examples, random_base)
    assert run.counts.samples == 5
    assert run.storage.names() == ["samples"]
    again = prepare(examples, random_base)
    assert again.identity == run.identity
    assert again.run_id == run.run_id
    assert prepare(examples, random_base, seed=1).run_id != run.run_id


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"training": {"num_workers": 6}}, "--num-workers 6: there are only 5 training samples"),
        (
            {"target_modules": ["q_proj", "query"]},
            r"--target-modules query: .* it has q_proj, k_proj, v_proj, o_proj, gate_proj",
        ),
        ({"target_modules": []}, r"--target-modules \(none\)"),
        ({"max_response_tokens": 700}, "may come to 1100 tokens, but the base .* has a context of 1024"),
        ({"validation_fraction": 0.0001}, "--validation-fraction 0.0001: holds out no user of 5 samples"),
    ],
)
def test_prepare_run_what_is_wrong_is_named(
    examples: Path, random_base: Path, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        prepare(examples, random_base, **options)


def test_prepare_run_base_whose_tokenizer_or_weights_do_not_serve_is_refused(
    examples: Path, random_base: Path, tokenizer: Any, tmp_path: Path
) -> None:
    base = shutil.copytree(random_base, tmp_path / "base")
    grown = copy.deepcopy(tokenizer)
    grown.add_tokens(["<rake>"])
    grown.save_pretrained(base)
    with pytest.raises(ConfigError, match=r"1 token\(s\) that its embedding of 300 rows has none for, as '<rake>'"):
        prepare(examples, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "bitsandbytes"}}))
    with pytest.raises(ConfigError, match=r"has a quantization_config \(method bitsandbytes\)"):
        prepare(examples, base)
    assert not (examples.parent / "run").exists()


def test_prepare_run_without_anything_to_train_on(tmp_path: Path, examples: Path, random_base: Path) -> None:
    with pytest.raises(SchemaError, match="no Parquet file"):
        prepare(tmp_path / "absent" / "examples", random_base)
    rows = [example(reference=" "), example(reference=None)]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "b" / "examples" / "a.parquet", EXAMPLES)
    with pytest.raises(TrainingError, match=r"no training sample: 2 example\(s\)"):
        prepare(tmp_path / "b" / "examples", random_base)
    with pytest.raises(TrainingError, match="5 are held out for validation"):
        prepare(examples, random_base, validation_fraction=0.999)


def test_prepare_run_storage_that_cannot_be_written(examples: Path, random_base: Path) -> None:
    (examples.parent / "run").write_text("a file")
    with pytest.raises(ConfigError, match=r"--storage-path .*run: cannot be written"):
        prepare(examples, random_base)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"learning_rate": 1e-3}, "learning_rate: 5e-06 there, 0.001 now"),
        ({"lora_r": 4}, "lora_r: 8 there, 4 now"),
        ({"seed": 3}, "seed: 0 there, 3 now"),
        ({"gradient_accumulation_steps": 1}, "samples of a step: 2 there, 1 now"),
        ({"prompt": PromptConfig(max_prompt_tokens=300)}, "max_prompt_tokens: 400 there, 300 now"),
        ({"prompt": PromptConfig(max_prompt_tokens=400, rating=False)}, "rating: True there, False now"),
        ({"training": {"dtype": "bfloat16"}}, "dtype: auto there, bfloat16 now"),
    ],
)
def test_prepare_run_checkpoint_of_another_configuration_is_refused(
    examples: Path, random_base: Path, changed: dict[str, Any], problem: str
) -> None:
    trained(prepare(examples, random_base, max_steps=1))
    with pytest.raises(
        ConfigError, match=rf"checkpoint-00000001 belongs to another training: .*{problem}.*--on-existing-run"
    ):
        prepare(examples, random_base, **{"max_steps": 1, **changed})


def test_prepare_run_checkpoint_of_other_data_or_base_is_refused(examples: Path, random_base: Path, tmp_path: Path) -> None:
    trained(prepare(examples, random_base, max_steps=1))
    size = TinyBaseConfig(base_vocabulary=300, base_hidden=32, base_layers=2, base_steps=0)
    other = make_tiny_base(
        [["Other words, so another tokenizer and other weights."]], tmp_path / "other", size, context=1024
    )
    with pytest.raises(ConfigError, match=r"base sha256: \w{64} there, \w{64} now"):
        prepare(examples, other, max_steps=1)
    rows = [example(example_id=f"e{n}", user_id=f"u{n}", history=[entry(n)], reference="Bad.") for n in range(5)]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), examples / "a.parquet", EXAMPLES)
    with pytest.raises(ConfigError, match=r"samples sha256: \w{64} there, \w{64} now"):
        prepare(examples, random_base, max_steps=1)
    storage = Storage(str(examples.parent / "run"))
    assert checkpoints(storage)  # refused, and nothing lost
    prepare(examples, random_base, max_steps=1, training={"on_existing_run": "restart"})
    assert storage.names() == ["samples"]


def test_run_identity_is_the_same_on_other_workers_and_passes() -> None:
    def identity(sft: dict[str, Any], training: dict[str, Any]) -> dict[str, str]:
        config = SFTConfig(base_model="x", **sft)
        return run_identity(config, TrainingConfig(**training), PromptConfig(), base_digest="b", samples_digest="s")

    here = identity({}, {"num_workers": 4})
    assert here == identity(
        {"gradient_accumulation_steps": 4, "max_sequence_tokens": 9000}, {"num_workers": 2, "strategy": "fsdp"}
    )
    assert here != identity({}, {"num_workers": 2})  # half as many samples a step
