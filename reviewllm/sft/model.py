"""The base with LoRA, held whole by every worker (DDP) or shared out among them (FSDP2), and its trainable state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reviewllm.errors import ConfigError
from reviewllm.sft.attention import TREE_ATTENTION, tree_attention
from reviewllm.sft.config import SFTConfig, TrainingConfig
from reviewllm.sft.layers import Layers, adapted_layers, lora_config

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_MOST_RANK = 64  # a product over fewer values, as that of LoRA, is quicker to compute again than large to keep
_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 1 << 20  # mallopt's name of the option (malloc.h), and bytes


def load_base(folder: str, *, dtype: str, device: Any) -> Any:
    """Load a base on the CPU, with the attention that packed sequences need and without dropout of its own.

    Args:
        folder: a Hugging Face model folder.
        dtype: "float32", "bfloat16" or "auto" (bfloat16 where the device has it, else float32).
        device: where the model will run.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder,
        config=for_training(AutoConfig.from_pretrained(folder, trust_remote_code=False)),
        dtype=getattr(torch, computing_type(device) if dtype == "auto" else dtype),
        attn_implementation=TREE_ATTENTION,
        trust_remote_code=False,
        use_safetensors=True,
    )


def for_training(config: Any) -> Any:
    """A base's configuration for a model with `TREE_ATTENTION` and no dropout: LoRA has its own, and FlexAttention none."""
    from transformers import AttentionInterface

    AttentionInterface.register(TREE_ATTENTION, tree_attention)
    for part in {id(one): one for one in (config, config.get_text_config())}.values():
        for name, value in part.to_dict().items():
            if isinstance(value, float) and ("dropout" in name or name.endswith("pdrop")):
                setattr(part, name, 0.0)
    return config


def computing_type(device: Any) -> str:
    """The type of the weights that a device computes with fastest: bfloat16 where it has instructions for it, else float32."""
    import torch

    if torch.device(device).type == "cuda":
        has = torch.cuda.is_bf16_supported()
    else:
        has = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if has else "float32"


def add_lora(base: Any, sft: SFTConfig) -> Any:
    """Freeze a base and add LoRA weights (float32), the same ones for the same seed.

    Their products are computed in the type of the base (`computing`): PEFT alone would keep a copy of each layer's input in
    float32 for the backward pass, half of all that is kept.
    """
    import torch
    from peft import get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    torch.manual_seed(sft.seed)
    model = get_peft_model(base, lora_config(base, sft)).train()
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.cast_input_dtype_enabled = False
    return model


def computing(model: Any, device: Any) -> Any:
    """The context in which a model of `add_lora` runs: matrices are multiplied in the type of the base."""
    import torch

    dtype = next(model.parameters()).dtype
    return torch.autocast(torch.device(device).type, dtype=dtype, enabled=dtype != torch.float32)


