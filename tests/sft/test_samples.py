"""The response is marked, nothing is trained on silently, and all workers together see every sample once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import entry, example

from reviewllm.errors import TrainingError
from reviewllm.prompts.renderer import Prompt, PromptConfig, PromptRenderer
from reviewllm.sft.samples import Sample, collate, load_samples, worker_batches
from reviewllm.tables import EXAMPLES, write_table


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "shard.parquet", EXAMPLES)
    return folder


def test_load_samples_prompt_ids_are_those_of_generation(tokenizer: Any, tmp_path: Path) -> None:
    rows = [example(history=[entry(1)], reference="Broken."), example(title="Lamp", reference="Good.")]
    renderer = PromptRenderer(tokenizer, PromptConfig())
    samples, counts = load_samples(written(tmp_path, rows), renderer, max_response_tokens=100)
    for sample, prompt, reference in zip(samples, renderer.render(rows), ["Broken.", "Good."], strict=True):
        assert isinstance(prompt, Prompt)
        assert sample.token_ids[: sample.prompt_tokens] == prompt.token_ids
        response = sample.token_ids[sample.prompt_tokens :]
        assert tokenizer.decode(response) == f" {reference}</s>"
    assert counts.tokens == sum(len(sample.token_ids) for sample in samples)
    assert counts.response_tokens == sum(len(sample.token_ids) - sample.prompt_tokens for sample in samples)


def test_load_samples_refuses_and_counts_what_has_nothing_to_learn_from(tokenizer: Any, tmp_path: Path) -> None:
    rows = [
        example(reference="Good."),
        example(reference=None),
        example(reference=" \u200f "),
        example(title="T" * 300, reference="Good."),  # the target alone is over the budget
    ]
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=400))
    samples, counts = load_samples(written(tmp_path, rows), renderer, max_response_tokens=100)
    assert (len(samples), counts.refused) == (1, 3)


def test_load_samples_long_review_is_cut_without_an_end_token(tokenizer: Any, tmp_path: Path) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig())
    (sample,), counts = load_samples(written(tmp_path, [example(reference="word " * 50)]), renderer, max_response_tokens=9)
    assert len(sample.token_ids) - sample.prompt_tokens == 9
    assert tokenizer.eos_token_id not in sample.token_ids
    assert counts.reviews_cut == 1


def test_load_samples_none_left_is_an_error(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training sample: 1 example"):
        load_samples(
            written(tmp_path, [example(reference="")]), PromptRenderer(tokenizer, PromptConfig()), max_response_tokens=9
        )


@pytest.mark.parametrize(
    ("size", "workers", "batch", "accumulation"), [(10, 2, 1, 2), (7, 3, 2, 1), (1, 2, 1, 1), (16, 1, 4, 2)]
)
def test_worker_batches_together_see_every_sample_once(size: int, workers: int, batch: int, accumulation: int) -> None:
    samples = [Sample(str(number), [number], 0) for number in range(size)]
    steps = [
        list(
            worker_batches(
                samples, batch_size=batch, accumulation=accumulation, rank=rank, world_size=workers, seed=3, epoch=1
            )
        )
        for rank in range(workers)
    ]
    assert len({len(mine) for mine in steps}) == 1  # all workers take part in every step
    seen = [sample.example_id for mine in steps for step in mine for micro in step for sample in micro]
    assert sorted(seen, key=int) == [str(number) for number in range(size)]
    assert all(len(step) <= accumulation and len(micro) <= batch for mine in steps for step in mine for micro in step)


def test_worker_batches_epochs_differ_and_repeat() -> None:
    samples = [Sample(str(number), [number], 0) for number in range(50)]

    def order(epoch: int) -> list[str]:
        steps = worker_batches(samples, batch_size=1, accumulation=1, rank=0, world_size=1, seed=0, epoch=epoch)
        return [step[0][0].example_id for step in steps]

    assert order(0) == order(0) != order(1)


def test_collate_pads_right_and_marks_responses_only() -> None:
    batch = collate([Sample("a", [1, 2, 3, 4], 2), Sample("b", [5, 6], 1)], pad_token_id=9)
    assert batch.input_ids_BT.tolist() == [[1, 2, 3, 4], [5, 6, 9, 9]]
    assert batch.attention_mask_BT.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.loss_mask_BT.tolist() == [[False, False, True, True], [False, True, False, False]]
