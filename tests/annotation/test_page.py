"""The page as a file: hostile text stays text, nothing is loaded, and nothing tells the model."""

import base64
import hashlib
import random
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from reviewllm.annotation.page import render_page
from reviewllm.annotation.pairs import Pair

HOSTILE = [
    "</script><script>alert(1)</script>",
    "</p></section></article><h1>mine</h1>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    '" autofocus onfocus="alert(1)',
    "{{ 7 * 7 }} {% raw %}",
    "\u202eturned \u2066\u2069\u2069",
    "before\x00\x1bafter",
    "\u2028line\u2029 and ]]> &amp; &lt;",
]


class _Outline(HTMLParser):
    """Collects tags, attributes and the text of each paragraph of a review."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.reviews: list[str] = []
        self._in_review = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._in_review = ("class", "text") in attrs
        if self._in_review:
            self.reviews.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_review = False

    def handle_data(self, data: str) -> None:
        if self._in_review:
            self.reviews[-1] += data


def _page(pairs: list[Pair], seed: int = 0, annotator: str = "annotator-01") -> str:
    return render_page(pairs, export_id="x1", annotator=annotator, order=random.Random(seed))


def _pair(number: int, text: str = "Good.") -> Pair:
    return Pair(f"p{number}", f"e{number}", text, 2.5, f"Real {text}", f"Made {text}", ("secret model",))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_render_page_shows_hostile_text_as_text(text):
    outline = _Outline(_page([_pair(1, text)]))
    plain = _Outline(_page([_pair(1)]))
    shown = re.sub("[\x00\x1b]", "\N{REPLACEMENT CHARACTER}", text)

    assert outline.tags == plain.tags
    assert sorted(outline.reviews) == [f"Made {shown}", f"Real {shown}"]
    assert not [name for name, _ in outline.attributes if name.startswith("on") or name == "src"]


def test_render_page_allows_its_own_script_and_nothing_else():
    page = _page([_pair(1)])
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1).split("; ")
    links = [value for name, value in _Outline(page).attributes if name in ("src", "href", "action")]

    assert policy[0] == "default-src 'none'"
    assert f"script-src 'sha256-{digest}'" in policy
    assert links == ["data:,"]
    assert re.findall(r"@import|url\(|innerHTML|eval\(|fetch\(|https?:", page) == []


def test_render_page_gives_each_annotator_all_pairs_in_an_own_order_and_own_sides():
    pairs = [_pair(number, f"{number}.") for number in range(30)]
    pages = [_page(pairs, seed, f"annotator-0{seed}") for seed in (1, 2)]
    orders = [re.findall(r'data-pair-id="([^"]*)"', page) for page in pages]
    first_sides = [[review[:4] for review in _Outline(page).reviews[::2]] for page in pages]

    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(pair.pair_id for pair in pairs)
    for sides in first_sides:
        assert 5 < sides.count("Real") < 25  # 30 draws of 1/2 fall outside this in fewer than 1 of 2,000 cases
    assert "Pair 1 of 30" in pages[0]
    assert "2.5 of 5 stars" in pages[0]


def test_render_page_tells_neither_model_nor_example():
    pages = [
        _page([replace(_pair(1), example_id=example, models=models)])
        for example, models in [("a", ("b",)), ("c", ("d", "e"))]
    ]

    assert pages[0] == pages[1]


def test_render_page_names_every_id_once():
    page = _page([_pair(1), _pair(2)])
    ids = [value for name, value in _Outline(page).attributes if name == "id"]

    assert len(ids) == len(set(ids))
    assert {value for name, value in _Outline(page).attributes if name == "aria-labelledby"} <= set(ids)
