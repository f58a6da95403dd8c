"""What a training run is: the paper's values are the defaults (section 3.1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reviewllm.config import StageConfig


class SFTConfig(StageConfig):
    """LoRA, optimizer and schedule; the names are those of PEFT and transformers."""

    base_model: str = Field(description="base: a Hugging Face folder or hub name")
    lora_r: int = Field(8, ge=1, description="LoRA rank")
    lora_alpha: int = Field(16, ge=1, description="LoRA scale times rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the LoRA matrices")
    target_modules: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], description="layers that LoRA adapts"
    )
    optimizer: Literal["adam", "adamw"] = Field("adam", description="the paper's Adam, or AdamW")
    learning_rate: float = Field(5e-6, gt=0, description="constant learning rate")
    per_device_train_batch_size: int = Field(1, ge=1, description="samples of a forward pass, per worker")
    gradient_accumulation_steps: int = Field(2, ge=1, description="forward passes of an optimizer step, per worker")
    num_train_epochs: int = Field(1, ge=1, description="passes over the training examples")
    max_steps: int | None = Field(None, ge=1, description="stop after this many optimizer steps")
    max_response_tokens: int = Field(512, ge=2, description="longer reviews are cut, without an end token")
    num_workers: int = Field(2, ge=1, description="Ray Train workers: one per GPU on a cluster")
    use_gpu: bool = Field(False, description="one GPU for each worker, bf16")
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that each worker reserves")
    seed: int = Field(0, ge=0, description="of the LoRA weights and the order of the samples")
