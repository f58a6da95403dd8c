"""Evaluated examples side by side: which, in what order, with whose texts."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import day, entry
from evaluated import ADAPTED, NAMES, example, generation, generations

from reviewllm.errors import SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.names import Pair
from reviewllm.report import side_by_side
from reviewllm.report.content import Example, Prompt
from reviewllm.report.side_by_side import browsed, evaluated_examples
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES
from tests.report.parts import shown

ALL_NAMES: dict[Pair, str] = {**NAMES, (REAL.name, None): REAL.name}


def _keep(out: Path, *rows: dict[str, Any]) -> None:
    """Keep the examples of one split."""
    table = pa.Table.from_pylist(list(rows), schema=EXAMPLES.schema)
    write_table(table, out / "examples" / rows[0]["split"] / "shard-0.parquet", EXAMPLES)


def _shown(out: Path, *rows: dict[str, Any]) -> tuple[Example, ...]:
    return evaluated_examples(out, pl.DataFrame(generations(list(rows))), ALL_NAMES)


def test_evaluated_examples_show_the_newest_five_of_a_history(tmp_path):
    history = [entry(number, title=f"Thing {number}", rating=float(number % 5 + 1)) for number in range(7)]
    _keep(tmp_path, example("long", history=history), example("short", history=history[:2]), example("new"))
    long, short, new = _shown(tmp_path, *map(generation, ("long", "short", "new")))

    assert (long.reviews_of_user, [one.title for one in long.history]) == (7, [f"Thing {number}" for number in range(2, 7)])
    assert (long.history[-1].review, long.history[-1].rating) == ("I love it.", 6 % 5 + 1)
    assert (short.reviews_of_user, [one.title for one in short.history]) == (2, ["Thing 0", "Thing 1"])
    assert (new.reviews_of_user, new.history) == (0, ())


def test_evaluated_examples_show_what_others_wrote(tmp_path):
    other = {**entry(1, title="Pick", review="Too soft.", rating=2.0), "user_id": "o"}
    _keep(tmp_path, example("asked", item_evidence=[other], neighbour_evidence=[]), example("not"))
    asked, never = _shown(tmp_path, *map(generation, ("asked", "not")))

    assert [(one.title, one.rating, one.review) for one in asked.item_evidence or ()] == [("Pick", 2.0, "Too soft.")]
    assert (asked.neighbour_evidence, never.item_evidence, never.neighbour_evidence) == ((), None, None)


def test_evaluated_examples_come_with_outputs_in_the_order_of_the_names(tmp_path):
    _keep(tmp_path, example("a", title="Pick", reference="Good."))
    rows = [
        generation("a", 100.0, model=REAL.name, with_rating=False),
        generation("a", 1.0, adapter=ADAPTED[1], with_rating=False),
        generation("a", 2.0, adapter=ADAPTED[1]),
        generation("a", 3.0, with_rating=False),
    ]
    (found,) = _shown(tmp_path, *rows)

    assert (found.title, found.reference, found.split, found.prompts) == ("Pick", "Good.", "simple", ())
    assert [(one.model, one.with_rating, one.scores["rouge1"]) for one in found.outputs] == [
        ("tiny", False, 3.0),
        ("tiny + adapter", True, 2.0),
        ("tiny + adapter", False, 1.0),
    ]


def test_evaluated_examples_show_why_a_text_failed(tmp_path):
    _keep(tmp_path, example("a"))
    (found,) = _shown(
        tmp_path, generation("a", None, review=None, error="too long", words=None, sentiment=None, claims=None)
    )

    assert (found.outputs[0].review, found.outputs[0].error) == (None, "too long")
    assert set(found.outputs[0].scores.values()) == {None}


def test_evaluated_examples_show_why_a_draft_was_chosen(tmp_path):
    _keep(tmp_path, example("a"))
    rows = [
        generation("a", drafts=8, chosen_because="nearest to the others of 5 that passed"),
        generation("a", adapter=ADAPTED[1]),
    ]
    (found,) = _shown(tmp_path, *rows)

    assert [one.chosen for one in found.outputs] == ["of 8 drafts: nearest to the others of 5 that passed", None]


def test_evaluated_examples_leave_out_what_was_not_evaluated(tmp_path):
    _keep(tmp_path, example("a"), example("b", purchased_at=day(0)))

    assert [one.example_id for one in _shown(tmp_path, generation("b"), generation("c", split="hard"))] == ["b"]


def test_evaluated_examples_need_a_reference(tmp_path):
    _keep(tmp_path, example("a", reference=None))

    with pytest.raises(SchemaError, match=r"1 evaluated example\(s\) have no reference; run jobs/prepare\.py again"):
        _shown(tmp_path, generation("a"))


def test_browsed_holds_all_where_they_are_few():
    examples = [shown("a"), shown("b", split="hard")]

    assert browsed(examples) == tuple(examples)
    assert browsed([]) == ()


def test_browsed_takes_evenly_many_of_each_split_with_all_prompts(monkeypatch):
    monkeypatch.setattr(side_by_side, "MOST_BROWSED", 6)
    prompts = (Prompt(with_rating=True, prompt="p"),)
    with_prompt = [shown("asked", prompts=prompts), shown("asked hard", split="hard", prompts=prompts)]
    simple = [shown(f"s{number}") for number in range(8)]
    hard = [shown(f"h{number}", split="hard") for number in range(2)]

    # Three of each split: the one with a prompt and, of 8 simple ones, two evenly chosen; of the hard ones all three.
    found = [one.example_id for one in browsed([*with_prompt, *simple, *hard])]
    assert found == ["asked", "asked hard", "s0", "s4", "h0", "h1"]


def test_browsed_is_as_many_as_the_page_holds(monkeypatch):
    monkeypatch.setattr(side_by_side, "MOST_BROWSED", 10)
    for simple, hard, shown_simple in ((11, 0, 10), (10, 3, 7), (1, 10, 1), (500, 500, 5)):
        examples = [shown(f"s{number}") for number in range(simple)]
        examples += [shown(f"h{number}", split="hard") for number in range(hard)]
        found = browsed(examples)

        assert len({one.example_id for one in found}) == 10
        assert sum(one.split == "simple" for one in found) == shown_simple
