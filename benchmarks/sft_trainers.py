"""One run of one trainer of benchmarks/sft.py, in a process of its own: python benchmarks/sft_trainers.py TASK.json"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.bases import drawn_lora, peak_of, useful_flops
from reviewllm.config import StageConfig
from reviewllm.errors import ConfigError
from reviewllm.sft.config import SFTConfig
from reviewllm.sft.samples import Sample, SampleFile
from reviewllm.sft.schedule import Schedule

OURS, HF, TRL, TRL_AS_PUBLISHED = "reviewllm", "transformers", "trl", "trl as published"
OURS_FLOAT32 = "reviewllm, float32"
DIALOGUE, TRL_DIALOGUE = "reviewllm, dialogue", "trl, dialogue"  # on the same reviews as the others, in the dialogue form
CONTENDERS = (OURS, HF, TRL)
_OURS = (OURS, OURS_FLOAT32, DIALOGUE)


class Task(StageConfig):
    """One run of one trainer, as its process is told."""

    contender: str
    scenario: str
    base: Path
    samples: Path
    samples_per_step: int
    steps: int
    peer_batch_size: int
    max_sequence_tokens: int
    threads: int
    gpu: bool
    dtype: Literal["float32", "bfloat16"]
    seed: int

    @property
    def sft(self) -> SFTConfig:
        """The training that all trainers run: the paper's, with a learning rate that shows in the loss within few steps."""
        return SFTConfig(
            base_model=str(self.base),
            learning_rate=1e-4,
            max_sequence_tokens=self.max_sequence_tokens,
            max_steps=self.steps + 1,
            one_pass_per_user=True,
            seed=self.seed,
        )

    def schedule(self) -> Schedule:
        """Our own schedule; the others take their samples from it."""
        return Schedule(SampleFile(self.samples), self.sft, samples_per_step=self.samples_per_step, world_size=1)


def run_task(file: Path) -> None:
    """Run the task in `file`; writes its figures beside it."""
    import torch

    task = Task.model_validate_json(file.read_text(encoding="utf-8"))
    torch.set_num_threads(task.threads)
    clock = Clock(task)
    losses = (train_ours if task.contender in _OURS else train_peer)(task, clock)
    file.with_suffix(".figures").write_text(json.dumps(clock.figures(losses)), encoding="utf-8")


class Clock:
    """Takes the times of the steps and the memory of this process."""

    def __init__(self, task: Task) -> None:
        """Count what the timed steps hold."""
        self._task = task
        schedule = task.schedule()
        steps = [schedule.samples(step) for step in range(1, task.steps + 1)]
        self._samples = sum(map(len, steps))
        self._lengths = np.array([len(sample.token_ids) for step in steps for sample in step], dtype=np.float64)
        self._response = sum(len(sample.token_ids) - sample.prompt_tokens for step in steps for sample in step)
        self._ends: list[float] = []
        self._loaded = 0
        self._flops = 0.0

    def loaded(self, model: Any) -> None:
        """The model is in place: count memory from here."""
        import torch

        # As if every sample were run for itself.
        pairs = float((self._lengths * (self._lengths + 1) / 2).sum())
        tokens = float(self._lengths.sum())
        self._flops = useful_flops(model, tokens=tokens, pairs=pairs, response_tokens=self._response)
        if self._task.gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._loaded = torch.cuda.memory_allocated()
            return
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: the peak (VmHWM) counts anew
        self._loaded = _status("VmRSS")

    def step_ended(self) -> None:
        """An optimizer step is done."""
        import torch

        if self._task.gpu:
            torch.cuda.synchronize()
        self._ends.append(time.perf_counter())

    def figures(self, losses: list[float]) -> dict[str, Any]:
        """Speed over the timed steps, peak memory since the model was loaded, and the loss of every step.

        tokens_per_s counts every sample's tokens, however many of them a trainer had to run.
        """
        import torch

        assert len(self._ends) == len(losses) == self._task.steps + 1, (len(self._ends), losses)
        seconds = self._ends[-1] - self._ends[0]  # the first step was the warm-up
        peak = torch.cuda.max_memory_allocated() if self._task.gpu else _status("VmHWM")
        return {
            "seconds": seconds,
            "step_seconds": [after - before for before, after in itertools.pairwise(self._ends)],
            "samples_per_s": self._samples / seconds,
            "tokens_per_s": float(self._lengths.sum()) / seconds,
            "peak_memory_mib": peak / 2**20,
            "peak_over_loaded_mib": (peak - self._loaded) / 2**20,
            "share_of_peak_flops": self._share_of_peak(seconds),
            "final_loss": losses[-1],
            "losses": losses,
        }

    def _share_of_peak(self, seconds: float) -> float | None:
        """Useful FLOP/s as a share of the device's peak, where that is known."""
        import torch

        if not self._task.gpu:
            return None
        peak = peak_of(torch.cuda.get_device_name())
        return self._flops / seconds / peak.flops if peak else None


