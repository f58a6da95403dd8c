"""The training step needs neither Ray nor an engine, nor what reads tables: torch, transformers and PEFT are enough."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ONE_STEP = """
import sys
sys.modules.update(dict.fromkeys(("ray", "vllm", "polars", "mlflow")))  # None: importing it fails, as where it is not installed

import numpy as np
from reviewllm.sft import loss, model, schedule, sequences, step
from reviewllm.sft.config import SFTConfig, TrainingConfig

sft = SFTConfig(base_model=sys.argv[1], learning_rate=0.01, max_sequence_tokens=64)
lora = model.add_lora(model.load_base(sys.argv[1], dtype="float32", device="cpu"), sft)
parallel = model.distribute(lora, TrainingConfig(), device="cpu", world_size=1)
optimizer, _ = step.make_optimizer(lora, sft, steps=2)
samples = [sequences.Sample(name, "u", np.array([1, 5, 6, last, 2], dtype=np.int32), 3) for name, last in (("a", 7), ("b", 8))]
share = schedule.share(samples, rank=0, world_size=1, sft=sft)
first, second = (step.optimizer_step(parallel, optimizer, share, max_grad_norm=1.0, device="cpu") for _ in range(2))
assert second.loss < first.loss, (first, second)
print(len(share.sequences), share.response_tokens)
"""


def test_optimizer_step_where_neither_ray_nor_vllm_is_installed(random_base: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ONE_STEP, str(random_base)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "4"]  # both samples in one pass; two response tokens of each
