"""The page in a real browser: a person answers, comes back, finishes, and the file that results is imported."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from annotated_run import ADAPTED, TINY, generation, write_run
from browser import open_in, open_page

from jobs.annotate import ExportJob, ImportJob, export_pages, import_answers
from reviewllm.annotation.key import read_key

REAL = "I bought this for my daughter and she loves it. The handle is a bit short, but it does what it should."
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \u202eturned \x07 {{ 7 * 7 }}"
STORAGE_REFUSED = (
    "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('refused', 'SecurityError'); }});"
)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
SIZES = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": PHONE,
    "small-phone": {**PHONE, "viewport": {"width": 320, "height": 568}},
}


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """Three examples and two models, for two annotators: six pairs, one hostile, one long, one with an endless word."""
    rows = []
    for one, text in [("e1", HOSTILE), ("e2", f"{'Very long. ' * 150}"), ("e3", "w" * 400)]:
        rows += [
            generation(one, TINY, f"Tiny. {text}"),
            generation(one, ADAPTED, "She likes it, though the handle is short."),
        ]
    out = write_run(tmp_path / "run", rows, e1=REAL, e2=REAL, e3=REAL)
    export_pages(ExportJob(out=out, annotators=2))
    return out


def _file(out: Path, number: int = 1) -> Path:
    return out / "annotation" / f"annotator-{number:02}.html"


def _status(page: Any) -> str:
    return str(page.inner_text("#status"))


def _shown(page: Any) -> str:
    return str(page.locator("article:visible").get_attribute("data-pair-id"))


def _download(page: Any, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click("#download")
    file = folder / waiting.value.suggested_filename
    waiting.value.save_as(file)
    return file


def test_annotator_answers_by_keyboard_comes_back_and_the_answers_are_imported(exported, browser, tmp_path):
    page, complaints = open_page(browser, _file(exported))
    assert page.inner_text("article:visible h2") == "Pair 1 of 6"
    assert _status(page) == "0 of 6 answered, 6 left."

    for key in "1n0":
        page.keyboard.press(key)
    assert page.inner_text("article:visible h2") == "Pair 4 of 6"
    assert _status(page) == "3 of 6 answered, 3 left. Pair 3: no."
    assert page.evaluate("document.activeElement.textContent") == "Pair 4 of 6"
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute("#no", "aria-pressed") == "true"
    page.keyboard.press("u")
    assert _status(page) == "2 of 6 answered, 4 left. Pair 3: cleared."
    page.keyboard.press("y")
    page.keyboard.press("ArrowRight")
    page.reload()

    assert page.inner_text("article:visible h2") == "Pair 5 of 6"
    assert _status(page) == "3 of 6 answered, 3 left."
    assert page.evaluate("document.getElementById('bar').value") == 3
    assert page.inner_text("#download") == "Download answers (3 missing)"
    page.keyboard.press("f")
    assert page.inner_text("article:visible h2") == "Pair 4 of 6"
    assert not page.is_visible("#done")
    for key in "110":
        page.keyboard.press(key)
    assert page.is_visible("#done")
    assert page.inner_text("#download") == "Download answers"

    file = _download(page, tmp_path)
    shown = page.eval_on_selector_all("article", "all => all.map(one => one.dataset.pairId)")
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert file.name == "annotator-01.csv"
    assert [(row["pair_id"], row["answer"]) for row in rows] == list(zip(shown, "101110", strict=True))
    assert complaints == []
    page.context.close()

    results = import_answers(ImportJob(out=exported, answers=[file]))
    authors = {pair.pair_id: pair.models[0] for pair in read_key(exported / "annotation").pairs}
    for model in results.models:
        given = [int(answer) for pair, answer in zip(shown, "101110", strict=True) if authors[pair] == model.model]
        assert model.shares == {"annotator-01": sum(given) / 3}


def test_annotator_answers_by_touch_and_only_the_own_page(exported, browser):
    page, complaints = open_page(browser, _file(exported), **PHONE)
    first = _shown(page)
    page.tap("#yes")
    page.tap("#back")
    assert _shown(page) == first
    assert page.get_attribute("#yes", "aria-pressed") == "true"
    assert page.is_disabled("#back")
    page.tap("#clear")
    assert _status(page) == "0 of 6 answered, 6 left. Pair 1: cleared."
    page.tap("#no")
    page.tap("#first")

    other, more = open_in(page.context, _file(exported, 2))
    assert _status(other) == "0 of 6 answered, 6 left."
    again, still = open_in(page.context, _file(exported))
    assert _status(again) == "1 of 6 answered, 5 left."
    assert complaints + more + still == []
    page.context.close()


def test_annotator_in_two_windows_loses_no_answer(exported, browser):
    page, _ = open_page(browser, _file(exported))
    other, _ = open_in(page.context, _file(exported))
    page.keyboard.press("1")
    other.keyboard.press("ArrowRight")
    other.keyboard.press("0")
    for window in (page, other):
        window.wait_for_function("document.getElementById('count').textContent === '2 of 6 answered, 4 left.'")
    page.context.close()


def test_annotator_is_told_where_the_browser_keeps_nothing(exported, browser, tmp_path):
    page, complaints = open_page(browser, _file(exported), script=STORAGE_REFUSED)
    assert "This browser does not keep answers." in page.inner_text("#notice")
    page.keyboard.press("1")
    page.keyboard.press("0")

    assert _status(page) == "2 of 6 answered, 4 left. Pair 2: no."
    assert len(_download(page, tmp_path).read_text().splitlines()) == 1 + 2
    assert "annotator-01.csv holds 2 answers." in _status(page)
    assert complaints == []
    page.context.close()


def test_annotator_meets_a_full_or_unreadable_storage_without_losing_answers(exported, browser):
    full = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"
    unreadable = "Storage.prototype.getItem = () => { throw new DOMException('broken', 'UnknownError'); };"
    for script in (full, unreadable):
        page, complaints = open_page(browser, _file(exported), script=script)
        page.keyboard.press("1")
        page.keyboard.press("1")
        assert _status(page) == "2 of 6 answered, 4 left. Pair 2: yes."
        assert page.is_visible("#notice")
        assert complaints == []
        page.context.close()


def test_annotator_ignores_kept_answers_that_are_none(exported, browser):
    spoil = """const kept = ["1 1767323045678", "=1+1 1", "1 x", "0 1e300", "1", ""];
        Storage.prototype.getItem = (name) => kept[
            [...document.querySelectorAll("article")].findIndex((pair) => name.endsWith(pair.dataset.pairId))] ?? "gone";"""
    page, complaints = open_page(browser, _file(exported), script=spoil)

    assert _status(page) == "1 of 6 answered, 5 left."
    assert complaints == []
    page.context.close()


def test_annotator_answers_no_pair_by_a_held_key_or_a_shortcut_of_the_browser(exported, browser):
    page, _ = open_page(browser, _file(exported))
    page.keyboard.press("Control+0")
    page.keyboard.down("1")
    page.keyboard.down("1")  # as a key that is held down repeats
    page.keyboard.up("1")
    page.keyboard.press("q")

    assert _status(page) == "1 of 6 answered, 5 left. Pair 1: yes."
    page.context.close()


def test_annotator_sees_hostile_text_as_text(exported, browser):
    page, complaints = open_page(browser, _file(exported))
    texts = page.eval_on_selector_all(".text", "all => all.map(one => one.textContent)")

    assert "Tiny. " + HOSTILE.replace("\x07", "\N{REPLACEMENT CHARACTER}") in texts
    assert page.locator("img").count() == 0
    assert page.evaluate("document.scripts.length") == 1
    assert complaints == []
    page.context.close()


@pytest.mark.parametrize("size", SIZES)
def test_annotator_page_fits_the_screen(exported, browser, tmp_path, size):
    """Nothing is wider than the screen, and the buttons are always in sight; screenshots stay beside the run folder."""
    page, complaints = open_page(browser, _file(exported), **SIZES[size])
    for number in range(1, 7):
        page.screenshot(path=tmp_path / f"{size}-{number}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["viewport"]["width"]
        for button in ("yes", "no", "next"):
            box = page.locator(f"#{button}").bounding_box()
            assert box["y"] + box["height"] <= SIZES[size]["viewport"]["height"]
        page.keyboard.press("1")
    page.screenshot(path=tmp_path / f"{size}-done.png")
    page.click("summary")
    page.screenshot(path=tmp_path / f"{size}-help.png", full_page=True)
    assert complaints == []
    page.context.close()