def _status(field: str) -> int:
    """A memory figure of this process (bytes), from the kernel."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ConfigError(f"the kernel does not tell {field}; peak memory can be measured on Linux alone")


def train_ours(task: Task, clock: Clock) -> list[float]:
    """Train as a worker of `reviewllm.sft.loop` does; returns the loss of every step."""
    import torch

    from reviewllm.sft.model import load_base
    from reviewllm.sft.step import make_optimizer, optimizer_step

    sft, schedule = task.sft, task.schedule()
    device = torch.device("cuda" if task.gpu else "cpu")
    base = load_base(str(task.base), dtype=task.dtype, device=device)
    model = drawn_lora(base, sft).to(device)
    optimizer, scheduler = make_optimizer(model, sft, steps=schedule.steps)
    clock.loaded(model)
    losses = []
    for step in range(schedule.steps):
        part = schedule.share(step, 0)
        done = optimizer_step(model, optimizer, part, max_grad_norm=sft.max_grad_norm, device=device)
        scheduler.step()
        losses.append(done.loss)
        clock.step_ended()
    return losses


def train_peer(task: Task, clock: Clock) -> list[float]:
    """Train with transformers' Trainer or TRL's SFTTrainer, on our order of the samples; returns the loss of every step."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer
    from transformers import AutoModelForCausalLM, TrainerCallback

    losses: list[float] = []

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
            clock.loaded(model)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step_ended()

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(logs["loss"])

    dtype = getattr(torch, task.dtype)
    model = drawn_lora(AutoModelForCausalLM.from_pretrained(task.base, dtype=dtype, attn_implementation="sdpa"), task.sft)
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.cast_input_dtype_enabled = True  # PEFT's default, which ours turns off
    model.config.use_cache = False
    make = {HF: transformers_trainer, TRL_DIALOGUE: trl_dialogue_trainer}.get(task.contender, trl_trainer)
    with tempfile.TemporaryDirectory() as out:
        trainer = make(task, model, peer_arguments(task, out))
        trainer.add_callback(Watch())
        trainer.train()
    return losses


def peer_samples(task: Task) -> list[Sample]:
    """The samples of all steps in order; forward passes of several get samples of about the same length.

    The others' steps have a fixed number of samples: short ones are filled up with single tokens that no loss is on.
    """
    steps = _steps(task)
    if task.peer_batch_size > 1:
        steps = [sorted(samples, key=lambda sample: len(sample.token_ids)) for samples in steps]
    most = max(map(len, steps))
    nothing = Sample("", "", np.ones(1, dtype=np.int32), 1)
    return [sample for samples in steps for sample in [*samples, *(most - len(samples)) * [nothing]]]


def _steps(task: Task) -> list[list[Sample]]:
    schedule = task.schedule()
    return [schedule.samples(step) for step in range(schedule.steps)]


