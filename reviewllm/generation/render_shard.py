"""First stage of a shard: its examples as prompts."""

from __future__ import annotations

import pyarrow as pa

from reviewllm.generation.tasks import GenerationSpec, read_examples, to_stream
from reviewllm.place import Place
from reviewllm.prompts.renderer import Prompt, PromptRenderer, load_tokenizer

_CARRIED = ("example_id", "user_id", "item_id", "category", "rating", "title", "split", "reference")


class ShardRenderer:
    """Ray Data actor: reads a shard's examples and makes their prompts, on other CPUs than the engine's.

    A batch is one task; what it gives is the task with `prompts`: an Arrow stream of the examples without their histories,
    with prompt_ids (null where no prompt can be made), history_kept and prompt_error.
    """

    def __init__(self, spec: GenerationSpec) -> None:
        tokenizer = load_tokenizer(str(spec.variants[0].base))
        self._renderers = [PromptRenderer(tokenizer, variant.prompt) for variant in spec.variants]
        self._source = Place(spec.source, flag="--examples")

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Render one shard.

        Raises:
            SchemaError: the shard does not fit the table.
        """
        (task,) = batch.to_pylist()
        examples = read_examples(self._source, task["files"], task["rows"])
        prompts = self._renderers[task["variant"]].render(examples.select(["title", "rating", "history"]).to_pylist())
        made = [prompt if isinstance(prompt, Prompt) else None for prompt in prompts]
        rendered = (
            examples.select(_CARRIED)
            .append_column(
                "prompt_ids", pa.array([prompt.token_ids if prompt else None for prompt in made], pa.list_(pa.int32()))
            )
            .append_column(
                "history_kept", pa.array([prompt.history_kept if prompt else None for prompt in made], pa.int32())
            )
            .append_column(
                "prompt_error",
                pa.array([None if isinstance(prompt, Prompt) else str(prompt) for prompt in prompts], pa.string()),
            )
        )
        slim = batch.select(["variant", "output"])
        return slim.append_column("prompts", pa.array([to_stream(rendered)], pa.large_binary()))
