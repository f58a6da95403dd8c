"""Training on dialogues: each review behind exactly the history that a prompt for it shows, each token once where that can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from conftest import entry, example
from tokenizer_styles import STYLES

from reviewllm.errors import TrainingError
from reviewllm.examples.build import build_examples
from reviewllm.examples.protocol import ExamplesConfig
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.sft.samples import Sample, SampleFile, write_samples
from reviewllm.sft.sequences import added_tokens, pack
from reviewllm.table_files import read_table, table_files, write_table
from reviewllm.tables import EXAMPLES, INTERACTIONS, ITEMS

_DAY = pa.scalar(86_400_000_000)


def interactions(users: int, *, seed: int) -> pa.Table:
    """Random users with 1 to 30 purchases, of which some have no review and some reviews are long."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        for number in range(int(random.integers(1, 31))):
            words = random.choice(
                ["good", "bad", "so", "grip", "</s>"], random.integers(1, 300 if random.random() < 0.1 else 15)
            )
            one = entry(number, rating=float(random.integers(1, 6)))
            rows.append(
                {
                    "purchase_id": f"{user}-{number}",
                    "user_id": f"u{user}",
                    "item_id": f"i{random.integers(50)}",
                    "category": "Garden",
                    "rating": one["rating"],
                    "review": None if random.random() < 0.2 else f"{number} {' '.join(words)}",
                    "purchased_at": one["purchased_at"],
                }
            )
    return pa.Table.from_pylist(rows, schema=INTERACTIONS.schema)


def prepared(folder: Path, table: pa.Table, **options: Any) -> Path:
    """The folder of the examples of all these purchases."""
    write_table(table, folder / "interactions" / "a.parquet", INTERACTIONS)
    blank = {"brand": None, "category": None, "price": None, "attributes": None}
    items = [{"item_id": f"i{number}", "title": f"Item {number}", **blank} for number in range(50)]
    write_table(pa.Table.from_pylist(items, schema=ITEMS.schema), folder / "items" / "a.parquet", ITEMS)
    build_examples(
        interactions=folder / "interactions",
        items=folder / "items",
        out=folder / "examples",
        config=ExamplesConfig(**options),
    )
    return folder / "examples"


def tokenised(examples: Path, renderer: PromptRenderer, file: Path) -> list[Sample]:
    write_samples(examples / "train", file, renderer, max_response_tokens=120, validation_fraction=0)
    return list(SampleFile(file))


@pytest.mark.parametrize("max_prompt_tokens", [500, 1500])
def test_every_review_is_trained_behind_what_a_prompt_for_it_shows(
    tokenizer: Any, tmp_path: Path, max_prompt_tokens: int
) -> None:
    examples = prepared(tmp_path, interactions(12, seed=1), targets="all", more_than_reviews=3)
    renderer = PromptRenderer(tokenizer, PromptConfig(prompt_form="dialogue", max_prompt_tokens=max_prompt_tokens))
    samples = tokenised(examples, renderer, tmp_path / "samples")
    rows = {row["example_id"]: row for row in read_table(table_files(examples / "train", EXAMPLES), EXAMPLES).to_pylist()}
    assert [sample.example_id for sample in samples] == list(rows)
    assert len(samples) > 50
    packed = pack(samples)
    place = 0
    for sample in samples:
        (prompt,) = renderer.render([rows[sample.example_id]])
        assert isinstance(prompt, Prompt)
        first = int(packed.predicts[place])  # the token that predicts the review's first one
        seen = np.flatnonzero(packed.until > first)
        assert packed.input_ids[seen[seen <= first]].tolist() == prompt.token_ids
        place += len(sample.token_ids) - sample.prompt_tokens
    assert place == len(packed.labels)


