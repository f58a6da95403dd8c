"""The page in a real browser: examples are searched and put in order, nothing foreign runs, no size or light breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import open_page

from reviewllm.report.content import Example, Report
from reviewllm.report.page import write_report
from tests.report.parts import output, shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESK = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SIZES = {
    "desk": DESK,
    "dark": {**DESK, "color_scheme": "dark"},
    "phone": PHONE,
    "small-phone": {**PHONE, "viewport": {"width": 360, "height": 740}},
}
CATEGORY = 'Picks  & "slides" <b>'  # with two spaces, which a browser would make one
WIDE = "wide" * 300
ORDER = {
    "": "as evaluated",
    "score": "highest sbert_cosine first",
    "gain": "largest gain first",
    "loss": "largest loss first",
}


def _pair(base: float | None, mine: float | None) -> tuple[Any, ...]:
    """What the base and the candidate wrote, by their scores; None: it failed."""
    return tuple(
        output(name, score, review=None if score is None else f"Text worth {score:g}.")
        for name, score in (("tiny", base), ("tiny + adapter", mine))
    )


EXAMPLES = (
    shown("even", *_pair(30.0, 30.0), title="Blue pick", reference="It broke at once."),
    shown("failed", *_pair(90.0, None), title="Red string", rating=5.0),
    shown("ahead", *_pair(10.0, 50.0), title="Blue string", reference="Snapped.", split="hard", rating=1.0),
    shown("behind", *_pair(70.0, 60.0), title="Drum", rating=4.5, category=CATEGORY),
    shown("far ahead", *_pair(5.0, 55.0), title="<i>Drum</i>", rating=5.0, category=CATEGORY),
)


@pytest.fixture(scope="module")
def page_file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of five examples of different kinds."""
    return write_report(report.model_copy(update={"examples": EXAMPLES}), tmp_path_factory.mktemp("page"))[0]


@pytest.fixture
def page(page_file: Path, browser: Browser) -> Iterator[Page]:
    """The page opened; nothing that a test does to it may be complained about."""
    opened, complaints = open_page(browser, page_file, **DESK)
    yield opened
    assert complaints == []
    opened.context.close()


def _ids(*examples: Example) -> list[str]:
    return [example.title for example in examples]


def _visible(page: Page) -> list[str]:
    """Titles of the examples that are shown, from top to bottom; what is below the screen is not laid out, but there."""
    return [str(title) for title in page.locator("#example-list > article:visible > h3").all_text_contents()]


def _told(page: Page) -> str:
    return str(page.inner_text("#browse-count"))


def test_browse_shows_all_examples_first(page):
    assert _visible(page) == _ids(*EXAMPLES)
    assert _told(page) == "5 of 5 examples shown"
    assert page.is_visible("#browse")


def test_browse_finds_every_word_in_any_text_and_order(page):
    even, failed, ahead, *_ = EXAMPLES
    for words, found in (
        ("BLUE", [even, ahead]),
        ("snapped  blue ", [ahead]),
        ("broke once", [even]),
        ("too long", [failed]),  # why it failed
        ("<i>", [EXAMPLES[4]]),
        ("nowhere", []),
        ("", list(EXAMPLES)),
    ):
        page.fill("[name=words]", words)

        assert _visible(page) == _ids(*found)
        assert _told(page) == f"{len(found)} of 5 examples shown"


def test_browse_keeps_to_what_is_chosen(page):
    even, failed, ahead, behind, far = EXAMPLES
    for name, value, found in (
        ("split", "hard", [ahead]),
        ("split", "simple", [even, failed, behind, far]),
        ("rating", "5", [failed, far]),
        ("rating", "4.5", [behind]),
        ("category", CATEGORY, [behind, far]),
    ):
        page.select_option(f"[name={name}]", value)

        assert _visible(page) == _ids(*found)
        assert _told(page) == f"{len(found)} of 5 examples shown"
        page.select_option(f"[name={name}]", "")
    assert _visible(page) == _ids(*EXAMPLES)


def test_browse_offers_every_value_there_is_once(page):
    offered = {
        name: page.locator(f"[name={name}] option").evaluate_all("found => found.map(option => option.value)")
        for name in ("split", "rating", "category", "order")
    }

    assert offered == {
        "split": ["", "hard", "simple"],
        "rating": ["", "1", "4", "4.5", "5"],
        "category": ["", CATEGORY, "Strings"],
        "order": list(ORDER),
    }


