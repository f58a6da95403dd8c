"""Checkpoints of a run: adapter, optimizer, schedule and the step, from which the run goes on bit for bit.

    <storage>/<run>/samples/               the tokenised samples
    <storage>/<run>/checkpoint-00000100/   adapter_config.json, adapter_model.safetensors (PEFT's layout),
                                           optimizer.safetensors, state.json
    <storage>/<run>/final/                 the adapter that the run ended with, state.json, canaries.json

The position in the data and the random states are functions of the seed and the step, so the step stands for both. The
run's own folder listing says which checkpoint is the last: no cluster has to remember it.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reviewllm.config import StageConfig
from reviewllm.errors import CheckpointError, ConfigError, StorageError
from reviewllm.sft.adapter import Canary
from reviewllm.sft.model import load_trainable, optimizer_tensors, trainable, whole
from reviewllm.sft.storage import Storage

FINAL = "final"
CANARIES_FILE = "canaries.json"
SAMPLES_FOLDER = "samples"
_PREFIX = "checkpoint-"
_STATE = "state.json"
_OPTIMIZER = "optimizer.safetensors"
_ADAPTER = "adapter_model.safetensors"


class TrainingState(StageConfig):
    """Where a run stands after `step` optimizer steps.

    identity: what decided the run's outcome so far, by name. curve: one row per step, with step, epoch, loss,
    learning_rate, grad_norm and, where it was measured, validation_loss. scheduler: the learning rate's. best_step,
    best_loss: of the lowest validation loss. worse: validation losses in a row since then. stopped: early.
    """

    step: int = 0
    identity: dict[str, str] = {}
    curve: list[dict[str, float]] = []
    scheduler: dict[str, Any] = {}
    best_step: int | None = None
    best_loss: float | None = None
    worse: int = 0
    stopped: bool = False


def checkpoint_name(step: int) -> str:
    """The folder of the checkpoint after `step` steps."""
    return f"{_PREFIX}{step:08d}"


def checkpoints(storage: Storage) -> list[str]:
    """The complete checkpoints of a run, oldest first."""
    return [name for name in storage.names() if name.startswith(_PREFIX)]


def read_state(storage: Storage, name: str) -> TrainingState:
    """The state that a checkpoint, or the final folder, holds.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return TrainingState.model_validate_json(storage.read(f"{name}/{_STATE}"))
    except ValueError as error:
        raise StorageError(f"{storage.where}/{name}/{_STATE}: cannot be read: {error}; remove the folder {name}") from error


def check_identity(storage: Storage, identity: Mapping[str, str]) -> None:
    """Refuse to go on from checkpoints of other data, another base or another configuration.

    Raises:
        ConfigError: each field that differs, with both values.
    """
    for name in [*checkpoints(storage), *({FINAL} & set(storage.names()))]:
        check_same(read_state(storage, name), identity, where=f"{storage.where}/{name}")


def check_same(state: TrainingState, identity: Mapping[str, str], *, where: str) -> None:
    """Refuse a state of another training.

    Raises:
        ConfigError: each field that differs, with both values.
    """
    differing = [
        f"{field}: {state.identity.get(field, 'absent')} there, {identity.get(field, 'absent')} now"
        for field in dict.fromkeys([*state.identity, *identity])
        if state.identity.get(field) != identity.get(field)
    ]
    if differing:
        raise ConfigError(
            f"{where} belongs to another training: {'; '.join(differing)}. Train under another --run-name, or with "
            "--on-existing-run restart, which removes the earlier checkpoints"
        )


def save_checkpoint(storage: Storage, name: str, model: Any, state: TrainingState, *, optimizer: Any, rank: int) -> None:
    """Write a checkpoint; every worker must call it, the first one writes.

    Raises:
        CheckpointError: on all workers alike, when it cannot be written; earlier checkpoints are untouched.
    """
    adapter = {key: whole(weight) for key, weight in trainable(model).items()}
    tensors = optimizer_tensors(model, optimizer)
    failure = ""
    if rank == 0:
        try:
            with tempfile.TemporaryDirectory() as folder:
                write_adapter_files(Path(folder), model, adapter)
                _save_tensors(tensors, Path(folder) / _OPTIMIZER)
                _write_state(Path(folder), state)
                storage.put(Path(folder), name)
        except (OSError, StorageError) as error:  # OSError: the temporary folder's own disk is full
            failure = str(error)
    failure = _from_first_worker(failure)
    if failure:
        raise CheckpointError(
            f"the checkpoint after step {state.step} could not be written: {failure}. The earlier ones are untouched: make "
            "room and start the same command again to go on from there"
        )


