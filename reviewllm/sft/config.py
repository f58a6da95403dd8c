"""What a training run is: the paper's values are the defaults (section 3.1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from reviewllm.config import ModelWhere, StageConfig, Where
from reviewllm.sft.layers import ALL_LINEAR

_DIALOGUE_TOKENS = 4096


class SFTConfig(StageConfig):
    """LoRA, batches, optimizer and schedule: all that decides the adapter; the names are those of PEFT and transformers."""

    base_model: ModelWhere = Field(description="base: a Hugging Face folder or hub name")
    lora_r: int = Field(8, ge=1, le=512, description="LoRA rank; vLLM serves none above 512")
    lora_alpha: int = Field(16, ge=1, description="LoRA scale times rank")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the LoRA matrices")
    target_modules: list[str] = Field(
        [ALL_LINEAR], description="layers that LoRA adapts, by the ends of their names; all-linear: every one of the decoder"
    )
    optimizer: Literal["adam", "adamw"] = Field("adam", description="the paper's Adam, or AdamW")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")
    learning_rate: float = Field(5e-6, gt=0, description="highest learning rate")
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="what becomes of the learning rate after the warm-up"
    )
    warmup_steps: int = Field(0, ge=0, description="optimizer steps in which the learning rate rises from 0")
    max_grad_norm: float = Field(1.0, ge=0, description="longer gradients are shortened to this norm; 0: never")
    per_device_train_batch_size: int = Field(1, ge=1, description="samples of a worker, times --gradient-accumulation-steps")
    gradient_accumulation_steps: int = Field(
        2, ge=1, description="with batch size and workers: their product is the samples of an optimizer step"
    )
    packing: bool = Field(True, description="several samples in one forward pass, none of which sees another")
    one_pass_per_user: bool | None = Field(
        None,
        description="a user's samples follow each other, so that packing runs their common history once; a step has at most a "
        "quarter of its samples in one such run, for a step of one or two users learns worse; default: in dialogues",
    )
    max_sequence_tokens: int | None = Field(
        None,
        ge=64,
        description="tokens of a packed forward pass: bounds a worker's memory, and what a pass can share; a longer sample has a "
        "pass of its own; default: twice the longest possible sample, in dialogues once and at most 4,096",
    )
    num_train_epochs: int = Field(1, ge=1, description="passes over the training examples")
    max_steps: int | None = Field(None, ge=1, description="stop after this many optimizer steps")
    max_response_tokens: int = Field(512, ge=2, description="longer reviews are cut, without an end token")
    validation_fraction: float = Field(
        0.0, ge=0, lt=1, description="share of users that are not trained on but measured: the validation loss"
    )
    eval_steps: int = Field(100, ge=1, description="optimizer steps between two validation losses")
    early_stopping_patience: int | None = Field(
        None, ge=1, description="stop after this many validation losses in a row without a new best"
    )
    seed: int = Field(0, ge=0, description="of the LoRA weights, the order of the samples and dropout")

    @model_validator(mode="after")
    def _check(self) -> SFTConfig:
        if self.early_stopping_patience is not None and not self.validation_fraction:
            raise ValueError("--early-stopping-patience needs a validation loss; set --validation-fraction, say to 0.02")
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError("--weight-decay belongs to AdamW; set --optimizer adamw")
        return self


class TrainingConfig(StageConfig):
    """Where and how a run is trained, and how it recovers: nothing here changes what is learned, but for rounding."""

    num_workers: int = Field(2, ge=1, description="Ray Train workers: one per GPU on a cluster")
    use_gpu: bool = Field(False, description="one GPU for each worker")
    cpus_per_worker: float = Field(1, gt=0, description="CPUs that each worker reserves")
    placement_strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = Field(
        "PACK", description="Ray's placement of the workers: on few nodes, or spread over many"
    )
    strategy: Literal["ddp", "fsdp"] = Field("ddp", description="each worker holds the base, or (FSDP2) a share of it")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of the base; auto: bfloat16 on GPUs and CPUs that have it, else float32. LoRA weights are float32",
    )
    gradient_checkpointing: Literal["none", "selective", "full"] = Field(
        "none",
        description="hold fewer activations: selective keeps the products of matrices and computes the rest of a layer again, "
        "full computes whole layers again",
    )
    storage_path: Where | None = Field(
        None,
        description="folder or s3://bucket/prefix of the checkpoints; default <out>/checkpoints; every node must see it",
    )
    run_name: str | None = Field(
        None, pattern=r"^\w[\w.-]*$", description="the run's folder there; default: the name of the adapter's folder"
    )
    on_existing_run: Literal["resume", "restart"] = Field(
        "resume", description="go on from the run's last checkpoint, or remove its checkpoints and begin again"
    )
    save_steps: int = Field(100, ge=1, description="optimizer steps between two checkpoints")
    save_total_limit: int = Field(2, ge=1, description="newest checkpoints that are kept (the best one is kept too)")
    max_failures: int = Field(3, ge=-1, description="losses of a worker or node after which the run goes on; -1: any number")


class LoopConfig(StageConfig):
    """All that a worker is sent.

    base: the folder of the base. run: path or URI of the run's folder. identity: what decides the outcome, by name.
    end_token: id of the end of a response.
    """

    sft: SFTConfig
    training: TrainingConfig
    base: str
    run: str
    identity: dict[str, str]
    end_token: int


def with_defaults(sft: SFTConfig, *, max_prompt_tokens: int, dialogue: bool) -> SFTConfig:
    """Fill in what prompts decide.

    Less than two long samples in a pass would share little. In a dialogue a user's next sample goes on where the one before
    ended: apart each would cost the whole history, and together they are as long as the last one. A longer pass shares nothing
    more there, and on a CPU is slower.
    """
    longest = max_prompt_tokens + sft.max_response_tokens
    tokens = min(longest, _DIALOGUE_TOKENS) if dialogue else 2 * longest
    filled = {"max_sequence_tokens": tokens, "one_pass_per_user": dialogue}
    return sft.model_copy(update={name: value for name, value in filled.items() if getattr(sft, name) is None})


def samples_per_step(sft: SFTConfig, training: TrainingConfig) -> int:
    """Samples of an optimizer step, over all workers."""
    return sft.per_device_train_batch_size * sft.gradient_accumulation_steps * training.num_workers
