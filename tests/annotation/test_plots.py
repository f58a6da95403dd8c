"""The paper's figure 2: one small SVG that fits the page around it, the same bytes each time."""

import re
import xml.etree.ElementTree as ET

from annotated_run import csv_text

from reviewllm.annotation.answers import read_sheets
from reviewllm.annotation.plots import annotation_plot_svg
from reviewllm.annotation.results import AnnotationResults, summarise


def _results(key, write) -> AnnotationResults:
    files = [write(csv_text({"p1": 1, "p2": 0, "p3": 1}))]
    files.append(write(csv_text({"p1": 0, "p2": 0, "p3": 1}, annotator="annotator-02"), "2.csv"))
    return summarise(key, read_sheets(files, key, allow_partial=False))


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_annotation_plot_svg_shows_means_and_names_whatever_they_are(key, write):
    results = _results(key, write)
    names = ["$x_2$ <script>alert(1)</script>", "_under & over"]
    models = [model.model_copy(update={"model": name}) for model, name in zip(results.models, names, strict=True)]
    svg = annotation_plot_svg(results.model_copy(update={"models": tuple(models)}))

    assert set(names) <= set(_texts(svg))
    assert {f"{100 * (1 / 3 + 0 / 3) / 2:.1f}", f"{100 * (2 / 3 + 1 / 3) / 2:.1f}"} <= set(_texts(svg))
    assert "<script" not in svg


def test_annotation_plot_svg_is_small_deterministic_and_takes_the_colour_of_the_page(key, write):
    svg = annotation_plot_svg(_results(key, write))

    assert svg == annotation_plot_svg(_results(key, write))
    assert svg.startswith("<svg")
    assert len(svg) < 60_000
    assert "currentColor" in svg
    assert all(name.startswith("annotation-") for name in re.findall(r'\bid="([^"]*)"', svg))


def test_annotation_plot_svg_of_a_model_without_answers_says_so(key, write):
    results = _results(key, write)
    empty = results.models[0].model_copy(update={"mean": None, "minimum": None, "maximum": None})

    assert "no answers" in _texts(annotation_plot_svg(results.model_copy(update={"models": (empty,)})))
