"""Plots: one small SVG that fits the page around it, the same bytes each time."""

import xml.etree.ElementTree as ET

from reviewllm.report.content import Cell, ScoreRow, ScoreTable
from reviewllm.report.plots import plot_svg

METRICS = ("rouge1", "rougeL", "sbert_cosine")


def _table(*models: str, split: str = "simple", half: float = 1.0) -> ScoreTable:
    rows = [
        ScoreRow(
            model=model,
            with_rating=with_rating,
            n=30,
            repeats=1,
            cells={metric: Cell(value=20.0, ci_low=20.0 - half, ci_high=20.0 + half) for metric in METRICS},
        )
        for model in models
        for with_rating in (True, False)
    ]
    return ScoreTable(number=1, split=split, metrics=METRICS, rows=tuple(rows), paper=())


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_plot_svg_is_small_deterministic_and_takes_the_colour_of_the_page():
    svg = plot_svg(_table("tiny", "tiny + adapter"))

    assert svg == plot_svg(_table("tiny", "tiny + adapter"))
    assert len(svg) < 150_000
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "<metadata" not in svg


def test_plot_svg_shows_every_row_whatever_its_name():
    hostile = ["_under", "$x^2", "<script>alert(1)</script>", "a & b"]
    svg = plot_svg(_table(*hostile))

    assert {f"{name} (w/ rating)" for name in hostile} <= set(_texts(svg))
    assert "<script" not in svg


def test_plot_svg_ids_of_two_plots_do_not_meet():
    def ids(split: str) -> set[str]:
        return {element.get("id", "") for element in ET.fromstring(plot_svg(_table("tiny", split=split))).iter()} - {""}

    assert ids("simple").isdisjoint(ids("hard"))


def test_plot_svg_takes_a_mean_outside_its_interval_by_rounding():
    assert plot_svg(_table("tiny", half=-1e-14)).startswith("<svg")


def test_plot_svg_without_rows_is_empty():
    assert plot_svg(_table()) == ""
