"""What every Ray Train worker runs: LoRA on its share of the samples, from the last checkpoint to the final adapter."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reviewllm.errors import CheckpointError, NotANumberError, PackingError
from reviewllm.sft.canary import record_canaries
from reviewllm.sft.checkpoint import (
    SAMPLES_FOLDER,
    TrainingState,
    check_same,
    checkpoint_name,
    last_checkpoint,
    load_checkpoint,
    prune,
    read_state,
    save_checkpoint,
    save_final,
)
from reviewllm.sft.config import LoopConfig, samples_per_step
from reviewllm.sft.model import add_lora, computing, distribute, give_memory_back, load_base, trainable, whole
from reviewllm.sft.samples import SampleFile
from reviewllm.sft.schedule import Schedule, share
from reviewllm.sft.step import check_packing, make_optimizer, optimizer_step, validation_loss
from reviewllm.sft.storage import Storage

if TYPE_CHECKING:
    import torch

SAMPLES_FILE = "samples.arrow"
_CANARIES = 4

Tell = Callable[[dict[str, Any]], None]


class Worker(NamedTuple):
    """Who this worker is, and where it computes."""

    rank: int
    world_size: int
    device: torch.device


def train_worker(config: dict[str, Any]) -> None:
    """Train on this worker's share; rank 0 writes the checkpoints and, in the end, the final folder of the run.

    A failure that all workers meet alike (the loss is not a number, a checkpoint cannot be written) would only come again
    after a restart: it is told to the board, and the worker ends without an error of its own. Any other failure, and a lost
    worker or node, is Ray Train's: the workers that it starts next go on from the last complete checkpoint.

    Args:
        config: a `LoopConfig`, as `model_dump` gives it, and `board`, the actor that hears of every step.
    """
    import ray.train
    import ray.train.torch

    loop = LoopConfig.model_validate({name: config[name] for name in LoopConfig.model_fields})
    give_memory_back()
    context = ray.train.get_context()
    worker = Worker(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    try:
        train(loop, worker, tell=lambda message: config["board"].tell.remote(message) if worker.rank == 0 else None)
    except (NotANumberError, PackingError, CheckpointError) as error:
        if worker.rank == 0:
            ray.get(config["board"].fail.remote(f"{type(error).__name__}: {error}"))


def train(loop: LoopConfig, worker: Worker, *, tell: Tell) -> TrainingState:
    """Train from the run's last checkpoint to its end, and write the final folder.

    Args:
        loop: what to train.
        worker: which worker this is; all of them must call this, with the same `loop`.
        tell: hears {"event": "start", "steps", "curve"} and, of every step, its row of the curve with "event": "step",
            "steps", "seconds" and "tokens".
    """
    run = _Run(loop, worker)
    state = run.resume()
    steps = run.schedule.steps
    tell({"event": "start", "steps": steps, "curve": list(state.curve)})
    if state.step == 0 and loop.sft.packing:
        check_packing(run.parallel, run.samples[:2], device=worker.device)
    while state.step < steps and not state.stopped:
        started = time.monotonic()
        row = run.step(state.step)
        speed = {"seconds": time.monotonic() - started, "tokens": run.tokens}
        if run.validation is not None and (row["step"] % loop.sft.eval_steps == 0 or row["step"] == steps):
            row["validation_loss"] = run.validation_loss()
        state = _after_step(state, row, run.scheduler, patience=loop.sft.early_stopping_patience)
        tell({"event": "step", "steps": steps, **row, **speed})
        due = state.step % loop.training.save_steps == 0 or state.step == steps
        if due or state.stopped or state.best_step == state.step:
            run.save(state)
    run.finish(state)
    return state


class _Run:
    """The parts of a run on one worker."""

    def __init__(self, loop: LoopConfig, worker: Worker) -> None:
        self.loop, self.worker = loop, worker
        self.storage = Storage(loop.run)
        with tempfile.TemporaryDirectory() as into:
            folder = (
                self.storage.local / SAMPLES_FOLDER if self.storage.local else self.storage.get(SAMPLES_FOLDER, Path(into))
            )
            self.samples = SampleFile(folder / SAMPLES_FILE)  # a mapped file outlives its folder
            held_out = SampleFile(folder / SAMPLES_FILE, validation=True)
        self.schedule = Schedule(
            self.samples, loop.sft, samples_per_step=samples_per_step(loop.sft, loop.training), world_size=worker.world_size
        )
        self.validation = (
            share(held_out[:], rank=worker.rank, world_size=worker.world_size, sft=loop.sft) if len(held_out) else None
        )
        self.model = add_lora(load_base(loop.base, dtype=loop.training.dtype, device=worker.device), loop.sft)
        self.parallel = distribute(self.model, loop.training, device=worker.device, world_size=worker.world_size)
        self.optimizer, self.scheduler = make_optimizer(self.model, loop.sft, steps=self.schedule.steps)
        self._where: dict[str, Any] = {"device": worker.device, "world_size": worker.world_size}
        self.tokens = 0  # of the last step, over all workers

    def resume(self) -> TrainingState:
        """The state that the last complete checkpoint holds, put in place; a new one where there is none."""
        last = last_checkpoint(self.storage, rank=self.worker.rank)
        if last is None:
            return TrainingState(identity=self.loop.identity)
        check_same(read_state(self.storage, last), self.loop.identity, where=f"{self.storage.where}/{last}")
        state = load_checkpoint(self.storage, last, self.model, self.optimizer)
        self.scheduler.load_state_dict(state.scheduler)
        for group, rate in zip(self.optimizer.param_groups, self.scheduler.get_last_lr(), strict=True):
            group["lr"] = rate
        return state

    def step(self, step: int) -> dict[str, float]:
        """Run the step after `step` steps; returns its row of the curve."""
        import torch

        torch.manual_seed(_step_seed(self.loop.sft.seed, step, self.worker.rank))
        part = self.schedule.share(step, self.worker.rank)
        self.tokens = part.tokens
        rate = self.scheduler.get_last_lr()[0]
        try:
            done = optimizer_step(
                self.parallel, self.optimizer, part, max_grad_norm=self.loop.sft.max_grad_norm, **self._where
            )
        except NotANumberError as error:
            raise NotANumberError(
                f"step {step + 1} of {self.schedule.steps}: {error}. The last checkpoint is kept"
            ) from error
        self.scheduler.step()
        return {
            "step": step + 1,
            "epoch": self.schedule.epoch(step + 1),
            "loss": done.loss,
            "learning_rate": rate,
            "grad_norm": done.grad_norm,
        }

    def validation_loss(self) -> float:
        """Mean loss of the samples that are held out."""
        assert self.validation is not None
        return validation_loss(self.parallel, self.validation, **self._where)

    def save(self, state: TrainingState) -> None:
        """Write a checkpoint and remove those that need not be kept."""
        name = checkpoint_name(state.step)
        save_checkpoint(self.storage, name, self.model, state, optimizer=self.optimizer, rank=self.worker.rank)
        if self.worker.rank == 0:
            prune(self.storage, self.loop.training.save_total_limit, state=state)

    def finish(self, state: TrainingState) -> None:
        """Write the adapter that the run ended with (the best one), and what base and adapter write after a few prompts."""
        if state.best_step not in (None, state.step):
            load_checkpoint(self.storage, checkpoint_name(state.best_step or 0), self.model, self.optimizer)
        adapter = {name: whole(weight) for name, weight in trainable(self.model).items()}
        self.model.eval()
        # It writes with a cache, and knows windows, caps and sinks.
        self.model.get_base_model().set_attn_implementation("eager")
        prompts = [sample.token_ids[: sample.prompt_tokens].tolist() for sample in self.samples[:_CANARIES]]
        with computing(self.model, self.worker.device):
            canaries = record_canaries(self.model, prompts, end_token=self.loop.end_token)
        save_final(self.storage, self.model, state, adapter, canaries, rank=self.worker.rank)


def _step_seed(seed: int, step: int, rank: int) -> int:
    """Random states (dropout) are made anew for every step, so that a run goes on as if it had never been interrupted."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _after_step(state: TrainingState, row: dict[str, float], scheduler: Any, *, patience: int | None) -> TrainingState:
    """The state after a step; a validation loss without a new best counts towards an early stop."""
    state.curve.append(row)
    changed: dict[str, Any] = {"step": int(row["step"]), "scheduler": scheduler.state_dict()}
    measured = row.get("validation_loss")
    if measured is not None:
        if state.best_loss is None or measured < state.best_loss:
            changed |= {"best_step": changed["step"], "best_loss": measured, "worse": 0}
        else:
            worse = state.worse + 1
            changed |= {"worse": worse, "stopped": patience is not None and worse >= patience}
    return state.model_copy(update=changed)
