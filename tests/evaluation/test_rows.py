"""Rows of an evaluation: their figures by hand, and what is refused."""

from __future__ import annotations

import pyarrow as pa
import pytest
from evaluated import NAMES, example, examples_of, generation, generations, rows_of

from reviewllm.errors import SchemaError
from reviewllm.evaluation.rows import evaluated_rows
from reviewllm.tables import EXAMPLES

OTHER = {"adapter": "out/adapter"}


def test_evaluated_rows_a_failed_row_is_zero_where_there_is_a_reference_and_does_not_count_elsewhere() -> None:
    failed = generation("a", None, review=None, error="too long", words=None, sentiment=None)
    (row,) = rows_of([failed]).to_dicts()
    assert (row["rouge1"], row["rougeL"], row["sbert_cosine"]) == (0.0, 0.0, 0.0)
    assert row["words"] is row["sentiment_agreement"] is row["polite"] is None


@pytest.mark.parametrize(
    ("rating", "sentiment", "agreement", "polite"),
    [
        (5.0, 12.6, 100.0, None),
        (5.0, 12.5, 0.0, None),
        (3.0, 50.0, None, None),
        (1.0, -3.0, 100.0, 0.0),
        (2.0, 60.0, 0.0, 100.0),
    ],
)
def test_evaluated_rows_sentiment_against_stars(
    rating: float, sentiment: float, agreement: float | None, polite: float | None
) -> None:
    (row,) = rows_of([generation("a", rating=rating, sentiment=sentiment)]).to_dicts()
    assert (row["sentiment_agreement"], row["polite"]) == (agreement, polite)


def test_evaluated_rows_come_in_the_order_of_the_names_with_ratings_first() -> None:
    names = {("models/tiny", "with"): "Review-LLM", ("models/tiny", None): "tiny", ("models/tiny", "without"): "Review-LLM"}
    rows = [
        generation("a"),
        generation("a", adapter="without", with_rating=False),
        generation("a", with_rating=False),
        generation("a", adapter="with"),
    ]
    found = rows_of(rows, names).select("model", "with_rating").rows()
    assert found == [("Review-LLM", True), ("Review-LLM", False), ("tiny", True), ("tiny", False)]


def test_evaluated_rows_carry_what_the_slices_need() -> None:
    history = [{"item_id": "x", "title": "t", "rating": 5.0, "review": "r", "purchased_at": example("a")["purchased_at"]}]
    asked = pa.Table.from_pylist([example("a", history=history * 3, reference="Good, really!")], schema=EXAMPLES.schema)
    (row,) = evaluated_rows(generations([generation("a")]), asked, names=NAMES).to_dicts()
    assert (row["reviews_of_user"], row["words_of_reference"]) == (3, 2)


def test_evaluated_rows_of_other_examples_are_refused_with_how_many_and_which() -> None:
    rows = [generation("a"), generation("b"), generation("c", split="hard")]
    with pytest.raises(SchemaError, match=r"2 of 3 examples are not among the examples of their split, first of them b, c"):
        evaluated_rows(
            generations(rows),
            pa.Table.from_pylist([example("a"), example("c", "simple")], schema=EXAMPLES.schema),
            names=NAMES,
        )


@pytest.mark.parametrize("unscored", [{"words": None}, {"rougeL": float("nan")}])
def test_evaluated_rows_a_review_without_a_score_is_refused(unscored: dict[str, float | None]) -> None:
    with pytest.raises(SchemaError, match=r"without all of its scores, in 1 row\(s\), first of them b"):
        rows_of([generation("a"), generation("b", **unscored)])


def test_evaluated_rows_of_what_a_score_cannot_read_do_not_count_and_are_told() -> None:
    foreign = {"rouge1": None, "rougeL": None, "sentiment": None, "claims": None}
    failed = generation("a", None, review=None, error="too long", words=None, sentiment=None, claims=None, **OTHER)
    rows = [generation("a", **foreign), failed, generation("b"), generation("b", **OTHER)]
    mine, other, failure, fine = sorted(rows_of(rows).to_dicts(), key=lambda row: (row["model"], row["example_id"]))
    assert (mine["rouge1"], mine["sbert_cosine"], mine["sentiment_agreement"]) == (None, 50.0, None)
    # The failed row's reference is the same one, which ROUGE cannot read: no 0 of it. The other score can, and it is one.
    assert (failure["rouge1"], failure["sbert_cosine"], failure["sentiment_agreement"]) == (None, 0.0, None)
    assert [mine[f"unread {name}"] for name in ("rouge1", "sbert_cosine", "sentiment_agreement", "polite", "claims")] == [
        *(True, False, True, None, True)
    ]
    assert [failure[f"unread {name}"] for name in ("rouge1", "sbert_cosine", "sentiment_agreement", "claims")] == [
        *(True, False, None, None)  # it has no text that could be read
    ]
    told = [one[f"unread {name}"] for one in (other, fine) for name in ("rouge1", "sentiment_agreement", "hallucination")]
    assert told == [False] * 6


def test_evaluated_rows_of_which_a_score_reads_one_reference_twice_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"reads beside one text and not beside another, in 2 row\(s\), first of them a"):
        rows_of([generation("a"), generation("a", rouge1=None, rougeL=None, **OTHER)])


def test_evaluated_rows_count_the_characters_of_a_script_without_spaces() -> None:
    asked = pa.Table.from_pylist([example("a", reference="非常好, isn't it? ดีมาก")], schema=EXAMPLES.schema)
    (row,) = evaluated_rows(generations([generation("a")]), asked, names=NAMES).to_dicts()
    assert row["words_of_reference"] == 3 + 2 + 4  # a vowel above a letter is none of its own


def test_evaluated_rows_other_refusals() -> None:
    with pytest.raises(SchemaError, match=r"lacks the column\(s\) sbert_cosine"):
        evaluated_rows(generations([generation("a")]).drop_columns("sbert_cosine"), examples_of([]), names=NAMES)
    with pytest.raises(SchemaError, match=r"no name was given for .*'another'"):
        rows_of([generation("a", model="another")])
    with pytest.raises(SchemaError, match="split backfill is not evaluated"):
        rows_of([generation("a", split="backfill")])
    with pytest.raises(SchemaError, match="an example twice"):
        rows_of([generation("a"), generation("a")])
    with pytest.raises(SchemaError, match=r"tiny \+ adapter .* has 1 of the 2 examples of split simple"):
        rows_of([generation("a"), generation("b"), generation("a", **OTHER)])
    with pytest.raises(SchemaError, match="there is no row"):
        rows_of([])


def test_evaluated_rows_have_an_oracle_where_they_were_asked_for_several_drafts() -> None:
    scores = {"oracle_rouge1": 60.0, "oracle_rougeL": 55.0, "oracle_sbert_cosine": 70.0, "drafts": 8, **OTHER}
    failed = generation("b", None, review=None, error="no draft", words=None, sentiment=None, claims=None, drafts=8, **OTHER)
    unread = generation("c", rouge1=None, rougeL=None, drafts=8, oracle_sbert_cosine=10.0, **OTHER)
    copied = generation("c", rouge1=None, rougeL=None)  # a baseline, which has no drafts
    frame = rows_of([generation("a"), generation("b"), copied, generation("a", **scores), failed, unread])
    frame = frame.sort("model", "example_id")
    assert frame["oracle_rouge1"].to_list() == [None, None, None, 60.0, 0.0, None]
    assert frame["oracle_sbert_cosine"].to_list() == [None, None, None, 70.0, 0.0, 10.0]
    assert frame["unread oracle_rouge1"].to_list() == [None, None, None, False, False, True]
