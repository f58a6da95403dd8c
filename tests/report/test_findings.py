"""The summary says what the comparisons carry, and no more."""

from typing import Any

import pytest

from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.comparisons import Side
from reviewllm.report.content import Compared, FigureTable, Finding, ScoreTable
from reviewllm.report.findings import findings, p_text
from tests.report.parts import SCORES, cell, compared, row, table, unread_cell

CANDIDATE = Side("tiny + adapter", True)
COPY = "own latest review"
BASE, ADAPTED = row("tiny", 10.0), row("tiny + adapter", 30.0)
RULE = row(COPY, 20.0, kind="baseline", with_rating=False)


def _all(verdict: str, difference: float = 20.0, **changes: Any) -> list[Compared]:
    return [compared(name, difference, verdict, **changes) for name in SCORES]


def _found(tables: list[ScoreTable], pairs: list[Compared], candidate: Side = CANDIDATE) -> list[Finding]:
    return list(findings(tables, [], pairs, candidate))


def test_findings_standing_counts_who_is_ahead_level_and_behind():
    pairs = [
        compared("sbert_cosine", 20.0, "higher"),
        compared("sbert_cosine", 18.0, "higher", other_with_rating=False),
        compared("sbert_cosine", 0.5, "no difference", other="gpt"),
        compared("sbert_cosine", -9.0, "lower", other="best"),
        compared("sbert_cosine", 9.0, "too few users", other="few"),
        compared("rouge1", 9.0, "higher"),  # another score
        compared("sbert_cosine", 9.0, "higher", model="tiny"),  # not the candidate's
        compared("sbert_cosine", 9.0, "higher", split="hard"),  # of the other set
    ]
    standing = _found([table(row("tiny", 31.0, 10.0, 10.0), ADAPTED)], pairs)[0]

    assert standing.claim == (
        "On the simple set (100 purchases), in sbert_cosine, tiny + adapter (w/ rating) is ahead of 2 of 5 other ways to "
        "write, not to be told from 2, and behind 1."
    )
    assert standing.verdict == "none"
    assert standing.evidence == (
        "highest means: tiny (w/ rating) (ROUGE-1 31.00); tiny + adapter (w/ rating) (ROUGE-L 30.00, METEOR (no synonyms) 30.00, "
        "sbert_cosine 30.00)",
    )


def test_findings_candidate_alone_is_compared_with_nothing():
    (standing,) = _found([table(row("tiny + adapter", 30.0, n=1))], [])

    assert (standing.claim, standing.verdict) == (
        "On the simple set (1 purchase) tiny + adapter (w/ rating) is compared with nothing.",
        "unknown",
    )


@pytest.mark.parametrize(
    ("verdict", "told", "words"),
    [
        ("higher", "better", "beats its base tiny on every score."),
        ("lower", "worse", "is behind its base tiny on every score."),
        ("no difference", "same", "shows no difference from its base tiny."),
        ("too few users", "unknown", "cannot be told apart from its base tiny: there are too few users."),
    ],
)
def test_findings_against_the_base_where_all_scores_agree(verdict, told, words):
    finding = _found([table(BASE, ADAPTED)], _all(verdict))[1]

    assert (finding.verdict, finding.claim) == (told, f"On the simple set, tiny + adapter (w/ rating) {words}")


def test_findings_say_which_scores_differ():
    pairs = [
        compared("rouge1", 10.0, "higher"),
        compared("rougeL", -5.0, "lower"),
        compared("sbert_cosine", 0.5, "no difference"),
        compared("sentiment_agreement", 50.0, "higher"),  # in no table, so in no claim about all scores
    ]
    finding = _found([table(BASE, ADAPTED)], pairs)[1]

    assert finding.verdict == "mixed"
    assert finding.claim.endswith(
        "against its base tiny: higher on ROUGE-1; lower on ROUGE-L; no difference on sbert_cosine."
    )
    assert len(finding.evidence) == 3


