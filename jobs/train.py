"""Training examples + base -> LoRA adapter, on Ray Train.

    python jobs/train.py --base-model meta-llama/Meta-Llama-3-8B --use-gpu --num-workers 16 --out out/run
    python jobs/train.py --base-model <folder> --no-rating --out out/run       # the paper's ablation
    python jobs/train.py --base-model <folder> --repeats 5 --out out/run       # five seeds, each under its own name
    python jobs/train.py --base-model <folder> --task attributes --serialisations json,markdown --out out/run   # one for each
    python jobs/train.py --base-model <folder> --inspect 5 --out out/run       # look at the samples; trains nothing

Reads `<out>/examples/train`, writes `<out>/adapter` (`-no-rating`, `-<serialisation>`, `-seed<n>`), checkpoints under
`<out>/checkpoints`, metrics to `<out>/mlflow.db` and `<out>/tensorboard`, and with `--merged` also `<out>/merged`. The same
command goes on where an interrupted training stopped. One GPU per worker, or CPUs; two CPU workers by default. On a cluster
`<out>` and the storage path are seen by every node. `--examples`, `--storage-path` and `--adapter-copy` may be s3://
(docs/storage.md).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

if __package__ in (None, ""):  # run as a file: `python jobs/train.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from reviewllm.attributes.serialise import Serialisation
from reviewllm.base_model import local_model_folder
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import Command, Commands, JobConfig, Where, part, save
from reviewllm.examples.splits import split_files
from reviewllm.fetch import check_folder_writable, local_copies, put_folder
from reviewllm.place import Place, below, is_uri, options_apart
from reviewllm.progress import Step, step
from reviewllm.prompts.chat import end_token
from reviewllm.prompts.config import PromptConfig, check_serialisations
from reviewllm.prompts.renderer import PromptRenderer
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.adapter import (
    AdapterDescription,
    check_merge_target,
    merge_adapter,
    merged_folder,
)
from reviewllm.sft.config import SFTConfig, TrainingConfig
from reviewllm.sft.fit import prepare_run, refuse_to_overwrite, train_adapter
from reviewllm.sft.inspection import show_counts, show_samples
from reviewllm.sft.monitor import TrainingMonitor, monitoring
from reviewllm.sft.samples import SampleCounts, SampleFile, write_samples
from reviewllm.sft.tracking import Tracker, TrackingConfig, tracking
from reviewllm.summary import record_step


class TrainJob(JobConfig, ClusterConfig, PromptConfig, SFTConfig, TrainingConfig, TrackingConfig):
    """Fine-tune a LoRA adapter that writes reviews in each user's manner."""

    out: Path = Field(Path("out/run"), description="folder of the run")
    examples: Where | None = Field(None, description="training examples, folder or URI; default <out>/examples/train")
    adapter: Path | None = Field(None, description="where the adapter goes; default <out>/adapter[-no-rating]")
    adapter_copy: Where | None = Field(None, description="URI (s3://) where a copy of the adapter goes besides")
    merged: bool = Field(False, description="also write base and adapter as one model to <out>/merged[-no-rating]")
    repeats: int = Field(1, ge=1, description="adapters to train, with seeds from --seed on; the paper's is 5")
    serialisations: list[Serialisation] = Field(
        [], description="train one adapter for each of these forms of the attributes, <adapter>-<form>"
    )
    inspect: int | None = Field(None, ge=1, description="print this many samples as the model sees them, and train nothing")
    inspect_ids: bool = Field(False, description="with --inspect: every token with its id")

    @model_validator(mode="after")
    def _check_serialisations(self) -> TrainJob:
        check_serialisations(self.serialisations, task=self.task)
        return self

    def adapter_folder(self) -> Path:
        """Where the adapter goes."""
        return self.adapter or self.out / f"adapter{'' if self.rating else '-no-rating'}"

    @contextmanager
    def examples_folder(self) -> Iterator[Path]:
        """Where the training examples are; those at a URI are there as long as the context lasts."""
        where = self.examples or self.out / "examples" / "train"
        if is_uri(where):
            split_files(Place(str(where), flag="--examples"), "train")  # before all of it is copied, and by its own name
        with local_copies([where], flag="--examples", near=self.out) as (folder,):
            yield folder


def main(config: TrainJob) -> list[AdapterDescription]:
    """Train, and put the adapters in place; returns what each was trained on and for."""
    if config.inspect:
        print(_inspect(config, config.inspect))
        return []
    return [_train(one) for form in _forms(config) for one in _repeats(form)]


def _forms(config: TrainJob) -> list[TrainJob]:
    """The configuration of each serialisation that is asked for, under its own names; the one as it stands for none."""
    return [_named(config, form, {"serialisations": [], "serialisation": form}) for form in config.serialisations] or [
        config
    ]


def _repeats(config: TrainJob) -> list[TrainJob]:
    """The configuration of each repeat: its own seed and its own names."""
    if config.repeats == 1:
        return [config]
    seeds = [config.seed + number for number in range(config.repeats)]
    return [_named(config, f"seed{seed}", {"repeats": 1, "seed": seed}) for seed in seeds]


