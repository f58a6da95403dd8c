"""The tiny base: its texts, its tokenizer, and that it is made the same way twice."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from conftest import day, example
from permissions import closed_to_others

from reviewllm.sft.adapter import model_digest
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base, train_tokenizer, user_documents


def test_user_documents_one_user_after_another_in_time() -> None:
    rows = [
        example(user_id="b", reference="second", purchased_at=day(2), rating=1.0),
        example(user_id="a", reference="other", purchased_at=day(9)),
        example(user_id="b", reference="first", purchased_at=day(1)),
    ]
    assert user_documents(pa.Table.from_pylist(rows, schema=EXAMPLES.schema)) == [
        ["Garden hose. Rating: 2.0. other"],
        ["Garden hose. Rating: 2.0. first", "Garden hose. Rating: 1.0. second"],
    ]


def test_user_documents_with_forms_show_the_attributes_in_them_in_turn() -> None:
    rows = [
        example(reference="first", purchased_at=day(1), attributes='{"lid": "glass", "color": "red"}'),
        example(reference="second", purchased_at=day(2), attributes='{"color": "red"}'),
        example(reference="third", purchased_at=day(3)),
    ]
    (texts,) = user_documents(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), ["json", "text"])
    assert texts == [
        '{"title": "Garden hose", "color": "red", "lid": "glass"}. Rating: 2.0. first',
        "title: Garden hose\ncolor: red. Rating: 2.0. second",
        '{"title": "Garden hose"}. Rating: 2.0. third',
    ]


def test_train_tokenizer_adds_one_bos_and_round_trips() -> None:
    tokenizer = train_tokenizer(["a rake, a rake"], vocabulary=300, context=64)
    ids = tokenizer("a rake \U0001f600")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a rake \U0001f600"


def test_make_tiny_base_is_deterministic_and_learns(tmp_path: Path) -> None:
    documents = [[f"A rake. Rating: {stars}.0. {'Bad' if stars < 3 else 'Good'}."] for stars in (1, 5)] * 20
    losses: list[float] = []
    config = TinyBaseConfig(base_vocabulary=300, base_hidden=32, base_layers=1, base_steps=60)
    first = make_tiny_base(documents, tmp_path / "a", config, context=256, on_step=lambda *step: losses.append(step[2]))
    assert losses[-1] < 0.7 * losses[0]
    assert closed_to_others(first) == {}
    assert model_digest(first) == model_digest(make_tiny_base(documents, tmp_path / "b", config, context=256))