def test_browse_takes_words_and_choices_together(page):
    page.select_option("[name=rating]", "5")
    page.fill("[name=words]", "drum")

    assert _visible(page) == _ids(EXAMPLES[4])
    page.select_option("[name=split]", "hard")
    assert (_visible(page), _told(page)) == ([], "0 of 5 examples shown")


def test_browse_puts_examples_in_order_those_without_a_score_last(page):
    even, failed, ahead, behind, far = EXAMPLES  # gains: 0, none, 40, -10, 50
    for order, found in (
        ("score", [behind, far, ahead, even, failed]),
        ("gain", [far, ahead, even, behind, failed]),
        ("loss", [behind, even, ahead, far, failed]),
        ("", list(EXAMPLES)),
    ):
        page.select_option("[name=order]", order)

        assert _visible(page) == _ids(*found)
    page.select_option("[name=order]", "gain")
    page.select_option("[name=category]", "Strings")
    assert _visible(page) == _ids(ahead, even, failed)


def test_browse_by_keyboard_leaves_the_page_where_it_is(page):
    before = page.url
    page.focus("[name=words]")
    page.keyboard.type("blue")
    page.keyboard.press("Enter")

    assert (page.url, _visible(page)) == (before, _ids(EXAMPLES[0], EXAMPLES[2]))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "split"


def test_browse_without_javascript_shows_all_examples_and_no_form(page_file, browser):
    page, complaints = open_page(browser, page_file, java_script_enabled=False)

    assert _visible(page) == _ids(*EXAMPLES)
    assert not page.is_visible("#browse")
    assert complaints == []
    page.context.close()


def test_page_of_no_examples_has_nothing_to_complain_about(report, tmp_path, browser):
    file, _ = write_report(Report(title="Nothing", created_at=report.created_at, run="none"), tmp_path)
    page, complaints = open_page(browser, file)

    assert page.title() == "Nothing"
    assert complaints == []
    page.context.close()


@pytest.mark.parametrize(
    "foreign",
    ["<script>document.title = 'run'</script>", "<img src='data:,' onerror=\"document.title = 'run'\">"],
    ids=["script", "attribute"],
)
def test_page_lets_no_foreign_script_run_even_where_one_got_in(page_file, tmp_path, browser, foreign):
    opened = tmp_path / "index.html"
    opened.write_text(page_file.read_text(encoding="utf-8").replace("</main>", f"{foreign}</main>"), encoding="utf-8")
    page, complaints = open_page(browser, opened)
    page.wait_for_load_state("networkidle")

    assert page.title() == "Generated reviews: demo"
    assert [complaint for complaint in complaints if "Content Security Policy" in complaint]
    assert _told(page) == "5 of 5 examples shown"  # ours still runs
    page.context.close()


@pytest.mark.parametrize("options", SIZES.values(), ids=SIZES)
def test_page_opens_in_every_size_and_light_without_a_complaint(report, page_file, tmp_path, browser, options):
    page, complaints = open_page(browser, page_file, **options)
    page.locator("details").evaluate_all("found => found.forEach(details => { details.open = true; })")
    page.screenshot(path=tmp_path / "page.png", full_page=True)

    assert "beats its base tiny on every score" in page.inner_text("#summary + ul")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    dark = options.get("color_scheme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)"
    )
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert complaints == []
    page.context.close()


@pytest.mark.parametrize("size", ["phone", "small-phone"])
def test_page_on_a_phone_does_not_scroll_sideways_whatever_it_holds(report, tmp_path, browser, size):
    example = shown(WIDE, *_pair(1.0, 2.0), title=WIDE, category=WIDE, reference=WIDE)
    changes = {"title": WIDE, "run": WIDE, "examples": (example,), "versions": {WIDE: WIDE}, "config": {WIDE: {WIDE: WIDE}}}
    file, _ = write_report(Report(created_at=report.created_at, **changes), tmp_path)
    page, complaints = open_page(browser, file, **SIZES[size])
    page.locator("details").evaluate_all("found => found.forEach(details => { details.open = true; })")

    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert complaints == []
    page.context.close()
