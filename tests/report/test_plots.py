"""Plots: small SVGs that fit the page around them, the same bytes each time, whatever models are called."""

import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from reviewllm.report.plots import comparison_svg, length_svg, plot_svg, rating_svg, slice_svg
from tests.report.parts import cell, compared, row, slice_table, table

HOSTILE = ("_under", "$x^2", "<script>alert(1)</script>", "a & b", "\u202eturned", "模型")


def _scores(*models: str, prefix: str = "simple") -> str:
    split = "simple" if prefix == "simple" else "hard"
    return plot_svg(
        table(*(row(model, 20.0, with_rating=rating) for model in models for rating in (True, False)), split=split)
    )


def _comparisons(*models: str, prefix: str = "simple") -> str:
    pairs = [compared("sbert_cosine", 2.0, "higher", other=model) for model in models]
    return comparison_svg(pairs, metric="sbert_cosine", prefix=prefix)


def _slices(*models: str, prefix: str = "simple") -> str:
    """Two at a time, since only a few are drawn."""
    return slice_svg(slice_table(*models), [(model, True) for model in models], prefix=prefix)


def _lengths(*models: str, prefix: str = "simple") -> str:
    return length_svg(dict.fromkeys(models, (1, 5, 30)), prefix=prefix)


def _ratings(*_: str, prefix: str = "simple") -> str:
    return rating_svg({"simple": {"4": 3, "4.5": 1}, "hard": {"1": 2}}, prefix=prefix)


NAMED = [_scores, _comparisons, _slices, _lengths]
Draw = Callable[..., str]


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def _ids(svg: str) -> set[str]:
    return {element.get("id", "") for element in ET.fromstring(svg).iter()} - {""}


@pytest.mark.parametrize("draw", [*NAMED, _ratings])
def test_every_plot_is_small_deterministic_and_takes_the_colour_of_the_page(draw: Draw):
    svg = draw("tiny", "tiny + adapter")

    assert svg == draw("tiny", "tiny + adapter")
    assert len(svg) < 150_000
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "<metadata" not in svg


@pytest.mark.parametrize("draw", [*NAMED, _ratings])
def test_every_plot_has_ids_that_do_not_meet_those_of_another(draw: Draw):
    simple, hard = draw("tiny", prefix="simple"), draw("tiny", prefix="hard")

    assert _ids(simple)
    assert _ids(simple).isdisjoint(_ids(hard))
    assert {f"#{name}" for name in _ids(simple)} >= {
        value for element in ET.fromstring(simple).iter() for name, value in element.items() if name.endswith("href")
    }


@pytest.mark.parametrize("draw", NAMED)
def test_every_plot_shows_each_model_whatever_its_name(draw: Draw):
    for names in (HOSTILE[:3], HOSTILE[3:]):
        svg = draw(*names)

        assert "<script" not in svg
        assert {name for name in names if any(text in (name, f"{name} (w/ rating)") for text in _texts(svg))} == set(names)


@pytest.mark.parametrize("draw", NAMED)
def test_every_plot_shortens_a_name_that_would_leave_no_room(draw: Draw):
    name = "org/a-base-of-a-long-name + " + "out/adapters/" * 20 + "reviews"
    label = name if draw is _lengths else f"{name} (w/ rating)"

    assert f"{label[:23]}…{label[-24:]}" in _texts(draw(name))


def test_every_plot_replaces_control_characters():
    assert "before\N{REPLACEMENT CHARACTER}after (w/ rating)" in _texts(_scores("before\x07after"))


def test_plots_of_nothing_are_empty():
    assert plot_svg(table()) == ""
    assert comparison_svg([], metric="sbert_cosine", prefix="p") == ""
    assert comparison_svg([compared("rouge1", 1.0, "higher")], metric="sbert_cosine", prefix="p") == ""
    assert slice_svg(slice_table("tiny"), [], prefix="p") == ""
    assert slice_svg(slice_table("tiny"), [("tiny", False)], prefix="p") == ""
    assert length_svg({}, prefix="p") == length_svg({"tiny": ()}, prefix="p") == ""
    assert rating_svg({}, prefix="p") == rating_svg({"simple": {}}, prefix="p") == ""


def test_plot_svg_takes_a_mean_outside_its_interval_by_rounding():
    assert plot_svg(table(row("tiny", 20.0, half=-1e-14))).startswith("<svg")


def test_plot_svg_draws_baselines_as_squares():
    model, rule = (plot_svg(table(row("m", 20.0, kind=kind))) for kind in ("base", "baseline"))

    assert model != rule  # and the same but for this
    assert model == plot_svg(table(row("m", 20.0, kind="endpoint")))


def test_comparison_svg_takes_one_score_and_fills_what_is_carried():
    pairs = [compared("sbert_cosine", 0.5, "no difference", other="level"), compared("rouge1", 9.0, "higher", other="no")]
    hollow = comparison_svg(pairs, metric="sbert_cosine", prefix="p")
    filled = comparison_svg([pairs[0].model_copy(update={"verdict": "higher"})], metric="sbert_cosine", prefix="p")

    assert "level (w/ rating)" in _texts(hollow)
    assert "no (w/ rating)" not in _texts(hollow)
    assert "#009e73" in filled
    assert "#009e73" not in hollow


def test_slice_svg_draws_the_first_five_that_are_asked_for():
    models = [f"m{number}" for number in range(7)]
    svg = slice_svg(slice_table(*models), [(model, True) for model in reversed(models)], prefix="p")

    assert [text for text in _texts(svg) if text.startswith("m")] == [f"m{number} (w/ rating)" for number in (6, 5, 4, 3, 2)]


def test_slice_svg_leaves_a_gap_where_a_group_is_missing():
    whole = slice_table("tiny", groups=("0", "1-4", "5+"))
    part = whole.model_copy(
        update={"rows": (whole.rows[0].model_copy(update={"cells": {"0": cell(1.0), "5+": cell(2.0)}}),)}
    )
    svg = slice_svg(part, [("tiny", True)], prefix="p")

    assert {"0", "1-4", "5+"} <= set(_texts(svg))


def test_length_svg_counts_longer_texts_at_the_end():
    assert "words of the text (longer ones at 200)" in _texts(length_svg({"tiny": (3, 5_000)}, prefix="p"))
    assert "words of the text" in _texts(length_svg({"tiny": (3, 199)}, prefix="p"))
    assert "tiny" in _texts(length_svg({"tiny": (0, 0), "silent": ()}, prefix="p"))
    assert "silent" not in _texts(length_svg({"tiny": (0, 0), "silent": ()}, prefix="p"))


def test_rating_svg_puts_stars_in_order():
    svg = rating_svg({"simple": {"5": 3, "4.5": 1}, "hard": {"1": 2}}, prefix="p")

    assert [text for text in _texts(svg) if text in ("1", "4.5", "5")][:3] == ["1", "4.5", "5"]
    assert {"simple set", "hard set"} <= set(_texts(svg))
