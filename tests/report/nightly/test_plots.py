"""Plots: one small SVG each, the same bytes each time, also of little."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from reviewllm.report.nightly.columns import histogram
from reviewllm.report.nightly.content import Column, Drift, NightRow, Star, Taken
from reviewllm.report.nightly.plots import distribution_svg, stars_svg, trend_svg
from tests.backfill.conftest import NIGHT


def _column(*, before: int = 3) -> Column:
    random = np.random.default_rng(0)
    return Column(
        name="words",
        meaning="m",
        given=False,
        rows=9,
        mean=1.0,
        quantiles=(0.0, 1.0, 2.0),
        mean_before=None,
        drift=Drift(stability="unknown", distance=None, limit=None),
        histogram=histogram(random.normal(size=100), [random.normal(size=100) for _ in range(before)]),
    )


def _nights(count: int) -> list[NightRow]:
    counts = dict.fromkeys(("rows", "written", "failed", "prompt_tokens", "completion_tokens"), 1)
    empty = dict.fromkeys(("length_stopped", "rows_per_second", "tokens_per_second"))
    return [
        NightRow(
            **counts,
            **empty,
            date=NIGHT.replace(day=1 + number),
            fingerprint="a" if number < 2 else "b",
            compared=False,
            taken=Taken(),
            means={},
        )
        for number in range(count)
    ]


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_distribution_svg_is_small_deterministic_and_takes_the_colour_of_the_page() -> None:
    svg = distribution_svg(_column())

    assert svg == distribution_svg(_column())
    assert len(svg) < 60_000
    assert "currentColor" in svg
    assert {"words", "% of rows"} <= set(_texts(svg))


def test_distribution_svg_without_nights_before_has_no_band() -> None:
    assert distribution_svg(_column(before=0)).count("<path") < distribution_svg(_column()).count("<path")


@pytest.mark.parametrize("count", [1, 2, 15])
def test_trend_svg_always_names_this_night(count: int) -> None:
    svg = trend_svg(_nights(count), [float(number) for number in range(count)], label="mean", name="words")

    assert f"11-{count:02d}" in _texts(svg)


def test_trend_svg_of_gaps_and_of_equal_values_is_drawn() -> None:
    assert trend_svg(_nights(3), [None, None, 0.0], label="", name="a").startswith("<svg")
    assert trend_svg(_nights(3), [2.0, 2.0, 2.0], label="", name="b", least_span=1.0).startswith("<svg")


def test_stars_svg_names_both() -> None:
    stars = [Star(stars=number, rows=9, mean=number, error=0.5, mean_before=1.0, error_before=0.5) for number in (1, 2)]

    assert {"this night", "nights before"} <= set(_texts(stars_svg(stars)))
