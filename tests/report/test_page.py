"""The page: hostile text stays text, missing parts say so, nothing is loaded and one script runs; test_browse.py opens it."""

import base64
import hashlib
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import reviewllm.report.page as module
from reviewllm.annotation.agreement import Agreement
from reviewllm.annotation.results import AnnotationResults
from reviewllm.evaluation.results import Cost
from reviewllm.report.content import (
    Backfill,
    Case,
    Compared,
    Doubt,
    Entry,
    Example,
    FigureTable,
    Finding,
    GeneratedReview,
    Output,
    Prompt,
    Report,
    Step,
)
from reviewllm.report.page import flatten, render_page, write_report
from tests.report.parts import SCORES, cell, compared, output, row, shown, slice_table, table, unread_cell

VOID = {"meta", "link", "br", "img", "hr", "input"}
NOW = datetime(2026, 1, 3, 4, 5, tzinfo=UTC)
EMPTY = Report(title="Nothing yet", created_at=NOW, run="none")
SCRIPT = (Path(module.__file__).parent / "browse.js").read_text(encoding="utf-8")
PARTS = ["summary", "tables", "likelihood", "comparisons", "figures", "slices", "human", "cases", "examples", "backfill"]
PARTS += ["steps", "configuration", "limits"]
HOSTILE = [
    "<script>alert(1)</script>",
    "</details></p></section><h1>mine</h1>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "{{ 7 * 7 }} {% raw %}",
    "\u202eturned \u2066\u2069\u2069",
    "before\x00after",
    "long " * 20_000,
]


