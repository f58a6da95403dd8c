"""What a worker of vLLM is asked before it serves an adapter: vLLM leaves out layers that it has no place for, without a word."""

from __future__ import annotations

from typing import Any

EXTENSION = f"{__name__}.ServedLayers"  # for vLLM's `worker_extension_cls`


class ServedLayers:
    """Made a base class of vLLM's worker, whose `model_runner` and `add_lora` it finds there."""

    model_runner: Any
    add_lora: Any

    def adapter_left_out(self, name: str, place: int, folder: str) -> tuple[str, list[str]]:
        """Load an adapter; returns why that failed ("": it did not), and the layers of it that this worker does not serve."""
        from vllm.lora.request import LoRARequest

        try:
            self.add_lora(LoRARequest(name, place, folder))
        except (ValueError, RuntimeError, LookupError, AssertionError, OSError) as error:
            return f"{type(error).__name__}: {error}", []
        manager = self.model_runner.lora_manager._adapter_manager
        return "", sorted(name for name in manager.get_adapter(place).loras if name not in manager.modules)