def check_target_modules(folder: Path, target_modules: list[str]) -> Layers:
    """Find what LoRA adapts of a base, whose weights are not loaded; refuse modules that it does not have.

    Raises:
        ConfigError: transformers does not know the base; or names the unknown modules and those that exist.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            base = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"--base-model {folder}: transformers knows no such causal language model: {error}") from error
    return adapted_layers(base, target_modules, name=folder.name)


def distribute(model: Any, training: TrainingConfig, *, device: Any, world_size: int) -> Any:
    """Move a LoRA model to its device and make its gradients those of all workers together.

    With "fsdp" every decoder layer is a unit of FSDP2: its frozen weights one group, its LoRA weights, which have another
    type, a second. Returns what the training loop calls; `model` stays what is saved.
    """
    import torch

    if training.gradient_checkpointing != "none":
        recomputed = {"context_fn": _keep_products} if training.gradient_checkpointing == "selective" else {}
        model.gradient_checkpointing_enable({"use_reentrant": False, **recomputed})
    if world_size == 1 or training.strategy == "ddp":
        model.to(device)
        if world_size == 1:
            return model
        on_gpu = torch.device(device).type == "cuda"
        return torch.nn.parallel.DistributedDataParallel(model, device_ids=[device] if on_gpu else None)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(torch.device(device).type, (world_size,))
    for layer in _decoder_layers(model):
        fully_shard([part for name, part in layer.named_modules() if _is_lora_linear(name, part)], mesh=mesh)
        fully_shard(layer, mesh=mesh)
    fully_shard(model.get_base_model(), mesh=mesh)  # not PEFT's wrapper, around which `generate` goes
    return model


def _keep_products() -> Any:
    """Of a layer keep what matrices of the base and attention give, and compute the rest again: it costs little time."""
    import torch
    from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

    aten = torch.ops.aten
    attention = {
        aten._scaled_dot_product_flash_attention_for_cpu.default,
        aten._scaled_dot_product_flash_attention.default,
        aten._scaled_dot_product_efficient_attention.default,
        aten.bmm.default,
        torch.ops.higher_order.flex_attention,
    }

    def policy(context: Any, operator: Any, *inputs: Any, **_: Any) -> CheckpointPolicy:
        product = operator in (aten.mm.default, aten.addmm.default)
        kept = operator in attention or (product and inputs[-2].shape[-1] > _MOST_RANK)
        return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)  # type: ignore[no-untyped-call]


def give_memory_back() -> None:
    """Have glibc hand large blocks back to the system when they are freed: in its heap they leave holes, a third of the peak."""
    import ctypes

    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)


def _decoder_layers(model: Any) -> Any:
    import torch

    decoder = model.get_base_model().get_decoder()
    lists = (
        part for part in decoder.modules() if isinstance(part, torch.nn.ModuleList)
    )  # GPT-2's is named `h`, not `layers`
    return next(layers for layers in lists if len(layers) == decoder.config.num_hidden_layers)


def _is_lora_linear(name: str, module: Any) -> bool:
    import torch

    return isinstance(module, torch.nn.Linear) and (".lora_A." in name or ".lora_B." in name)


@contextlib.contextmanager
def gradients_kept_local(parallel: Any, *, local: bool) -> Iterator[None]:
    """Do not exchange the gradients of this backward pass, since more will be added to them before the step."""
    import torch

    if isinstance(parallel, torch.nn.parallel.DistributedDataParallel):
        with parallel.no_sync() if local else contextlib.nullcontext():
            yield
        return
    base = parallel.get_base_model()
    if hasattr(base, "set_requires_gradient_sync"):  # FSDP2
        base.set_requires_gradient_sync(not local)
    yield


def trainable(model: Any) -> dict[str, Any]:
    """The LoRA weights by the names that PEFT's files have."""
    return {name.replace(".default", ""): weight for name, weight in model.named_parameters() if weight.requires_grad}


def whole(tensor: Any) -> torch.Tensor:
    """A tensor on the CPU, gathered from all workers where it is shared out (all of them must call this)."""
    tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return tensor.detach().cpu().contiguous()  # type: ignore[no-any-return]


def shared_like(tensor: torch.Tensor, like: Any) -> Any:
    """A whole tensor on the device of `like`, shared out among the workers as `like` is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor.to(like.device)


def optimizer_tensors(model: Any, optimizer: Any) -> Tensors:
    """The optimizer's state by weight and kind, whole (all workers must call this)."""
    return {
        f"{name}:{kind}": whole(tensor)
        for name, weight in trainable(model).items()
        for kind, tensor in optimizer.state[weight].items()
    }


def load_trainable(model: Any, optimizer: Any, adapter: Tensors, state: Tensors) -> None:
    """Put the weights and the optimizer's state of a checkpoint in place."""
    import torch

    with torch.no_grad():
        for name, weight in trainable(model).items():
            weight.copy_(shared_like(adapter[name], weight))
            kinds = [key.rpartition(":")[2] for key in state if key.startswith(f"{name}:")]
            optimizer.state[weight] = {
                # Adam keeps its count of steps on the CPU, whole.
                kind: tensor if (tensor := state[f"{name}:{kind}"]).ndim == 0 else shared_like(tensor, weight)
                for kind in kinds
            }
