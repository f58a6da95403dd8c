"""Case studies: each rule by hand, and none where it does not apply."""

from reviewllm.evaluation.comparisons import Side
from reviewllm.report.cases import case_studies
from reviewllm.report.content import Example
from tests.report.parts import output, shown

CANDIDATE = Side("ours", True)
GAIN, LOSS = "Largest gain over its base", "Largest loss against its base"
POLITE = "Most polite to a dissatisfied customer"
COPIED = "Longest run of words copied from the user's history"


def _chosen(*examples: Example, base: str | None = "tiny") -> dict[str, tuple[str, str]]:
    """The id of the example and the figure, by rule."""
    return {case.rule: (case.example.example_id, case.figure) for case in case_studies(examples, CANDIDATE, base)}


def test_case_studies_best_and_worst_are_by_nearness():
    examples = [shown(name, output("ours", value)) for name, value in [("a", 40.0), ("b", 90.0), ("c", 10.0)]]

    assert _chosen(*examples) == {"Best": ("b", "sbert_cosine 90.0"), "Worst": ("c", "sbert_cosine 10.0")}


def test_case_studies_gain_and_loss_are_counted_from_the_base():
    pairs = {"a": (50.0, 45.0), "b": (40.0, 10.0), "c": (20.0, 60.5), "d": (30.0, 31.0)}
    examples = [shown(name, output("tiny", base), output("ours", mine)) for name, (mine, base) in pairs.items()]
    found = _chosen(*examples)

    assert found[GAIN] == ("b", f"sbert_cosine {40.0 - 10.0:+.1f}")
    assert found[LOSS] == ("c", f"sbert_cosine {20.0 - 60.5:+.1f}")


def test_case_studies_call_no_gain_a_loss():
    ahead = [shown("a", output("tiny", 10.0), output("ours", 30.0)), shown("b", output("tiny", 10.0), output("ours", 20.0))]
    behind = [shown("a", output("tiny", 30.0), output("ours", 10.0))]
    level = [shown("a", output("tiny", 30.0), output("ours", 30.0))]

    assert (_chosen(*ahead)[GAIN], LOSS in _chosen(*ahead)) == (("a", "sbert_cosine +20.0"), False)
    assert (_chosen(*behind)[LOSS], GAIN in _chosen(*behind)) == (("a", "sbert_cosine -20.0"), False)
    assert {GAIN, LOSS}.isdisjoint(_chosen(*level))


def test_case_studies_without_a_base_count_no_gain():
    examples = [shown("a", output("tiny", 10.0), output("ours", 30.0))]
    unlike = output("tiny", 10.0).model_copy(update={"with_rating": False})

    assert list(_chosen(*examples, base=None)) == ["Best", "Worst"]
    assert list(_chosen(shown("a", unlike, output("ours", 30.0)))) == ["Best", "Worst"]


def test_case_studies_most_polite_is_sought_among_one_and_two_stars():
    examples = [
        shown("satisfied", output("ours", 1.0, sentiment=99.0), rating=3.0),
        shown("angry", output("ours", 1.0, sentiment=-60.0), rating=1.0),
        shown("cross", output("ours", 1.0, sentiment=55.0), rating=2.0),
    ]

    assert _chosen(*examples)[POLITE] == ("cross", "sentiment +55")
    assert POLITE not in _chosen(examples[0])


def test_case_studies_longest_copied_run():
    examples = [shown(name, output("ours", 1.0, copied_words=count)) for name, count in [("a", 4.0), ("b", 11.0)]]

    assert _chosen(*examples)[COPIED] == ("b", "11 words")
    assert COPIED not in _chosen(shown("a", output("ours", 1.0, copied_words=0.0)))
    assert COPIED not in _chosen(shown("a", output("ours", 1.0, copied_words=None)))


def test_case_studies_longest_run_copied_from_others():
    examples = [shown(name, output("ours", 1.0, copied_from_others=count)) for name, count in [("a", 4.0), ("b", 11.0)]]

    assert _chosen(*examples)["Longest run of words copied from another customer"] == ("b", "11 words")


def test_case_studies_never_choose_a_failed_text():
    scores = {"sentiment": 100.0, "copied_words": 50.0}
    failed = shown("failed", output("ours", 0.0, review=None, **scores), output("tiny", 90.0), rating=1.0)
    base_failed = shown("base failed", output("ours", 50.0), output("tiny", 10.0, review=None))

    assert _chosen(failed) == {}
    assert _chosen(failed, base_failed) == {
        "Best": ("base failed", "sbert_cosine 50.0"),
        "Worst": ("base failed", "sbert_cosine 50.0"),
    }


def test_case_studies_of_equals_take_the_first():
    examples = [shown(name, output("tiny", 10.0), output("ours", 30.0)) for name in ("a", "b")]

    assert {example_id for example_id, _ in _chosen(*examples).values()} == {"a"}


def test_case_studies_without_texts_of_the_candidate_are_none():
    other = output("ours", 30.0).model_copy(update={"with_rating": False})

    assert case_studies([], CANDIDATE, "tiny") == ()
    assert case_studies([shown("a", output("tiny", 10.0), other)], CANDIDATE, "tiny") == ()
