"""LoRA on a base, and what FSDP2 makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed
from small_bases import save_small_base
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from reviewllm.errors import ConfigError
from reviewllm.sft.config import SFTConfig, TrainingConfig
from reviewllm.sft.model import add_lora, check_target_modules, distribute, load_base, trainable

CPU = torch.device("cpu")


@pytest.fixture
def two_workers() -> Iterator[None]:
    """A process group of two of which only the first exists: enough to see who would hold what."""
    torch.distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield
    torch.distributed.destroy_process_group()


def test_add_lora_same_seed_same_weights_in_float32_on_a_frozen_base(random_base: Path) -> None:
    one, same, other = (
        add_lora(load_base(str(random_base), dtype="bfloat16", device=CPU), SFTConfig(base_model="x", seed=seed))
        for seed in (0, 0, 1)
    )
    assert {weight.dtype for weight in trainable(one).values()} == {torch.float32}
    assert one.get_input_embeddings().weight.dtype == torch.bfloat16
    assert all(torch.equal(weight, trainable(same)[name]) for name, weight in trainable(one).items())
    assert not all(torch.equal(weight, trainable(other)[name]) for name, weight in trainable(one).items())
    assert all("lora" in name for name in trainable(one))
    assert len(trainable(one)) == 2 * 7  # A and B of seven linear layers


def test_check_target_modules_the_output_layer_is_none_of_them(random_base: Path) -> None:
    check_target_modules(random_base, ["q_proj", "down_proj"])
    with pytest.raises(ConfigError, match=r"--target-modules lm_head nonsense: .*it has q_proj"):
        check_target_modules(random_base, ["lm_head", "q_proj", "nonsense"])


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt-neox", "gpt-oss"])
def test_distribute_fsdp_every_worker_holds_half_of_base_and_lora(name: str, two_workers: None, tmp_path: Path) -> None:
    base = load_base(str(save_small_base(name, tmp_path)), dtype="bfloat16", device=CPU)
    model = add_lora(base, SFTConfig(base_model="x"))
    rows = {name: weight.shape[0] for name, weight in model.named_parameters()}
    parallel = distribute(model, TrainingConfig(strategy="fsdp"), device=CPU, world_size=2)
    assert parallel is model
    for name, weight in model.named_parameters():
        assert isinstance(weight, DTensor), name
        assert weight.to_local().shape[0] == math.ceil(rows[name] / 2), name
    optimizer = torch.optim.Adam(trainable(model).values())
    assert all(isinstance(weight, DTensor) for weight in optimizer.param_groups[0]["params"])  # so its state is shared too
