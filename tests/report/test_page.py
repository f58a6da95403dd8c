"""The page: hostile text stays text, missing parts say so, and a real browser opens it."""

import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from reviewllm.report.collect import collect
from reviewllm.report.content import Example, Output, Prompt, Report, ScoreTable
from reviewllm.report.page import flatten, render_page, write_report

VOID = {"meta", "link", "br", "img", "hr"}
NOW = datetime(2026, 1, 3, 4, 5, tzinfo=UTC)
EMPTY = Report(title="Nothing yet", created_at=NOW, run="none")
HOSTILE = [
    "<script>alert(1)</script>",
    "</details></p></section><h1>mine</h1>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
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


def _hostile_report(text: str) -> Report:
    output = Output(model=text, with_rating=True, review=text, error=None, scores={"rouge1": None})
    failed = Output(model="m", with_rating=False, review=None, error=text, scores={})
    example = Example(
        example_id=text,
        split="hard",
        category=text,
        title=text,
        rating=1.5,
        reference=text,
        prompts=(Prompt(with_rating=True, prompt=text),),
        outputs=(output, failed),
    )
    config = {text: {text: {text: text}}}
    return EMPTY.model_copy(update={"title": text, "examples": (example,), "config": config, "versions": {text: text}})


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_render_page_shows_hostile_text_as_text(text):
    outline = _Outline(render_page(_hostile_report(text)))

    assert not {"script", "img", "iframe"} & set(outline.tags)
    assert outline.tags.count("h1") == 1
    assert not [name for name, _ in outline.attributes if name.startswith("on")]
    assert outline.text.count(text.replace("\x00", "\N{REPLACEMENT CHARACTER}")) >= 6
    assert "\x00" not in outline.text


def test_render_page_loads_nothing(out_folder):
    page = render_page(collect(out_folder))
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    links = [value or "" for name, value in _Outline(page).attributes if name in ("src", "href", "xlink:href", "action")]

    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    assert [link for link in links if not link.startswith(("#", "data:,"))] == []
    assert re.findall(r"@import|url\((?!#)", page) == []


def test_render_page_has_headings_in_order_and_every_id_once(out_folder):
    outline = _Outline(render_page(collect(out_folder)))
    levels = [int(tag[1]) for tag in outline.tags if re.fullmatch("h[1-6]", tag)]
    ids = [value for name, value in outline.attributes if name == "id"]

    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    assert len(ids) == len(set(ids))
    assert ("lang", "en") in outline.attributes
    assert outline.tags.count("table") == outline.tags.count("caption")
    assert outline.tags.count("th") == sum(name == "scope" for name, _ in outline.attributes)
    assert {value for name, value in outline.attributes if name == "aria-labelledby"} <= set(ids)


def test_render_page_shows_every_part_and_marks_what_is_generated(out_folder):
    report = collect(out_folder, created_at=NOW)
    page = render_page(report)
    text = " ".join(_Outline(page).text.split())

    assert page == render_page(report)
    assert page.count("<svg") == 2
    for words in (
        "Made on 2026-01-03 04:05 UTC",
        "beats its base tiny on every score",
        "As reported in the paper, Llama-3-8B, other sample",
        "All 240 generations of the evaluation succeeded.",
        "Reference of hard-7.",
        "Prompt of hard-7, False.",
        "3, of which 1 failed",
        "Never publish a generated review as a customer's own words without that customer.",
    ):
        assert words in text
    assert '<th scope="row">engine.max_model_len</th><td>512</td>' in page
    shown = sum(len(example.outputs) for example in report.examples) + 2
    assert text.count("generated text") == shown


def test_render_page_counts_failed_generations_in_a_sentence(out_folder):
    page = render_page(collect(out_folder).model_copy(update={"failed": 7}))

    assert "7 of 240 generations of the evaluation failed" in page


def test_render_page_of_nothing_says_what_is_missing():
    text = " ".join(_Outline(render_page(EMPTY)).text.split())

    for words in (
        "this run holds no evaluation. jobs/evaluate.py makes one.",
        "There are no tables",
        "No examples can be shown",
        "No published night was found under generations/. jobs/backfill.py publishes one.",
        "The steps of this run were not recorded",
        "The configuration of this run was not recorded",
        "The versions were not recorded",
    ):
        assert words in text


def test_render_page_split_without_rows_says_so():
    table = ScoreTable(number=2, split="hard", metrics=("rouge1",), rows=(), paper=())
    text = " ".join(_Outline(render_page(EMPTY.model_copy(update={"tables": (table,)}))).text.split())

    assert "The hard set has no rows in this run, so there is no table and no plot." in text


def test_flatten_keeps_an_empty_mapping():
    assert list(flatten({"a": {}, "b": {"c": None, "d": True}})) == [("a", "{}"), ("b.c", "null"), ("b.d", "true")]


def test_write_report_writes_both_files_and_nothing_else(out_folder):
    report = collect(out_folder, created_at=NOW)
    page, data = write_report(report, out_folder / "report")

    assert page.read_text(encoding="utf-8") == render_page(report)
    assert Report.model_validate_json(data.read_text(encoding="utf-8")) == report
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "metrics.json"]


Browser = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Open a page in headless Chromium and return what it wrote; its console comes on stderr as lines with CONSOLE."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on PATH")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]

    def open_page(page: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = [chromium, *flags, f"--user-data-dir={tmp_path / 'profile'}", *more, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return open_page


def test_page_opens_in_a_browser_without_a_console_message(out_folder, tmp_path, browser):
    page, _ = write_report(collect(out_folder), out_folder / "report")
    picture = tmp_path / "page.png"
    shot = browser(page, "--window-size=1280,2000", f"--screenshot={picture}")
    opened = browser(page, "--dump-dom")

    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "CONSOLE" not in shot.stderr + opened.stderr
    assert "beats its base tiny on every score" in opened.stdout


def test_page_lets_no_script_run_even_where_one_got_in(out_folder, browser):
    page, _ = write_report(collect(out_folder), out_folder / "report")
    page.write_text(page.read_text().replace("</body>", "<script>document.title = 'run'</script></body>"))
    opened = browser(page, "--dump-dom")

    assert "<title>run</title>" not in opened.stdout
    assert "CONSOLE" in opened.stderr  # so that the test above would see a message


def test_page_on_a_phone_does_not_scroll_sideways(tmp_path, browser):
    wide = _hostile_report("wide" * 300)
    write_report(wide, tmp_path / "report")
    frame = tmp_path / "report" / "frame.html"  # headless windows are never below 500 pixels wide; a frame can be
    frame.write_text(
        "<title>?</title><iframe src='index.html' style='width: 360px; border: 0'></iframe><script>onload = () => {"
        "const page = frames[0].document.documentElement;"
        "document.title = 'too wide by ' + (page.scrollWidth - page.clientWidth)}</script>"
    )
    opened = browser(frame, "--allow-file-access-from-files", "--dump-dom")

    assert "<title>too wide by 0</title>" in opened.stdout
