"""Generations of an evaluation and the examples behind them -> one checked row for each answer, with all of its figures."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import polars.selectors as cs
import pyarrow as pa

from reviewllm.errors import SchemaError
from reviewllm.evaluation.figures import BY_ROW
from reviewllm.evaluation.names import Pair
from reviewllm.scoring.words import words
from reviewllm.tables import EXAMPLES, GENERATIONS

SPLITS = ("simple", "hard")
_WHERE = "generations of the evaluation"
_DAY = 24 * 3600  # seconds
_REFERENCED = ("rouge1", "rougeL", "meteor", "sbert_cosine")


def evaluated_rows(generations: pa.Table, examples: pa.Table, *, names: Mapping[Pair, str]) -> pl.DataFrame:
    """Join what was written with what it was written for, and give each row its figures.

    Args:
        generations: scored GENERATIONS of every model for the splits simple and hard, of one repetition.
        examples: EXAMPLES of these splits.
        names: what each (model, adapter) is called. Two pairs may share a name where one ran with ratings and the other
            without, as with an adapter that was trained for each.

    Returns:
        In the order of `names`, with ratings first: example_id, user_id, category, rating, split, model (the name),
        with_rating, review, words_of_reference, reviews_of_user, days_of_history (how long before the purchase the user's earlier
        reviews were written, the median of them; null for a new user), and each of `figures.BY_ROW`, null where the row does not
        count; for those that cannot read every text, `unread <name>` too.

    Raises:
        SchemaError: there is no row; a generation belongs to no example of its split, or has no name; a reviewed row is not
            scored; a score reads an example's reference beside one text and not beside another; an example is answered twice
            by one model, or not by every model of its split.
    """
    frame = _named(pl.DataFrame(GENERATIONS.check(generations, where=_WHERE)), names)
    _check_rows(frame)
    frame = _with_facts(frame, pl.DataFrame(EXAMPLES.check(examples, where="examples of the evaluation")))
    _check_all_answered(frame, examples)
    kept = ["example_id", "user_id", "category", "rating", "split", "model", "with_rating", "review", *_FACTS]
    return (
        frame.sort("place", ~pl.col("with_rating"), maintain_order=True)
        .with_columns(
            *(figure.row.alias(f"figure {figure.name}") for figure in BY_ROW),
            *(figure.unread.alias(f"unread {figure.name}") for figure in BY_ROW if figure.unread is not None),
        )
        .select(*kept, *(pl.col(f"figure {figure.name}").alias(figure.name) for figure in BY_ROW), cs.starts_with("unread "))
    )


_FACTS = ("words_of_reference", "reviews_of_user", "days_of_history")


def _with_facts(frame: pl.DataFrame, examples: pl.DataFrame) -> pl.DataFrame:
    """Add what the slices need of the examples; refuse generations that are not theirs."""
    counted = [None if text is None else len(words(text)) for text in examples["reference"]]
    written = pl.col("history").list.eval(pl.element().struct.field("purchased_at").dt.epoch("s"))
    facts = examples.select(
        "example_id",
        "split",
        words_of_reference=pl.Series(counted, dtype=pl.Int64),
        reviews_of_user=pl.col("history").list.len().cast(pl.Int64),
        days_of_history=(pl.col("purchased_at").dt.epoch("s") - written.list.median()).floordiv(_DAY).cast(pl.Int64),
    )
    strange = frame.join(facts, on=["example_id", "split"], how="anti")
    if len(strange):
        ids = strange["example_id"].unique(maintain_order=True).to_list()
        raise SchemaError(
            f"{_WHERE}: {len(ids)} of {frame['example_id'].n_unique()} examples are not among the examples of their split, "
            f"first of them {', '.join(ids[:3])}: they were written for other examples; run jobs/evaluate.py again"
        )
    return frame.join(facts, on=["example_id", "split"], how="left", maintain_order="left")


def _named(frame: pl.DataFrame, names: Mapping[Pair, str]) -> pl.DataFrame:
    """Replace `model` by the name of the pair, and add its place in the order of `names`."""
    rows = [(model, adapter, name, place) for place, ((model, adapter), name) in enumerate(names.items())]
    schema = {"model": pl.String, "adapter": pl.String, "name": pl.String, "place": pl.Int64}
    known = pl.DataFrame(rows, schema=schema, orient="row")
    # Two adapters of one name stand together, where the first of them stands.
    known = known.with_columns(pl.col("place").min().over("name"))
    frame = frame.join(known, on=["model", "adapter"], how="left", nulls_equal=True, maintain_order="left")
    nameless = frame.filter(pl.col("name").is_null()).select("model", "adapter").unique(maintain_order=True).rows()
    if nameless:
        raise SchemaError(f"{_WHERE}: no name was given for (model, adapter) {nameless[:3]}")
    return frame.drop("model").rename({"name": "model"})


def _check_rows(frame: pl.DataFrame) -> None:
    if frame.is_empty():
        raise SchemaError(f"{_WHERE}: there is no row; run jobs/evaluate.py on examples of the simple or the hard split")
    strange = sorted(set(frame["split"]) - set(SPLITS))
    if strange:
        raise SchemaError(f"{_WHERE}: split {', '.join(strange)} is not evaluated; expected {' or '.join(SPLITS)}")
    reviewed = frame.filter(pl.col("review").is_not_null())
    endless = pl.any_horizontal(~pl.col(name).is_finite().fill_null(True) for name in _REFERENCED)
    _refuse(reviewed.filter(pl.col("words").is_null() | endless), f"{_WHERE}: a review without all of its scores")
    some = pl.any_horizontal(pl.col(name).is_null().n_unique().over("split", "example_id") > 1 for name in _REFERENCED)
    _refuse(reviewed.filter(some), f"{_WHERE}: a reference that a score reads beside one text and not beside another")
    row = pl.struct("example_id", "model", "with_rating")
    _refuse(frame.filter(row.is_duplicated()), f"{_WHERE}: an example twice for one model and one with_rating")


def _check_all_answered(frame: pl.DataFrame, examples: pa.Table) -> None:
    """Refuse models that were asked different questions: their means cannot be compared."""
    asked = pl.DataFrame(examples.select(["split"])).group_by("split", maintain_order=True).len().rows()
    for (model, with_rating), rows in frame.group_by("model", "with_rating", maintain_order=True):
        for split, expected in asked:
            found = len(rows.filter(pl.col("split") == split))
            if found != expected:
                raise SchemaError(
                    f"{_WHERE}: {model} (with_rating {with_rating}) has {found} of the {expected} examples of split {split}; every "
                    "model must answer all of them: run jobs/evaluate.py again"
                )


def _refuse(rows: pl.DataFrame, problem: str) -> None:
    if len(rows):
        ids = rows["example_id"].unique(maintain_order=True).to_list()
        raise SchemaError(f"{problem}, in {len(rows)} row(s), first of them {', '.join(ids[:3])}; score the rows again")
