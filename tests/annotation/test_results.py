"""Results: shares by hand, what was not shown counts as not similar, what is missing is counted and not guessed."""

import json

import pytest
from annotated_run import csv_text

from reviewllm.annotation.answers import read_sheets
from reviewllm.annotation.judgements import JUDGEMENTS
from reviewllm.annotation.key import annotation_folder
from reviewllm.annotation.results import plain_text, read_results, summarise, write_results
from reviewllm.errors import SchemaError
from reviewllm.table_files import read_table


def _sheets(key, write, *answers, allow_partial=False):
    files = [
        write(csv_text(given, annotator=annotator), f"{annotator}.csv")
        for annotator, given in zip(key.annotators, answers, strict=False)
    ]
    return read_sheets(files, key, allow_partial=allow_partial)


def test_summarise_worked_by_hand(key, write):
    sheets = _sheets(key, write, {"p1": 1, "p2": 0, "p3": 1}, {"p1": 1, "p2": 1, "p3": 1}, {"p1": 0, "p2": 0, "p3": 1})
    results = summarise(key, sheets)
    bad, good = results.models

    # `bad` wrote p1 and p2, and its e3 is blank; `good` wrote p1 and p3, and failed on e2: 3 reviews each.
    assert bad.shares == {"annotator-01": 1 / 3, "annotator-02": 2 / 3, "annotator-03": 0 / 3}
    assert (bad.mean, bad.minimum, bad.maximum) == (pytest.approx((1 / 3 + 2 / 3 + 0) / 3), 0.0, 2 / 3)
    assert (bad.pairs, bad.shown, bad.failed, bad.blank, bad.missing) == (2 + 1, 2, 0, 1, 0)
    assert good.shares == {"annotator-01": 2 / 3, "annotator-02": 2 / 3, "annotator-03": 1 / 3}
    assert (good.mean, good.minimum, good.maximum) == (pytest.approx((2 / 3 + 2 / 3 + 1 / 3) / 3), 1 / 3, 2 / 3)
    assert (good.pairs, good.shown, good.failed, good.blank) == (2 + 1, 2, 1, 0)
    assert (results.examples, results.pairs, results.missing) == (3, 3, 0)
    # Of the 3 couples of annotators, 1, 1 and 3 agree on p1, p2 and p3; 6 of 9 answers are 1.
    observed, expected = (1 / 3 + 1 / 3 + 3 / 3) / 3, (6 / 9) ** 2 + (3 / 9) ** 2
    assert results.fleiss_kappa.value == pytest.approx((observed - expected) / (1 - expected))
    assert results.krippendorff_alpha.value == pytest.approx(1 - ((4 / 2 + 4 / 2) / 9) / (2 * 6 * 3 / (9 * 8)))


def test_summarise_counts_missing_answers_and_guesses_none(key, write):
    results = summarise(key, _sheets(key, write, {"p1": 1}, {"p2": 1}, allow_partial=True))
    bad, good = results.models

    assert bad.shares == {"annotator-01": 1 / (1 + 1), "annotator-02": 1 / (1 + 1)}  # one answered, one blank
    assert good.shares == {"annotator-01": 1 / (1 + 1), "annotator-02": None}
    assert (good.mean, good.minimum, good.maximum) == (1 / 2, 1 / 2, 1 / 2)
    assert (bad.missing, good.missing, results.missing) == (2, 3, 4)


def test_summarise_with_one_annotator_has_no_agreement(key, write):
    results = summarise(key, _sheets(key, write, {"p1": 1, "p2": 0, "p3": 1}))

    assert results.fleiss_kappa.value is None
    assert results.krippendorff_alpha.value is None
    assert (results.annotators, results.annotators_exported) == (("annotator-01",), 3)


def test_summarise_a_model_that_nobody_answered_or_that_always_failed(key, write):
    results = summarise(key, _sheets(key, write, {"p3": 1}, allow_partial=True))
    assert (results.models[0].mean, results.models[0].shares) == (None, {"annotator-01": None})

    failed = [entry.model_copy(update={"model": "bad", "reason": "failed"}) for entry in key.not_shown]
    only = key.model_copy(update={"pairs": key.pairs[2:], "not_shown": tuple(failed)})
    results = summarise(only, _sheets(only, write, {"p3": 1}))
    assert (results.models[0].mean, results.models[0].pairs, results.models[0].shown) == (0.0, 2, 0)
    assert results.models[1].mean == 1.0


def test_read_results_gives_what_write_results_wrote(key, write, tmp_path):
    sheets = _sheets(key, write, {"p1": 1, "p2": 1, "p3": 1}, {"p1": 1, "p2": 1, "p3": 1})
    assert read_results(tmp_path) is None
    results = write_results(tmp_path, key, sheets)

    assert read_results(tmp_path) == results
    text = (annotation_folder(tmp_path) / "results.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["fleiss_kappa"]["value"] is None  # all answers are equal
    assert read_table(annotation_folder(tmp_path) / "judgements.parquet", JUDGEMENTS).num_rows == 2 * (2 + 1 + 1)


def test_read_results_refuses_another_form(tmp_path):
    (tmp_path / "annotation").mkdir()
    (tmp_path / "annotation" / "results.json").write_text('{"models": []}')

    with pytest.raises(SchemaError, match=r"results\.json: "):
        read_results(tmp_path)


def test_plain_text_is_aligned_and_says_why_agreement_is_undefined(key, write):
    sheets = _sheets(key, write, {"p1": 1, "p2": 0, "p3": 1}, {"p1": 1, "p2": 1, "p3": 1})
    title, head, bad, good, kappa, alpha = plain_text(summarise(key, sheets)).split("\n")

    assert title == "Human evaluation: simple set, with ratings (2 of 3 annotators, 3 examples)"
    assert head == "  model  similar     min     max  pairs  not shown  not answered"
    assert bad == "  bad     50.0 %  33.3 %  66.7 %      3          1             0"
    assert good == "  good    66.7 %  66.7 %  66.7 %      3          1             0"
    assert kappa == f"  Fleiss' kappa: {(2 / 3 - 26 / 36) / (1 - 26 / 36):.2f} over 3 pairs (1 is perfect, 0 is chance)"
    assert alpha.startswith("  Krippendorff's alpha: 0.00")
    alone = plain_text(summarise(key, sheets[:1]))
    assert "Fleiss' kappa: undefined: it takes two annotators to agree" in alone
