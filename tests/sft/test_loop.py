"""What one worker does: going on from any checkpoint, early stop, the best adapter, and failures that keep what is there."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sample, sample_file

from reviewllm.errors import ConfigError, NotANumberError, StorageError, TrainingError
from reviewllm.sft.checkpoint import FINAL, checkpoint_name, checkpoints, read_state
from reviewllm.sft.config import LoopConfig, SFTConfig, TrainingConfig
from reviewllm.sft.loop import SAMPLES_FILE, Worker, train
from reviewllm.sft.storage import Storage

ALONE = Worker(0, 1, torch.device("cpu"))
WEIGHTS = "adapter_model.safetensors"


def make_loop(folder: Path, base: Path, *, training: dict[str, Any] | None = None, **options: Any) -> LoopConfig:
    """A run of 9 steps over 17 samples; `options` are SFTConfig's."""
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    samples = [
        sample(f"e{n}", [1, *random.integers(3, 300, 20 + n).tolist(), 2], 15 + n, user=f"u{n // 3}") for n in range(17)
    ]
    sample_file(folder / "samples" / SAMPLES_FILE, samples)
    given = {"learning_rate": 1e-2, "num_train_epochs": 3, "per_device_train_batch_size": 6, "warmup_steps": 2, **options}
    given.setdefault("max_sequence_tokens", 4096)
    return LoopConfig(
        sft=SFTConfig(base_model="x", gradient_accumulation_steps=1, lr_scheduler_type="linear", **given),
        training=TrainingConfig(
            **{"num_workers": 1, "save_steps": 2, "save_total_limit": 9, "dtype": "float32", **(training or {})}
        ),
        base=str(base),
        run=str(folder),
        identity={"seed": "0"},
        end_token=2,
    )


def hold_out(folder: Path, numbers: range) -> None:
    """Mark samples of the run's file as validation samples."""
    import pyarrow as pa

    file = folder / "samples" / SAMPLES_FILE
    table = pa.ipc.open_file(pa.OSFile(str(file))).read_all()
    marked = pa.array([n in numbers for n in range(table.num_rows)])
    table = table.set_column(2, table.schema.field(2), marked)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def told() -> tuple[list[dict[str, Any]], Any]:
    messages: list[dict[str, Any]] = []
    return messages, messages.append