class _Outline(HTMLParser):
    """Collects tags, attributes, ids, headings and text, and checks that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _words(page: str) -> str:
    return " ".join(_Outline(page).text.split())


def _hostile_example(text: str) -> Example:
    written = Output(model=text, with_rating=True, review=text, error=None, scores={"rouge1": None, text: 1.0})
    failed = Output(model=text, with_rating=False, review=None, error=text, scores={})
    return Example(
        example_id=text,
        split="hard",
        category=text,
        title=text,
        rating=1.5,
        reference=text,
        reviews_of_user=9,
        history=(Entry(title=text, rating=1.0, review=text),),
        prompts=(Prompt(with_rating=True, prompt=text),),
        outputs=(written, failed),
    )


def _hostile_report(text: str) -> Report:
    """Hostile text wherever there is no plot of it."""
    night = {"folder": text, "model": text, "adapter": text, "fingerprint": text, "rows": 1, "failed": 0}
    night |= {"prompt_tokens": 1, "completion_tokens": 1, "seconds": 1.0}
    sample = GeneratedReview(example_id=text, item_id=text, category=text, rating=1.0, review=text)
    return EMPTY.model_copy(
        update={
            "title": text,
            "run": text,
            "findings": (Finding(claim=text, verdict="better", evidence=(text,)),),
            "examples": (_hostile_example(text),),
            "backfill": Backfill.model_validate({**night, "samples": (sample,)}),
            "steps": (Step(step=text, rows_in=1, rows_out=1, seconds=1.0, counts={text: 1}),),
            "config": {text: {text: {text: text}}},
            "versions": {text: text},
            "limits": (text,),
            "responsible_use": text,
        }
    )


def _hostile_plots(report: Report, text: str) -> Report:
    """A report in which every model is called `text`."""
    rows = (row(text, 10.0, kind="base"), row(text, 20.0, with_rating=False, kind="baseline"))
    figures = FigureTable(split="simple", figures=("polite",), rows=(row(text, 1.0, cells={"polite": cell(1.0)}),))
    pairs: tuple[Compared, ...] = (compared("sbert_cosine", 1.0, "higher", model=text, other=text),)
    models = [model.model_copy(update={"name": text, "model": text, "adapter": text}) for model in report.evaluation.models]
    spent = {text: Cost(requests=1, prompt_tokens=1, completion_tokens=1, cost=0.5, without_usage=2)}
    head = report.evaluation.model_copy(
        update={"models": models, "candidate": text, "costs": spent, "run": text, "examples_digest": text}
    )
    nobody = Agreement(value=None, reason=text, pairs=0)
    people = AnnotationResults(
        export_id=text,
        exported_at=NOW,
        split="simple",
        with_rating=True,
        seed=0,
        annotators=(text,),
        annotators_exported=1,
        examples=1,
        pairs=1,
        missing=1,
        models=(),
        fleiss_kappa=nobody,
        krippendorff_alpha=nobody,
    )
    changes = {"tables": (table(*rows),), "figures": (figures,), "comparisons": pairs, "lengths": {text: (1, 2)}}
    changes |= {"slices": (slice_table(text),), "evaluation": head, "human": people}
    changes |= {"cases": (Case(rule=text, figure=text, example=_hostile_example(text)),)}
    return _hostile_report(text).model_copy(update=changes)


def _assert_text_alone(page: str, text: str, *, least: int) -> None:
    outline = _Outline(page)

    assert outline.tags.count("script") == 1
    assert not {"img", "iframe", "object", "base"} & set(outline.tags)
    assert outline.tags.count("h1") == 1
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name == "autofocus"]
    assert outline.text.count(text.replace("\x00", "\N{REPLACEMENT CHARACTER}")) >= least
    assert "\x00" not in page


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render_page(report)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_render_page_shows_hostile_text_as_text(text):
    _assert_text_alone(render_page(_hostile_report(text)), text, least=35)


def test_render_page_shows_hostile_names_of_models_as_text(report):
    text = HOSTILE[0] + HOSTILE[3] + HOSTILE[4] + "$x^2"
    _assert_text_alone(render_page(_hostile_plots(report, text)), text, least=70)


@pytest.mark.parametrize("text", HOSTILE[:6], ids=range(6))
def test_render_page_escapes_what_examples_are_chosen_by(text):
    outline = _Outline(render_page(_hostile_report(text)))
    by_name = [value for name, value in outline.attributes if name == "data-category"]

    assert by_name == [text]
    assert ("value", text) in outline.attributes  # of its option
    assert {name for name, _ in outline.attributes if name.startswith("data-")} == {
        f"data-{name}" for name in ("split", "rating", "category", "score", "gain", "loss")
    }


def test_render_page_loads_nothing_and_allows_its_one_script_alone(page):
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    policy += "; base-uri 'none'; form-action 'none'"
    links = [value or "" for name, value in _Outline(page).attributes if name in ("src", "href", "xlink:href", "action")]

    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    assert page.count("<script") == page.count(f"<script>{SCRIPT}</script>") == 1
    assert page.index("Content-Security-Policy") < page.index("<style")
    assert [link for link in links if not link.startswith(("#", "data:,"))] == []
    assert re.findall(r"@import|url\((?!#)", page) == []
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|eval|fetch|XMLHttp|import\(", SCRIPT)


def test_render_page_has_headings_in_order_and_every_id_once(page):
    outline = _Outline(page)
    levels = [int(tag[1]) for tag in outline.tags if re.fullmatch("h[1-6]", tag)]
    ids = [value for name, value in outline.attributes if name == "id"]
    labels = {value for name, value in outline.attributes if name == "aria-labelledby"}

    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    assert len(ids) == len(set(ids))
    assert ("lang", "en") in outline.attributes
    assert outline.tags.count("table") == outline.tags.count("caption")
    assert outline.tags.count("th") == sum(name == "scope" for name, _ in outline.attributes)
    assert labels <= set(ids)
    assert re.findall(r'<h2 id="([^"]*)"', page) == re.findall(r'<li><a href="#([^"]*)"', page) == PARTS


def test_render_page_shows_every_part_and_marks_what_is_generated(report, page):
    text = _words(page)

    assert page == render_page(report)
    # Two score tables, a comparison for each set, lengths and stars; no slice has two groups.
    assert page.count("<svg") == 2 + 2 + 2
    for words in (
        "Made on 2026-01-03 04:05 UTC",
        "beats its base tiny on every score",
        "Texts copied by rule, without a model own latest review (w/o rating) 20.00",
        "As reported in the paper, Llama-3-8B, other sample",
        "All 240 generations of the models succeeded.",
        f"Holm's correction over all {len(report.comparisons)} comparisons of this run",
        "tiny + adapter (w/ rating) – tiny (w/ rating)",
        "What these figures are worth",
        "There is no slice with more than one group.",
        "Nobody was asked in this run.",
        "Largest gain over its base: sbert_cosine +20.0",
        "Reference of hard-7.",
        "Prompt of hard-7, False.",
        "3, of which 1 failed",
        "Never publish a generated review as a customer's own words without that customer.",
    ):
        assert words in text
    assert '<th scope="row">engine.max_model_len</th><td>512</td>' in page
    # 2 texts of the base and 2 of the adapter for each example and each case, and 2 of the night; none of the baseline.
    assert text.count("generated text") == 4 * (60 + len(report.cases)) + 2


def test_render_page_draws_slices_and_what_people_say(report):
    people = _hostile_plots(report, "ours").human
    slices = (slice_table("tiny"), slice_table("tiny").model_copy(update={"slice": "category"}))
    page = render_page(EMPTY.model_copy(update={"evaluation": report.evaluation, "slices": slices, "human": people}))

    assert page.count("<svg") == 1  # of people; no model of the slices is asked as the candidate is
    assert "1 of 1 annotators judged" in _words(page)
    assert "Simple set, by stars: sbert_cosine" in _words(page)
    tables = (table(row("tiny", 10.0), row("tiny + adapter", 20.0)),)
    drawn = render_page(EMPTY.model_copy(update={"evaluation": report.evaluation, "slices": slices, "tables": tables}))
    assert drawn.count("<svg") == 1 + 1  # of the table and of the stars; categories can be too many


def test_render_page_shows_the_spread_over_repeats(report):
    figures = {name: cell(10.0).model_copy(update={"sd": 1.25}) for name in SCORES}
    rows = (row("tiny", 5.0), row("tiny + adapter", 10.0, repeats=5, cells=figures))
    text = _words(render_page(EMPTY.model_copy(update={"tables": (table(*rows),)})))

    assert "(100 rows, 5 repeats)" in text
    assert "±: standard deviation over the repeats" in text
    assert "tiny + adapter (w/ rating) 5 repeats * 10.00 ±1.25 [9.00, 11.00]" in text
    assert "tiny (w/ rating) 5.00 [4.00, 6.00]" in text


def test_render_page_of_an_example_shows_newest_history_failures_and_empty_texts(report):
    history = tuple(Entry(title=f"Thing {number}", rating=4.5, review="Fine.") for number in (3, 4))
    chosen = output("other", 1.0).model_copy(update={"chosen": "of 8 drafts: the only one that passed"})
    outputs = (output("tiny", None, review=None), output("tiny + adapter", 0.0, review=" "), chosen)
    example = shown("e", *outputs, reviews_of_user=7, history=history)
    text = _words(render_page(EMPTY.model_copy(update={"examples": (example, shown("new"))})))

    assert "The user's 7 earlier reviews Thing 4, 4.5 of 5 stars Fine. Thing 3, 4.5 of 5 stars" in text
    assert "Older ones are not shown." in text
    assert "by others" not in text
    assert "Failed, counted as 0: too long" in text
    assert "An empty text." in text
    assert text.count("Chosen of") == text.count("Chosen of 8 drafts: the only one that passed.") == 1
    assert "A new user: there is none." in text
    assert "No model has answered this example." in text


def test_render_page_of_an_example_shows_what_others_wrote():
    others = (Entry(title="Pick", rating=2.0, review="Too <soft>."),)
    example = shown("e", output("tiny", 1.0), item_evidence=others, neighbour_evidence=())
    text = _words(render_page(EMPTY.model_copy(update={"examples": (example,)})))

    assert "1 earlier review of the product, by others Pick, 2 of 5 stars Too <soft>." in text
    assert "0 earlier reviews of its category by customers who bought alike, by others There is none." in text


def test_render_page_gives_examples_the_order_of_the_candidate(report):
    gains = [output("tiny", 30.0), output("tiny + adapter", 20.5)]
    alone, failed = [output("tiny + adapter", 20.0)], [output("tiny", 1.0), output("tiny + adapter", None, review=None)]
    examples = tuple(shown(name, *outputs) for name, outputs in (("a", gains), ("b", alone), ("c", failed)))
    attributes = _Outline(render_page(EMPTY.model_copy(update={"examples": examples, "evaluation": report.evaluation})))
    found = {
        key: [value for name, value in attributes.attributes if name == f"data-{key}"] for key in ("score", "gain", "loss")
    }

    assert found == {
        "score": ["20.5", "20.0", ""],
        "gain": [f"{20.5 - 30.0}", "", ""],
        "loss": [f"{30.0 - 20.5}", "", ""],
    }


def test_render_page_says_how_many_of_the_evaluated_it_holds(report):
    assert "1 of the 60 evaluated purchases are in this page" in _words(
        render_page(EMPTY.model_copy(update={"examples": (shown("e"),), "evaluated": 60}))
    )


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"failed": 7, "blank": 0}, "7 of 1,200 generations of the models failed; each counts as 0"),
        ({"failed": 7, "blank": 3}, "failed, 3 of them because the model wrote nothing; each counts as 0"),
        ({"failed": 0, "blank": 0}, "All 1,200 generations of the models succeeded."),
    ],
)
def test_render_page_counts_failed_generations_in_a_sentence(counts, words):
    assert words in _words(render_page(EMPTY.model_copy(update={"generations": 1_200, **counts})))


def test_render_page_of_nothing_says_what_is_missing():
    page = render_page(EMPTY)
    text = _words(page)

    for words in (
        "this run holds no evaluation. jobs/evaluate.py makes one.",
        "There are no tables",
        "One model alone cannot be compared.",
        "No text was written, so there is nothing to measure.",
        "There is no slice with more than one group.",
        "Nobody was asked in this run.",
        "There is no text to choose from.",
        "No examples can be shown",
        "No published night was found under generations/. jobs/backfill.py publishes one.",
        "The steps of this run were not recorded",
        "The configuration of this run was not recorded",
        "The versions were not recorded",
    ):
        assert words in text
    assert re.findall(r'<h2 id="([^"]*)"', page) == PARTS
    assert "<form" not in page
    assert "<svg" not in page


def test_render_page_split_without_rows_says_so():
    text = _words(render_page(EMPTY.model_copy(update={"tables": (table(split="hard"),)})))

    assert "The hard set has no rows in this run, so there is no table and no plot." in text


def test_flatten_keeps_an_empty_mapping():
    assert list(flatten({"a": {}, "b": {"c": None, "d": True}})) == [("a", "{}"), ("b.c", "null"), ("b.d", "true")]


def test_write_report_writes_both_files_and_nothing_else(report, page, tmp_path):
    written, data = write_report(report, tmp_path / "report")

    assert written.read_text(encoding="utf-8") == page
    assert Report.model_validate_json(data.read_text(encoding="utf-8")) == report
    assert sorted(path.name for path in written.parent.iterdir()) == ["index.html", "metrics.json"]


def test_render_page_marks_doubted_claims_and_nothing_else(report):
    text = "It is <b>red</b> & weighs 9 lb, really."
    at = [text.index("red"), text.index("9 lb")]
    doubts = (
        Doubt(start=at[0], end=at[0] + 3, kind="colour", verdict="contradicted"),
        Doubt(start=at[1], end=at[1] + 4, kind="quantity", verdict="unsupported"),
    )
    answer = output("tiny", 50.0, review=text).model_copy(update={"doubts": doubts})
    example = shown("marked", answer).model_copy(update={"attributes": {"color": "<i>blue</i>"}})
    page = render_page(report.model_copy(update={"examples": (example,), "cases": ()}))
    assert (
        'It is &lt;b&gt;<mark class="contradicted" title="colour: contradicted">red<sup aria-hidden="true">≠</sup>' in page
    )
    assert '<span class="unseen"> (contradicted)</span></mark>&lt;/b&gt; &amp; weighs <mark class="unsupported"' in page
    assert "</mark>, really.</p>" in page
    assert "&lt;i&gt;blue&lt;/i&gt;" in page


def test_render_page_says_what_cannot_be_scored_in_place_of_a_number():
    missing = dict.fromkeys(SCORES, unread_cell(1990, n=10))
    rows = [one.model_copy(update={"cells": one.cells | missing}) for one in (row("tiny", 1.0), row("ours", 2.0))]
    figures = rows[0].model_copy(update={"cells": {"polite": unread_cell(7, n=1), "words": cell(12.5)}})
    sliced = slice_table("ours")
    sliced = sliced.model_copy(
        update={"rows": (sliced.rows[0].model_copy(update={"cells": {"4": unread_cell(33, n=1), "5": cell(20.0)}}),)}
    )
    report = EMPTY.model_copy(
        update={
            "tables": (table(*rows),),
            "figures": (FigureTable(split="simple", figures=("polite", "words"), rows=(figures,)),),
            "slices": (sliced,),
        }
    )
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", render_page(report)))

    assert text.count("1,990 of 2,000 cannot be scored") == 2 * 4
    assert "Nothing is compared: no score can read the texts of several models" in text
    assert "ROUGE-1: 1,990 of 2,000 references cannot be scored by this; --rouge-words unicode" in text
    assert "7 of 8 cannot be scored 12.5 [11.5, 13.5]" in text
    assert "33 of 34 cannot be scored 20.00" in text
    assert "* " not in text[text.index("Model ROUGE-1") : text.index("As reported in the paper")]