def peer_arguments(task: Task, out: str) -> dict[str, Any]:
    """Our settings in transformers' names; what else they do besides training is off."""
    sft = task.sft
    return {
        "output_dir": out,
        "per_device_train_batch_size": task.peer_batch_size,
        "gradient_accumulation_steps": -(-max(map(len, _steps(task))) // task.peer_batch_size),
        "max_steps": task.steps + 1,
        "learning_rate": sft.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,  # AdamW without it is Adam
        "max_grad_norm": sft.max_grad_norm,
        "train_sampling_strategy": "sequential",
        "gradient_checkpointing": False,
        "bf16": task.dtype == "bfloat16",
        "use_cpu": not task.gpu,
        "dataloader_pin_memory": task.gpu,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": sft.seed,
    }


def transformers_trainer(task: Task, model: Any, arguments: dict[str, Any]) -> Any:
    """transformers' Trainer, with labels of -100 on prompt and padding."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import Trainer, TrainingArguments

    def collate(batch: list[Sample]) -> dict[str, torch.Tensor]:
        ids = [torch.from_numpy(sample.token_ids.astype(np.int64)) for sample in batch]
        labels = [torch.from_numpy(response_labels(sample)) for sample in batch]
        return {
            "input_ids": pad_sequence(ids, batch_first=True),
            "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
            "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
        }

    arguments |= {"remove_unused_columns": False}
    return Trainer(model=model, args=TrainingArguments(**arguments), data_collator=collate, train_dataset=peer_samples(task))


def trl_trainer(task: Task, model: Any, arguments: dict[str, Any]) -> Any:
    """TRL's SFTTrainer with completion-only loss, on tokenised samples."""
    samples = peer_samples(task)
    rows = [{"input_ids": one.token_ids.tolist(), "labels": response_labels(one).tolist()} for one in samples]
    return _sft_trainer(task, model, rows, arguments)


def trl_dialogue_trainer(task: Task, model: Any, arguments: dict[str, Any]) -> Any:
    """TRL's SFTTrainer with assistant-only loss and packing, on the dialogues that our own steps run.

    Its optimizer steps have a fixed number of packed rows: rows are as long as the longest dialogue, or longer until all steps
    have equally many of them.
    """
    from datasets import Dataset
    from trl import pack_dataset

    steps = [list(dialogues(samples)) for samples in _steps(task)]
    longest = max(len(ids) for step in steps for ids, _ in step)
    columns = [
        {"input_ids": [ids.tolist() for ids, _ in step], "labels": [labels.tolist() for _, labels in step]} for step in steps
    ]
    for length in itertools.count(longest, 256):
        packed = [pack_dataset(Dataset.from_dict(step), length, "bfd").to_list() for step in columns]
        if len({len(rows) for rows in packed}) == 1:
            break
    arguments |= {"gradient_accumulation_steps": len(packed[0]), "padding_free": True}
    return _sft_trainer(task, model, [row for rows in packed for row in rows], arguments)


def dialogues(samples: list[Sample]) -> Iterator[tuple[Any, Any]]:
    """Ids and labels of each dialogue, its own samples laid into one another: each goes on where the one before ended."""
    ids = np.empty(0, np.int64)
    labels = ids
    for sample in samples:
        known = len(ids)
        if not known or not np.array_equal(sample.token_ids[:known], ids):
            if known:
                yield ids, labels
            labels, known = labels[:0], 0
        ids = sample.token_ids.astype(np.int64)
        labels = np.concatenate([labels, response_labels(sample)[known:]])
    yield ids, labels


def _sft_trainer(task: Task, model: Any, rows: list[dict[str, Any]], arguments: dict[str, Any]) -> Any:
    """TRL's SFTTrainer on rows of ids, labels and (packed ones) the lengths of what they hold."""
    import trl.trainer.utils  # installed for this benchmark alone
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig as TRLConfig
    from trl import SFTTrainer

    if task.contender != TRL_AS_PUBLISHED and not task.gpu:
        # What TRL calls "compact", scoring the positions with a label alone, hangs on this question alone; its kernels ask
        # the function of their own module, and stay PyTorch's.
        trl.trainer.utils._use_triton = lambda device: True
    # SFTTrainer wants a tokenizer, and of this one only the padding id, for the samples are tokenised.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0}, "<pad>")), pad_token="<pad>"
    )
    return SFTTrainer(
        model=model,
        args=TRLConfig(**arguments, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def response_labels(sample: Sample) -> Any:
    """The sample's ids with -100 on the prompt."""
    labels = sample.token_ids.astype(np.int64)
    labels[: sample.prompt_tokens] = -100
    return labels


if __name__ == "__main__":
    run_task(Path(sys.argv[1]))