def test_findings_evidence_gives_difference_interval_effect_and_p():
    pairs = [
        compared("rouge1", 20.0, "higher", p_corrected=0.0002),
        compared("rougeL", -0.5, "no difference", effect_size=None),
        compared("sbert_cosine", 1.0, "too few users", effect_size=-0.25),
    ]

    assert _found([table(BASE, ADAPTED)], pairs)[1].evidence == (
        "ROUGE-1 +20.00 [+19.00, +21.00] against tiny (w/ rating), effect size +0.50, corrected p < 0.001",
        "ROUGE-L -0.50 [-1.50, +0.50] against tiny (w/ rating), corrected p 0.012: no difference",
        "sbert_cosine +1.00 [+0.00, +2.00] against tiny (w/ rating), effect size -0.25, corrected p 0.012: too few users",
    )


def test_findings_against_an_endpoint_names_it_with_its_prompt():
    hosted = row("gpt", 40.0, kind="endpoint")
    pairs = [*_all("higher"), *_all("lower", -10.0, other="gpt")]
    _, _, against = _found([table(BASE, ADAPTED, hosted, row("gpt", 1.0, kind="endpoint", with_rating=False))], pairs)

    assert (against.verdict, against.claim) == (
        "worse",
        "On the simple set, tiny + adapter (w/ rating) is behind gpt (w/ rating) on every score.",
    )


def test_findings_models_without_rows_in_common_cannot_be_compared():
    finding = _found([table(BASE, ADAPTED)], [])[1]

    assert (finding.verdict, finding.claim.endswith("its base tiny: the two have no rows in common.")) == ("unknown", True)


def test_findings_ahead_of_every_baseline():
    finding = _found([table(ADAPTED, RULE)], _all("higher", other=COPY, other_with_rating=False))[1]

    assert (finding.verdict, finding.evidence) == ("better", ())
    assert finding.claim.endswith("tiny + adapter (w/ rating) beats every text copied by rule on every score.")


def test_findings_baselines_that_are_ahead_or_level_are_named():
    pairs = [
        compared("rouge1", -3.0, "lower", other=COPY, other_with_rating=False),
        compared("rougeL", -2.0, "lower", other=COPY, other_with_rating=False),
        compared("sbert_cosine", 0.0, "no difference", other=COPY, other_with_rating=False),
    ]
    behind = _found([table(ADAPTED, RULE)], pairs)[1]
    level = _found([table(ADAPTED, RULE)], [*_all("higher", other=COPY, other_with_rating=False)[:2], pairs[2]])[1]

    assert (behind.verdict, len(behind.evidence)) == ("worse", 2)
    assert behind.claim.endswith(
        "is ahead in 0 of 3 comparisons, not to be told apart in 1, and behind in 2: behind the own latest review (w/o rating) "
        "(ROUGE-1, ROUGE-L)."
    )
    assert (level.verdict, len(level.evidence)) == ("mixed", 1)
    assert level.claim.endswith("is ahead in 2 of 3 comparisons, not to be told apart in 1, and behind in 0.")


def test_findings_without_baselines_say_nothing_of_them():
    assert not [finding for finding in _found([table(BASE, ADAPTED)], _all("higher")) if "by rule" in finding.claim]


def test_findings_baselines_with_too_few_users_are_not_told_apart():
    pairs = _all("too few users", other=COPY, other_with_rating=False)
    finding = _found([table(ADAPTED, RULE)], pairs)[1]

    assert finding.verdict == "unknown"
    assert finding.claim.endswith("cannot be told apart from texts copied by rule: there are too few users.")


def test_findings_ratings_are_judged_on_the_hard_set_alone():
    twin = row("tiny + adapter", 20.0, with_rating=False)
    itself = [
        pair
        for split in ("simple", "hard")
        for pair in _all("higher", 10.0, other="tiny + adapter", other_with_rating=False, split=split)
    ]
    found = _found([table(ADAPTED, twin), table(ADAPTED, twin, split="hard")], itself)

    assert [finding.claim for finding in found if "w/o rating" in finding.claim] == [
        "On the hard set, tiny + adapter (w/ rating) beats tiny + adapter (w/o rating) on every score."
    ]


