"""The page of a night: hostile text stays text, every part is there, a real browser opens it in every light and width."""

import datetime as dt
import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from browser import open_page

from reviewllm.place import Place, below
from reviewllm.report.nightly.collect import collect_night
from reviewllm.report.nightly.content import NightReport
from reviewllm.report.nightly.page import render_night, write_night
from tests.backfill.conftest import NIGHT
from tests.report.nightly.conftest import Shop, failed, texts

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

MORNING = dt.datetime(2026, 11, 22, 7, tzinfo=dt.UTC)
PARTS = ["summary", "counts", "failures", "took", "identity", "columns", "nights", "stars", "texts", "rules"]
HOSTILE = "<script>document.title = 'run'</script></section>{{ 7 * 7 }}\x00\u202e" + "long" * 200


@pytest.fixture
def report(week: Callable[..., Shop]) -> NightReport:
    """A night with hostile texts, messages and names, that drifted."""
    shop = week(nights=2)
    rows = [row | {"review": HOSTILE, "item_id": HOSTILE, "category": HOSTILE} for row in texts(400, seed=9, tokens=90)]
    shop.publish_rows(NIGHT, [*rows, failed(HOSTILE, HOSTILE)], model=HOSTILE, fingerprint="e" * 64)
    return collect_night(shop.data, created_at=MORNING)


def test_render_night_is_deterministic_loads_nothing_and_keeps_hostile_text_text(report: NightReport) -> None:
    page = render_night(report)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

    assert page == render_night(report)
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    assert "<script" not in page
    assert "\x00" not in page
    assert "&lt;script&gt;" in page
    assert re.findall(r"@import|url\((?!#)", page) == []
    links = re.findall(r'(?:src|href|action)="([^"]*)"', page)
    assert [link for link in links if not link.startswith(("#", "data:,"))] == []


def test_render_night_has_its_parts_in_order_and_every_id_once(report: NightReport) -> None:
    page = render_night(report)
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    ids = re.findall(r'\bid="([^"]*)"', page)

    assert re.findall(r'<h2 id="([^"]*)"', page) == re.findall(r'<li><a href="#([^"]*)"', page) == PARTS
    assert levels[0] == 1
    assert all(below_ - above <= 1 for above, below_ in pairwise(levels))
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]*)"', page)) <= set(ids)
    assert page.count("<table") == page.count("<caption")
    assert page.count("<svg") == 2 * len(report.columns) + 4 + 1
    assert page.count("generated text") == len(report.samples)
    assert len(page) < 1_000_000


def test_render_night_says_what_is_missing(shop: Shop) -> None:
    shop.publish_rows(NIGHT - dt.timedelta(days=1), texts(3, seed=1))
    shop.publish_rows(NIGHT, [], ledger={})
    text = " ".join(re.sub("<[^>]*>", "", render_night(collect_night(shop.data, created_at=MORNING))).split())

    for words in (
        "published and empty: no purchase was left to write",
        "No row failed.",
        "What was predicted is not known",
        "The night has no row with figures.",
        "The texts of this night have no score sentiment.",
        "The night has no text to show.",
    ):
        assert words in text


def test_write_night_writes_page_and_json_into_any_place(report: NightReport, tmp_path: "Path", s3_server: str) -> None:
    for where in (str(tmp_path / "report"), below(s3_server, "nightly-report")):
        target = Place(where)

        assert write_night(report, target) == f"{target.where}/index.html"
        assert [file.name for file in target.files()] == ["index.html", "night.json"]
        assert json.loads(target.read("night.json"))["date"] == "2026-11-21"
        assert target.read("index.html").decode() == render_night(report)


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 1280, "height": 900}},
        {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
        {"viewport": {"width": 360, "height": 740}},
    ],
    ids=["desk", "dark", "phone"],
)
def test_page_opens_in_a_browser_without_a_complaint_and_is_never_too_wide(
    report: NightReport, tmp_path: "Path", browser: "Browser", options: dict[str, Any]
) -> None:
    write_night(report, Place(str(tmp_path)))
    page, complaints = open_page(browser, tmp_path / "index.html", **options)

    assert page.title() == "Generated reviews: the night of 2026-11-21"
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert "the texts drifted (completion_tokens, words)" in page.inner_text("#summary + ul > li:first-child")
    assert page.locator("svg").count() == 2 * len(report.columns) + 5
    assert complaints == []
    page.context.close()