def test_targets_follow_the_protocol(tokenizer: Any, tmp_path: Path) -> None:
    """All reviews but the first of users that are not evaluated; the last one alone; hidden ones are in no text."""
    renderer = PromptRenderer(tokenizer, PromptConfig(prompt_form="dialogue", max_prompt_tokens=4000))
    table = interactions(12, seed=2)
    few = {"train_per_category": 2, "simple_per_category": 2, "more_than_reviews": 3}
    everything = prepared(tmp_path / "all", table, targets="all", hide_fraction=0.2, **few)
    evaluated, hidden = (pl.read_parquet(table_files(everything / split, EXAMPLES)) for split in ("simple", "backfill"))
    samples = tokenised(everything, renderer, tmp_path / "samples")
    assert evaluated.height
    assert not {sample.user_id for sample in samples} & {*evaluated["user_id"]}
    hidden_now = hidden.filter(pl.col("reference").is_not_null())
    assert hidden_now.height
    for user, review in hidden_now.select("user_id", "reference").rows():
        ids = renderer.render_responses([review], max_tokens=400)[0][:-1]
        for sample in samples:
            if sample.user_id == user:
                assert str(ids)[1:-1] not in str(sample.token_ids.tolist())
    last = tokenised(prepared(tmp_path / "last", table, more_than_reviews=3), renderer, tmp_path / "last.arrow")
    assert len({sample.user_id for sample in last}) == len(last) > 0


def test_short_users_run_each_token_once(tokenizer: Any, tmp_path: Path) -> None:
    examples = prepared(tmp_path, interactions(12, seed=3), targets="all", simple_per_category=0, hard_per_category=0)
    sizes = {}
    for form in ("paper", "dialogue"):
        renderer = PromptRenderer(tokenizer, PromptConfig(prompt_form=form, max_prompt_tokens=16_000))
        samples = tokenised(examples, renderer, tmp_path / f"{form}.arrow")
        sizes[form] = int(added_tokens(samples).sum())
        last = {sample.user_id: len(sample.token_ids) for sample in samples}
        assert (sizes[form] <= sum(last.values())) == (form == "dialogue")  # the longest sample of each user has all of it
    assert sizes["dialogue"] < 0.65 * sizes["paper"]


def test_users_whose_purchases_lack_reviews_leave_nothing_to_train_on(tokenizer: Any, tmp_path: Path) -> None:
    renderer = PromptRenderer(tokenizer, PromptConfig(prompt_form="dialogue"))
    rows = [example(example_id=f"e{n}", history=[], reference=None) for n in range(3)]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "train" / "a.parquet", EXAMPLES)
    with pytest.raises(TrainingError, match=r"no training sample: 3 example\(s\) have no review"):
        write_samples(tmp_path / "train", tmp_path / "s", renderer, max_response_tokens=99, validation_fraction=0)
    (prompt,) = renderer.render(rows[:1])  # such a user's prompt is the item alone
    assert isinstance(prompt, Prompt)
    assert prompt.history_given == 0


CHATML = (
    "{% for one in messages %}<|im_start|>{{ one.role }}\n{{ one.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_chat_loss_is_on_every_answer_and_its_end_and_on_nothing_else(tmp_path: Path) -> None:
    tokenizer = STYLES["qwen"](tmp_path / "tokenizer").tokenizer
    tokenizer.chat_template = CHATML
    renderer = PromptRenderer(tokenizer, PromptConfig(prompt_form="dialogue", chat_template=True, max_prompt_tokens=4000))
    bought = [entry(n, title=f"Item {n}", review=f"Good <|im_end|> {n}.") for n in range(6)]
    rows = [
        example(example_id=f"e{n}", history=bought[:n], title=one["title"], rating=5.0, reference=one["review"])
        for n, one in enumerate(bought)
    ]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "train" / "a.parquet", EXAMPLES)
    packed = pack(tokenised(tmp_path, renderer, tmp_path / "samples"))
    ids = packed.input_ids.tolist()
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "<|im_end|>"))
    turns = [place for place, number in enumerate(ids) if number == start]
    assert len(turns) == 2 * 6
    answers = []
    for turn in turns[1::2]:
        assert tokenizer.decode(ids[turn:]).startswith("<|im_start|>assistant\n")
        opening = len(tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False))
        answers += range(turn + opening, ids.index(end, turn) + 1)
    assert (packed.predicts + 1).tolist() == answers
    assert packed.labels.tolist() == [ids[place] for place in answers]