def test_findings_ratings_of_a_candidate_without_them_are_counted_once():
    """It is compared with its twin as the candidate, and the twin with it: the same figures, turned around."""
    twin = {"other": "tiny + adapter", "split": "hard"}
    turned = [*_all("lower", -10.0, with_rating=False, **twin), *_all("higher", 10.0, other_with_rating=False, **twin)]
    rows = [ADAPTED, row("tiny + adapter", 20.0, with_rating=False)]
    finding = _found([table(*rows, split="hard")], turned, Side("tiny + adapter", False))[-1]

    assert (finding.verdict, len(finding.evidence)) == ("better", 4)
    assert finding.claim.endswith("tiny + adapter (w/ rating) beats tiny + adapter (w/o rating) on every score.")


def test_findings_candidate_without_its_twin_cannot_tell_about_ratings():
    finding = _found([table(BASE, ADAPTED, split="hard")], _all("higher", split="hard"))[-1]

    assert finding.verdict == "unknown"
    assert finding.claim.endswith("cannot be told: it was evaluated w/ rating only.")


def test_findings_split_without_rows_says_so():
    assert [finding.claim for finding in _found([table(split="hard")], [])] == [
        "The hard set has no rows, so nothing can be said about it."
    ]


def _polite(*shares: tuple[str, bool, float]) -> list[Finding]:
    kinds = {"tiny": "base", REAL.name: "baseline", COPY: "baseline"}
    rows = [
        row(model, 0.0, kind=kinds.get(model, "adapter"), with_rating=rating, cells={"polite": cell(share, n=30)})
        for model, rating, share in shares
    ]
    figures = FigureTable(split="hard", figures=("polite",), rows=tuple(rows))
    return list(findings([], [figures, figures.model_copy(update={"split": "simple"})], [], CANDIDATE))


@pytest.mark.parametrize(
    ("outcome", "verdict", "words"),
    [
        (
            "lower",
            "better",
            "are likelier to tiny + adapter (w/ rating) than to its base tiny (3.500 against 3.800 nats a token)",
        ),
        ("higher", "worse", "are less likely to tiny + adapter (w/ rating) than to its base tiny"),
        (
            "no difference",
            "same",
            "are as likely to tiny + adapter (w/ rating) as to its base tiny, as far as the data tell",
        ),
        ("too few users", "unknown", "there are too few users"),
    ],
)
def test_findings_likelihood_is_better_where_it_is_lower(outcome: str, verdict: str, words: str) -> None:
    told = tuple(
        one.model_copy(update={"cells": {"reference_nll": cell(value)}}) for one, value in ((BASE, 3.8), (ADAPTED, 3.5))
    )
    likelihood = FigureTable(split="simple", figures=("reference_nll", "reference_nll_per_byte"), rows=told)
    pairs = [
        compared("reference_nll", -0.3, outcome, half=0.1),
        compared("reference_nll", -0.5, "lower", other_with_rating=False),
        compared("reference_nll_per_byte", -0.1, outcome),
    ]
    (found,) = [
        one
        for one in findings([table(BASE, ADAPTED)], [likelihood], pairs, CANDIDATE)
        if one.claim.startswith("On the simple set, the real reviews are")
    ]
    assert found.verdict == verdict
    assert words in found.claim
    assert found.evidence[0].startswith("NLL of the real review -0.300 [-0.400, -0.200] against tiny (w/ rating)")


def test_findings_polite_stands_beside_the_real_reviews():
    (finding,) = _polite(("tiny", True, 90.0), ("tiny + adapter", True, 40.4), (COPY, False, 70.0), (REAL.name, False, 25.0))

    assert finding.claim == (
        "Of 30 purchases of 1 or 2 stars, tiny + adapter (w/ rating) answers 40 % with a text that sounds positive; "
        "of the real reviews 25 % sound so."
    )
    assert finding.evidence == ("polite: tiny (w/ rating) 90 %",)
    assert _polite(("tiny + adapter", True, 40.0), (REAL.name, False, 25.0))[0].evidence == ()