def _save_tensors(tensors: Mapping[str, Any], file: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), file)
    except SafetensorError as error:  # how safetensors says that the disk is full
        raise StorageError(str(error)) from error


def write_adapter_files(folder: Path, model: Any, adapter: Mapping[str, Any]) -> None:
    """PEFT's two files of an adapter."""
    config = copy.copy(model.peft_config["default"])
    config.inference_mode = True
    config.save_pretrained(folder)
    _save_tensors(adapter, folder / _ADAPTER)


def _write_state(folder: Path, state: TrainingState) -> None:
    (folder / _STATE).write_text(state.model_dump_json(), encoding="utf-8")


def save_final(
    storage: Storage, model: Any, state: TrainingState, adapter: Mapping[str, Any], canaries: Sequence[Canary], *, rank: int
) -> None:
    """Write what a run ended with; every worker must call it, the first one writes.

    Raises:
        CheckpointError: on all workers alike, when it cannot be written.
    """
    failure = ""
    if rank == 0:
        try:
            with tempfile.TemporaryDirectory() as folder:
                write_adapter_files(Path(folder), model, adapter)
                _write_state(Path(folder), state)
                dumped = json.dumps([canary.model_dump() for canary in canaries])
                (Path(folder) / CANARIES_FILE).write_text(dumped, encoding="utf-8")
                storage.put(Path(folder), FINAL)
        except (OSError, StorageError) as error:
            failure = str(error)
    failure = _from_first_worker(failure)
    if failure:
        raise CheckpointError(f"the adapter could not be written: {failure}. Make room and start the same command again")


def read_canaries(storage: Storage) -> list[dict[str, Any]]:
    """The canaries of the final folder.

    Raises:
        StorageError: they cannot be read.
    """
    return json.loads(storage.read(f"{FINAL}/{CANARIES_FILE}"))  # type: ignore[no-any-return]


def load_checkpoint(storage: Storage, name: str, model: Any, optimizer: Any) -> TrainingState:
    """Put a checkpoint's weights and optimizer state in place; every worker must call it.

    Raises:
        StorageError: it cannot be read, or is not what was written.
    """
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as into:
        folder = storage.get(name, Path(into))
        load_trainable(model, optimizer, load_file(folder / _ADAPTER), load_file(folder / _OPTIMIZER))
    return read_state(storage, name)


def last_checkpoint(storage: Storage, *, rank: int) -> str | None:
    """The last complete and undamaged checkpoint, as the first worker sees it: all must agree."""
    found = None
    if rank == 0:
        storage.clear()
        for name in reversed(checkpoints(storage)):
            try:
                with tempfile.TemporaryDirectory() as into:
                    storage.get(name, Path(into))
            except StorageError as error:
                print(f"passed over: {error}", flush=True)
                continue
            found = name
            break
    return _from_first_worker(found)  # type: ignore[no-any-return]


def prune(storage: Storage, keep: int, *, state: TrainingState) -> None:
    """Remove all but the newest `keep` checkpoints up to this state, and the best one.

    Later ones, damaged and passed over, are left to be replaced when their step comes. What cannot be removed is said,
    and kept.
    """
    best = None if state.best_step is None else checkpoint_name(state.best_step)
    try:
        for name in [name for name in checkpoints(storage) if name <= checkpoint_name(state.step)][:-keep]:
            if name != best:
                storage.remove(name)
    except (OSError, StorageError) as error:
        print(f"an old checkpoint could not be removed: {error}", flush=True)


def restart(storage: Storage) -> None:
    """Remove what an earlier training left under this name."""
    for name in storage.names():
        if name.startswith(_PREFIX) or name == FINAL:
            storage.remove(name)


def _from_first_worker(value: Any) -> Any:
    """What the first worker has, on every worker."""
    import torch.distributed

    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return value
    box: list[Any] = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]
