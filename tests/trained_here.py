"""A training without Ray: its workers are plain processes, as many as it asks for."""

from __future__ import annotations

import tempfile
from pathlib import Path

from jobs.train import TrainJob
from reviewllm.config import part
from reviewllm.place import below
from reviewllm.prompts.chat import end_token
from reviewllm.prompts.config import PromptConfig
from reviewllm.sft.config import LoopConfig, SFTConfig, TrainingConfig
from reviewllm.sft.fit import Run, prepare_run, train_adapter
from reviewllm.sft.loop import Worker, train


def train_here(config: TrainJob) -> None:
    """What `jobs/train.py` leaves of this configuration: checkpoints and adapter."""
    run = prepare_run(
        examples=Path(config.examples or config.out / "examples" / "train"),
        run=below(str(config.out / "checkpoints"), "adapter"),
        sft=part(config, SFTConfig),
        training=part(config, TrainingConfig),
        prompt=part(config, PromptConfig),
    )
    _run_workers(run)
    train_adapter(run, config.out / "adapter")  # trains nothing more


def _run_workers(run: Run) -> None:
    import torch.multiprocessing

    loop = LoopConfig(
        sft=run.sft,
        training=run.training,
        base=str(run.base),
        run=run.storage.uri,
        identity=run.identity,
        end_token=end_token(run.tokenizer, chat_template=run.prompt.chat_template),
    )
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_work, (loop, f"file://{folder}/meet"), nprocs=run.training.num_workers)


def _work(rank: int, loop: LoopConfig, meet: str) -> None:
    """One worker, with one thread as Ray gives a worker of one CPU."""
    import torch
    import torch.distributed

    torch.set_num_threads(1)
    workers = loop.training.num_workers
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=workers)
    try:
        train(loop, Worker(rank, workers, torch.device("cpu")), tell=lambda message: None)
    finally:
        torch.distributed.destroy_process_group()