def _named(config: TrainJob, name: str, changed: dict[str, Any]) -> TrainJob:
    """The configuration of one of several adapters: what it changes, and names of its own."""
    adapter = config.adapter_folder()
    copy, options = options_apart(config.adapter_copy or "")
    named = {"run_name": f"{config.run_name}-{name}"} if config.run_name else {}
    return config.model_copy(
        update={
            **changed,
            "adapter": adapter.with_name(f"{adapter.name}-{name}"),
            "adapter_copy": f"{copy}-{name}{options}" if copy else None,
            **named,
        }
    )


def _train(config: TrainJob) -> AdapterDescription:
    adapter = config.adapter_folder()
    name = adapter.name.replace("adapter", "train", 1)
    run_name = config.run_name or adapter.name
    refuse_to_overwrite(adapter)
    if config.merged:
        check_merge_target(merged_folder(adapter), base=local_model_folder(config.base_model), adapter=adapter)
    if config.adapter_copy:
        check_folder_writable(config.adapter_copy, flag="--adapter-copy")
    with step(name) as running, ray_session(part(config, ClusterConfig)):
        with config.examples_folder() as examples:
            prepared = prepare_run(
                examples=examples,
                run=below(config.storage_path or str(config.out / "checkpoints"), run_name),
                sft=part(config, SFTConfig),
                training=part(config, TrainingConfig),
                prompt=part(config, PromptConfig),
            )
        if prepared.layers.left_out:
            print(
                f"  {name}: LoRA on {', '.join(prepared.layers.kinds())}; not on {', '.join(prepared.layers.left_out)}",
                flush=True,
            )
        parameters = {**config.model_dump(mode="json"), **prepared.identity}
        with (
            monitoring(prepared.storage) as monitor,
            tracking(
                part(config, TrackingConfig),
                out=config.out,
                run_name=run_name,
                run_id=prepared.run_id,
                parameters=parameters,
            ) as tracker,
        ):
            description = train_adapter(prepared, adapter, hear=_Follower(running, tracker, monitor).hear)
        if config.adapter_copy:
            put_folder(adapter, config.adapter_copy, flag="--adapter-copy")
        save(config, config.out / "config" / f"{name}.yaml")
        if config.merged:
            merge_adapter(local_model_folder(config.base_model), adapter, merged_folder(adapter))
        counts = prepared.counts
        record_step(
            config.out,
            name,
            config,
            rows_in=counts.samples + counts.validation + counts.refused,
            rows_out=counts.samples,
            seconds=running.seconds,
            counts={**counts._asdict(), "optimizer_steps": description.optimizer_steps},
        )
        running.result = _result(description, counts, adapter)
    return description


class _Follower:
    """Passes what the workers tell to the screen, to the tracker and to Prometheus."""

    def __init__(self, running: Step, tracker: Tracker, monitor: TrainingMonitor) -> None:
        self._running, self._tracker, self._monitor = running, tracker, monitor

    def hear(self, message: dict[str, Any]) -> None:
        """Hear one message of `loop.train`."""
        self._monitor.hear(message)
        if message["event"] == "start":
            done = len(message["curve"])
            if done:
                print(f"  {self._running.name}: goes on after step {done} of {message['steps']}", flush=True)
            self._tracker.log(message["curve"])
            self._running.show(done, message["steps"])
            return
        row = {name: value for name, value in message.items() if name not in ("event", "steps", "tokens", "seconds")}
        row["tokens_per_s"] = message["tokens"] / message["seconds"]
        self._tracker.log([row])
        validation = f", validation {row['validation_loss']:.3f}" if "validation_loss" in row else ""
        text = f"loss {row['loss']:.3f}{validation}, {row['tokens_per_s']:,.0f} tokens/s"
        self._running.show(int(row["step"]), message["steps"], text)


def _result(description: AdapterDescription, counts: SampleCounts, adapter: Path) -> str:
    best = (
        f", best validation loss {description.validation_loss:.3f} at step {description.best_step}"
        if description.validation_loss is not None
        else ""
    )
    dropped = f", {counts.attributes_dropped} without all attributes" if counts.attributes_dropped else ""
    return (
        f"{description.samples} samples{dropped}, {counts.refused} refused, {counts.tokens} tokens ({counts.response_tokens} in "
        "the loss); "
        f"{description.optimizer_steps} steps, loss {description.first_loss:.3f} -> {description.last_loss:.3f}{best} -> {adapter}"
    )


def _inspect(config: TrainJob, rows: int) -> str:
    """The first samples as the model sees them, and the numbers of all."""
    tokenizer = load_tokenizer(str(local_model_folder(config.base_model)))
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    with tempfile.TemporaryDirectory() as folder, config.examples_folder() as examples:
        file = Path(folder) / "samples.arrow"
        counts = write_samples(
            examples,
            file,
            PromptRenderer(tokenizer, part(config, PromptConfig)),
            max_response_tokens=config.max_response_tokens,
            validation_fraction=config.validation_fraction,
        )
        shown = show_samples(
            SampleFile(file)[:rows],
            tokenizer,
            end_token=end_token(tokenizer, chat_template=config.chat_template),
            token_ids=config.inspect_ids,
            color=color,
        )
    return f"{shown}\n\n{show_counts(counts)}"


COMMANDS: Commands = {"": Command(main, TrainJob)}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