def test_findings_polite_needs_the_candidate_and_the_real_reviews():
    assert _polite(("tiny", True, 90.0), (REAL.name, False, 25.0)) == []
    assert _polite(("tiny + adapter", True, 90.0), ("tiny", True, 25.0)) == []


def test_findings_take_names_of_any_kind():
    """A brace in the name of a model is a brace."""
    candidate = Side("a{0}{b", True)
    pairs = _all("higher", model=candidate.model, other="{}}")
    found = _found([table(row("{}}", 10.0, kind="base"), row(candidate.model, 30.0))], pairs, candidate)

    assert found[1].claim == "On the simple set, a{0}{b (w/ rating) beats its base {}} on every score."


@pytest.mark.parametrize(
    ("p", "text"), [(0.0, "< 0.001"), (0.00099, "< 0.001"), (0.001, "0.001"), (0.0456, "0.046"), (0.5, "0.5"), (1.0, "1")]
)
def test_p_text_gives_two_digits(p, text):
    assert p_text(p) == text


def _unread(*names: str) -> list[Any]:
    """The base, the candidate and a rule, whose scores of these names are not given."""
    missing = dict.fromkeys(names, unread_cell(90, n=10))
    return [one.model_copy(update={"cells": one.cells | missing}) for one in (BASE, ADAPTED, RULE)]


def test_findings_do_not_speak_of_scores_that_cannot_read_the_references():
    pairs = [
        compared("sbert_cosine", 20.0, "higher"),
        compared("sbert_cosine", 9.0, "higher", other=COPY, other_with_rating=False),
    ]
    standing, base, rule = _found([table(*_unread("rouge1", "rougeL", "meteor"))], pairs)

    assert standing.evidence == ("highest means: tiny + adapter (w/ rating) (sbert_cosine 30.00)",)
    assert base.claim == (
        "On the simple set, tiny + adapter (w/ rating) beats its base tiny (without ROUGE-1 and ROUGE-L and METEOR (no "
        "synonyms), which cannot score the references) on every score."
    )
    assert rule.claim.endswith("beats every text copied by rule on every score that can read the references.")


def test_findings_of_a_set_that_no_score_can_read_are_that_nothing_is_known():
    found = _found([table(*_unread(*SCORES), split="hard")], [])

    assert {finding.verdict for finding in found} == {"unknown"}
    assert found[0].claim == (
        "On the hard set (100 purchases) sbert_cosine says nothing: 90 of 100 references cannot be scored by this."
    )
    assert [finding.claim for finding in found[1:]] == [
        "On the hard set, tiny + adapter (w/ rating) cannot be compared with its base tiny: no score can read the references.",
        "Whether ratings help tiny + adapter on the hard set cannot be told: no score can read the references.",
    ]


def test_findings_of_texts_that_are_not_english_say_so():
    rows = tuple(
        row(name, 1.0).model_copy(update={"cells": {"polite": unread_cell(8, n=2), "hallucination": unread_cell(20, n=1)}})
        for name in ("tiny + adapter", REAL.name)
    )
    real = rows[1].model_copy(update={"with_rating": False})
    figures = FigureTable(split="hard", figures=("polite", "hallucination"), rows=(rows[0], real))
    polite, claims = findings([], [figures], [], CANDIDATE)

    assert (polite.verdict, polite.claim) == (
        "unknown",
        "How many texts for 1 or 2 stars sound positive cannot be told: 8 of 10 texts, and 8 of 10 real reviews cannot be scored, "
        "as they are not English.",
    )
    assert claims.claim.startswith(
        "How much of what texts of the hard set claim is not in the product's data cannot be told"
    )
