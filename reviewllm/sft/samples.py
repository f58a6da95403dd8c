"""Examples -> samples with the response marked, and samples -> batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reviewllm.errors import PromptError, TrainingError
from reviewllm.prompts.renderer import PromptRenderer
from reviewllm.tables import EXAMPLES, read_table, table_files

if TYPE_CHECKING:
    import torch

_ROWS_AT_ONCE = 1000  # rows held as Python objects while they are tokenised


class Sample(NamedTuple):
    """One training sample: prompt and response ids; the loss is on `token_ids[prompt_tokens:]` alone."""

    example_id: str
    token_ids: list[int]
    prompt_tokens: int


class SampleCounts(NamedTuple):
    """What became of the training examples."""

    samples: int
    refused: int
    tokens: int
    response_tokens: int
    reviews_cut: int
    histories_cut: int


def load_samples(examples: Path, renderer: PromptRenderer, *, max_response_tokens: int) -> tuple[list[Sample], SampleCounts]:
    """Tokenise every training example, in the order of the files.

    An example whose prompt cannot be rendered or whose review is blank has nothing to learn from: it is refused and
    counted. A review over `max_response_tokens` is cut and has no end token, so the model does not learn to stop there.

    Raises:
        SchemaError: the examples do not fit the table.
        TrainingError: no sample is left.
    """
    samples: list[Sample] = []
    refused = cut = histories_cut = 0
    for file in table_files(examples, EXAMPLES):
        table = read_table([file], EXAMPLES)
        for start in range(0, table.num_rows, _ROWS_AT_ONCE):
            rows = table.slice(start, _ROWS_AT_ONCE).to_pylist()
            references = [row["reference"] or "" for row in rows]
            responses = renderer.render_responses(references, max_tokens=max_response_tokens)
            for row, prompt, response in zip(rows, renderer.render(rows), responses, strict=True):
                if isinstance(prompt, PromptError) or len(response) < 2:  # the end token alone says nothing
                    refused += 1
                    continue
                cut += response[-1] != renderer.eos
                histories_cut += prompt.history_kept < prompt.history_given or prompt.reviews_shortened
                ids = prompt.token_ids + response
                samples.append(Sample(row["example_id"], ids, len(prompt.token_ids)))
    if not samples:
        raise TrainingError(f"{examples}: no training sample: {refused} example(s) have no review or do not fit the budget")
    tokens = sum(len(sample.token_ids) for sample in samples)
    in_loss = tokens - sum(sample.prompt_tokens for sample in samples)
    return samples, SampleCounts(len(samples), refused, tokens, in_loss, cut, histories_cut)


def worker_batches(
    samples: Sequence[Sample], *, batch_size: int, accumulation: int, rank: int, world_size: int, seed: int, epoch: int
) -> Iterator[list[list[Sample]]]:
    """Yield, for one worker, the micro-batches of each optimizer step of an epoch.

    All workers see the same seeded permutation and take turns in it, so together they see every sample once. Samples
    that do not fill the last step are spread over the workers; a worker that gets none still joins that step.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(samples))
    per_step = batch_size * accumulation * world_size
    for start in range(0, len(order), per_step):
        mine = [samples[place] for place in order[start : start + per_step][rank::world_size]]
        yield [mine[first : first + batch_size] for first in range(0, len(mine), batch_size)]


class Batch(NamedTuple):
    """Padded tensors of B samples of up to T tokens; `loss_mask_BT` marks the response tokens that are predicted."""

    input_ids_BT: torch.Tensor
    attention_mask_BT: torch.Tensor
    loss_mask_BT: torch.Tensor


def collate(samples: Sequence[Sample], *, pad_token_id: int) -> Batch:
    """Pad samples on the right; padding is neither attended to nor in the loss."""
    import torch

    length = max(len(sample.token_ids) for sample in samples)
    input_ids = torch.full((len(samples), length), pad_token_id, dtype=torch.long)
    attention = torch.zeros((len(samples), length), dtype=torch.long)
    in_loss = torch.zeros((len(samples), length), dtype=torch.bool)
    for row, sample in enumerate(samples):
        size = len(sample.token_ids)
        input_ids[row, :size] = torch.tensor(sample.token_ids)
        attention[row, :size] = 1
        in_loss[row, sample.prompt_tokens : size] = True
    return Batch(input_ids, attention, in_loss)