@pytest.mark.parametrize("options", [{}, {"optimizer": "adamw", "weight_decay": 0.1, "lora_dropout": 0.2, "packing": False}])
def test_train_from_any_checkpoint_ends_the_same_to_the_bit(
    random_base: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    loop = make_loop(tmp_path, random_base, **options)
    messages, tell = told()
    whole = train(loop, ALONE, tell=tell)
    weights = (tmp_path / FINAL / WEIGHTS).read_bytes()
    storage = Storage(str(tmp_path))
    assert checkpoints(storage) == [checkpoint_name(step) for step in (2, 4, 6, 8, 9)]
    assert whole.curve == [
        {key: value for key, value in row.items() if key not in ("event", "steps", "seconds", "tokens")}
        for row in messages[1:]
    ]
    for step in (8, 6, 4, 2):
        for name in [FINAL, *(name for name in checkpoints(storage) if name > checkpoint_name(step))]:
            storage.remove(name)
        messages, tell = told()
        assert train(loop, ALONE, tell=tell).curve == whole.curve
        assert messages[0]["event"] == "start"
        assert len(messages[0]["curve"]) == step
        assert [row["step"] for row in messages[1:]] == list(range(step + 1, 10))
        assert (tmp_path / FINAL / WEIGHTS).read_bytes() == weights


def test_train_learning_rate_rises_and_falls_and_gradients_are_clipped(random_base: Path, tmp_path: Path) -> None:
    state = train(make_loop(tmp_path, random_base), ALONE, tell=lambda message: None)
    rates = [row["learning_rate"] for row in state.curve]
    assert rates == pytest.approx([0, 0.005, *(0.01 * left / 7 for left in range(7, 0, -1))])
    assert [row["epoch"] for row in state.curve][2::3] == [1, 2, 3]
    clipped = make_loop(tmp_path / "clipped", random_base, max_grad_norm=1e-9, optimizer="adamw")
    assert train(clipped, ALONE, tell=lambda message: None).curve[0]["grad_norm"] > 1e-9  # the norm before clipping


def test_train_passes_over_a_damaged_checkpoint(
    random_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = make_loop(tmp_path, random_base)
    train(loop, ALONE, tell=lambda message: None)
    weights = (tmp_path / FINAL / WEIGHTS).read_bytes()
    shutil.rmtree(tmp_path / FINAL)
    for step in (8, 9):
        file = tmp_path / checkpoint_name(step) / "optimizer.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    messages, tell = told()
    train(loop, ALONE, tell=tell)
    assert len(messages[0]["curve"]) == 6
    assert "checkpoint-00000009/optimizer.safetensors: is not what was written" in capsys.readouterr().out
    assert (tmp_path / FINAL / WEIGHTS).read_bytes() == weights


def test_train_keeps_the_newest_checkpoints_and_the_best(random_base: Path, tmp_path: Path) -> None:
    loop = make_loop(tmp_path, random_base, eval_steps=2, learning_rate=1.0, max_steps=6, training={"save_total_limit": 2})
    hold_out(tmp_path, range(12, 17))
    state = train(loop, ALONE, tell=lambda message: None)
    measured = {row["step"]: row["validation_loss"] for row in state.curve if "validation_loss" in row}
    assert set(measured) == {2, 4, 6}
    assert state.best_loss == min(measured.values())
    assert state.best_step == min(measured, key=lambda step: measured[step]) != 6  # that rate is far too high
    names = checkpoints(Storage(str(tmp_path)))
    assert names[-1] == checkpoint_name(6)
    assert checkpoint_name(state.best_step) in names
    best = (tmp_path / checkpoint_name(state.best_step) / WEIGHTS).read_bytes()
    assert (tmp_path / FINAL / WEIGHTS).read_bytes() == best  # the adapter is the best one, not the last


def test_train_stops_early_and_stays_stopped(random_base: Path, tmp_path: Path) -> None:
    loop = make_loop(
        tmp_path, random_base, eval_steps=1, learning_rate=0.5, early_stopping_patience=2, validation_fraction=0.5
    )
    hold_out(tmp_path, range(9, 17))
    state = train(loop, ALONE, tell=lambda message: None)
    assert state.stopped
    assert state.step < 4 * 3
    assert state.step == (state.best_step or 0) + 2
    shutil.rmtree(tmp_path / FINAL)
    messages, tell = told()
    assert train(loop, ALONE, tell=tell).step == state.step
    assert len(messages) == 1  # nothing was trained again


def test_train_not_a_number_names_step_and_examples_and_keeps_the_last_checkpoint(random_base: Path, tmp_path: Path) -> None:
    loop = make_loop(tmp_path, random_base, max_grad_norm=0, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(TrainingError, match=r"step \d of 9: the loss is not a number; it comes from the examples e\d+, e"):
        train(loop, ALONE, tell=lambda message: None)
    names = checkpoints(Storage(str(tmp_path)))
    assert FINAL not in Storage(str(tmp_path)).names()
    for name in names:
        assert np.isfinite(read_state(Storage(str(tmp_path)), name).curve[-1]["loss"])


@pytest.fixture
def small_files() -> Iterator[Any]:
    """Sets the size in bytes beyond which no file of this process may grow: a disk that fills up."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_train_full_disk_keeps_the_previous_checkpoint_and_goes_on_later(
    random_base: Path, tmp_path: Path, small_files: Any
) -> None:
    loop = make_loop(tmp_path, random_base)

    def tell(message: dict[str, Any]) -> None:
        if message.get("step") == 3:
            small_files(1000)

    with pytest.raises(
        StorageError, match=r"checkpoint after step 4 could not be written: .* The earlier ones are untouched"
    ):
        train(loop, ALONE, tell=tell)
    small_files(resource.RLIM_INFINITY)
    storage = Storage(str(tmp_path))
    assert checkpoints(storage) == [checkpoint_name(2)]
    assert sorted(os.listdir(tmp_path)) == [checkpoint_name(2), "samples"]
    messages, hear = told()
    state = train(loop, ALONE, tell=hear)
    assert len(messages[0]["curve"]) == 2
    undisturbed = make_loop(tmp_path / "undisturbed", random_base)
    assert state.curve == train(undisturbed, ALONE, tell=lambda message: None).curve


def test_checkpoint_holds_peft_s_files_and_no_pickle(random_base: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    train(make_loop(tmp_path, random_base), ALONE, tell=lambda message: None)
    for folder in (tmp_path / checkpoint_name(8), tmp_path / FINAL):
        names = {file.name for file in folder.iterdir()}
        assert {"adapter_config.json", WEIGHTS, "state.json", "contents.json"} <= names
        assert {file.rpartition(".")[2] for file in names} == {"json", "safetensors"}
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(random_base), folder)
        assert json.loads((folder / "adapter_config.json").read_text())["inference_mode"]
        assert any(float(w.abs().max()) > 0 for name, w in model.named_parameters() if "lora_B" in name)


def test_train_never_goes_on_from_another_training(random_base: Path, tmp_path: Path) -> None:
    loop = make_loop(tmp_path, random_base)
    train(loop, ALONE, tell=lambda message: None)
    with pytest.raises(ConfigError, match="checkpoint-00000009 belongs to another training: seed: 0 there, 1 now"):
        train(loop.model_copy(update={"identity": {"seed": "1"}}), ALONE, tell=lambda message: None)


def test_train_damaged_later_checkpoint_does_not_crowd_out_new_ones(random_base: Path, tmp_path: Path) -> None:
    loop = make_loop(tmp_path, random_base, training={"save_total_limit": 1})
    train(loop, ALONE, tell=lambda message: None)
    shutil.rmtree(tmp_path / FINAL)
    file = tmp_path / checkpoint_name(9) / "optimizer.safetensors"
    file.write_bytes(b"damaged")
    seen: list[list[str]] = []

    def tell(message: dict[str, Any]) -> None:
        seen.append(checkpoints(Storage(str(tmp_path))))

    train(loop, ALONE, tell=tell)
    assert [checkpoint_name(4), checkpoint_name(9)] in seen  # the new one is kept beside the damaged one
    assert checkpoints(Storage(str(tmp_path))) == [checkpoint_name(9)]


def test_train_validation_loss_that_is_not_a_number_stops(random_base: Path, tmp_path: Path) -> None:
    loop = make_loop(tmp_path, random_base, eval_steps=1, learning_rate=1e30, warmup_steps=0, max_grad_norm=0, max_steps=1)
    hold_out(tmp_path, range(12, 17))
    with pytest.raises(NotANumberError, match="the loss is not a number; it comes from the examples"):
        train(loop, ALONE, tell=lambda message: None)
    assert checkpoints(Storage(str(tmp_path))) == []
