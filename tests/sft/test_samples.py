"""The response is marked, nothing is trained on silently, and whole users are held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import entry, example

from reviewllm.errors import InputError, TrainingError
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tasks import TaskName
from reviewllm.sft.samples import SampleCounts, SampleFile, write_samples
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "shard.parquet", EXAMPLES)
    return folder


def load(
    examples: Path, tokenizer: Any, *, max_prompt_tokens: int = 1536, max_response_tokens: int = 100, **options: Any
) -> tuple[SampleFile, SampleCounts]:
    """Tokenise examples into the file `samples` beside their folder, and read it."""
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=max_prompt_tokens))
    file = examples.parent / "samples"
    options = {"validation_fraction": 0.0, **options}
    counts = write_samples(examples, file, renderer, max_response_tokens=max_response_tokens, **options)
    return SampleFile(file), counts


def test_write_samples_prompt_ids_are_those_of_generation(tokenizer: Any, tmp_path: Path) -> None:
    rows = [example(history=[entry(1)], reference="Broken."), example(title="Lamp", reference="Good.")]
    renderer = PromptRenderer(tokenizer, PromptConfig())
    samples, counts = load(written(tmp_path / "a", rows), tokenizer)
    for sample, prompt, reference in zip(samples, renderer.render(rows), ["Broken.", "Good."], strict=True):
        assert isinstance(prompt, Prompt)
        assert sample.token_ids[: sample.prompt_tokens].tolist() == prompt.token_ids
        response = sample.token_ids[sample.prompt_tokens :]
        assert tokenizer.decode(response) == f" {reference}</s>"
    assert counts.tokens == sum(len(sample.token_ids) for sample in samples)
    assert counts.response_tokens == sum(len(sample.token_ids) - sample.prompt_tokens for sample in samples)


def test_runs_go_on_whatever_reviews_by_others_come_and_go(tokenizer: Any, tmp_path: Path) -> None:
    """A long evidence and then none make a prompt shorter, while the history goes on growing."""
    other = {**entry(1, review="It holds. " * 20), "user_id": "o"}
    bought = [entry(number) for number in range(4)]
    rows = [
        example(example_id=f"e{number}", history=bought[:number], item_evidence=[other] * (number % 2))
        for number in range(4)
    ] + [example(example_id="f", user_id="u2", item_evidence=[other])]
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=1900, evidence="item"))
    file = tmp_path / "samples"
    counts = write_samples(written(tmp_path / "a", rows), file, renderer, max_response_tokens=50, validation_fraction=0)
    samples = SampleFile(file)
    assert samples[2].prompt_tokens < samples[1].prompt_tokens
    assert samples.runs().tolist() == [0, 0, 0, 0, 1]
    assert counts.with_evidence == 3
    assert [one.evidence_tokens > 0 for one in samples] == [False, True, False, True, True]


def test_write_samples_refuses_and_counts_what_has_nothing_to_learn_from(tokenizer: Any, tmp_path: Path) -> None:
    rows = [
        example(reference="Good."),
        example(reference=None),
        example(reference=" \u200f "),
        example(reference="\u3164\ue000"),
        example(title="T" * 300, reference="Good."),  # the target alone is over the budget
    ]
    samples, counts = load(written(tmp_path / "a", rows), tokenizer, max_prompt_tokens=400)
    assert (len(samples), counts.refused) == (1, 4)


def test_write_samples_of_examples_that_are_evaluated_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    written(tmp_path / "examples" / "train", [example(reference="Good.")])
    written(tmp_path / "examples" / "hard", [example(split="hard", reference="Bad.")])
    with pytest.raises(InputError, match=r"than train: 1 hard, 1 train; name .*/examples/train"):
        load(tmp_path / "examples", tokenizer)


@pytest.mark.parametrize(
    ("task", "rating", "message"),
    [
        ("review", 0.0, "1 of 2 examples have no stars, so they were made for --task extract or recommend"),
        ("recommend", 3.0, "1 of 2 examples have stars, so they were made for --task review or attributes"),
    ],
)
def test_write_samples_of_examples_for_another_task_is_refused(
    tokenizer: Any, tmp_path: Path, task: TaskName, rating: float, message: str
) -> None:
    examples = written(tmp_path / "train", [example(rating=3.0 - rating), example(rating=rating)])
    renderer = PromptRenderer(tokenizer, PromptConfig(task=task))
    with pytest.raises(InputError, match=message):
        write_samples(examples, tmp_path / "s", renderer, max_response_tokens=100, validation_fraction=0)


def test_write_samples_counts_prompts_without_all_attributes(tokenizer: Any, tmp_path: Path) -> None:
    rows = [example(attributes=text) for text in ('{"lid": "glass"}', '{"lid": "' + "glass " * 60 + '"}', None, "{")]
    prompt = PromptConfig(task="attributes", max_attribute_tokens=100)
    counts = write_samples(
        written(tmp_path / "a", rows),
        tmp_path / "samples",
        PromptRenderer(tokenizer, prompt),
        max_response_tokens=100,
        validation_fraction=0.0,
    )
    assert (counts.samples, counts.refused, counts.attributes_dropped) == (3, 1, 1)


def test_write_samples_long_review_is_cut_without_an_end_token(tokenizer: Any, tmp_path: Path) -> None:
    rows = [example(reference="word " * 50)]
    (sample,), counts = load(written(tmp_path / "a", rows), tokenizer, max_response_tokens=9)
    assert len(sample.token_ids) - sample.prompt_tokens == 9
    assert tokenizer.eos_token_id not in sample.token_ids
    assert counts.reviews_cut == 1


def test_write_samples_none_left_is_an_error(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training sample: 1 example"):
        load(written(tmp_path / "a", [example(reference="")]), tokenizer)


def test_write_samples_holds_out_whole_users_always_the_same(tokenizer: Any, tmp_path: Path) -> None:
    rows = [example(example_id=f"e{n}", user_id=f"u{n % 40}", reference="Good.") for n in range(120)]
    trained, counts = load(written(tmp_path / "a", rows), tokenizer, validation_fraction=0.3)
    held_out = SampleFile(tmp_path / "samples", validation=True)
    assert counts.samples == len(trained)
    assert counts.validation == len(held_out)
    assert counts.samples + counts.validation == 120
    users = {one.user_id for one in held_out}
    assert 4 < len(users) < 24
    assert not users & {one.user_id for one in trained}
    fewer, _ = load(written(tmp_path / "b", rows[:60]), tokenizer, validation_fraction=0.3)
    assert not users & {one.user_id for one in fewer}


def test_sample_file_reads_many_batches_in_order(tokenizer: Any, tmp_path: Path) -> None:
    rows = [example(example_id=f"e{n}", user_id=f"u{n // 3}", reference="Good.") for n in range(2300)]
    samples, _ = load(written(tmp_path / "a", rows), tokenizer)
    assert [one.example_id for one in samples] == [f"e{n}" for n in range(2300)]
    assert samples[1999].example_id == "e1999"
    assert [one.example_id for one in samples[998:1002]] == ["e998", "e999", "e1000", "e1001"]
    assert samples.users().tolist() == [n // 3 for n in range(2300)]


def test_sample_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples").write_bytes(b"ARROW1 nonsense")
    with pytest.raises(TrainingError, match="cannot be read"):
        SampleFile(tmp_path / "samples")
