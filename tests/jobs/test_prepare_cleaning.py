"""What `prepare` says of the texts that it cleaned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs import prepare
from reviewllm.sources.text import MARKS, PICTURES, SCRIPTS

SCRIPT = "var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();"


def prepared(folder: Path, reviews: list[str], items: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Prepare Amazon files of these review texts and items; returns the counts of every step."""
    folder.mkdir()
    fields = {"reviewerID": "U1", "asin": "I1", "overall": 5.0}
    lines = [{**fields, "reviewText": text, "unixReviewTime": 1393545600 + number} for number, text in enumerate(reviews)]
    for name, rows in (("reviews.json", lines), ("meta.json", items)):
        (folder / name).write_text("\n".join(map(json.dumps, rows)))
    files = {"reviews": [str(folder / "reviews.json")], "items": [str(folder / "meta.json")]}
    prepare.main(prepare.PrepareJob(**files, out=folder / "out", targets="all"))
    steps = json.loads((folder / "out" / "summary.json").read_text())["steps"]
    return {step["step"]: step["counts"] for step in steps}


def test_prepare_says_and_keeps_how_many_texts_had_leavings_of_web_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reviews = ["[[VIDEOID:5c532f]] Fine.", "Better than [[ASIN:B0002D0LXS Hercules Stand]].", "Fine."]
    picture = '<img src="a.png" class="nav-categ-image" alt="Digital Music"/>'
    steps = prepared(tmp_path / "a", reviews, [{"asin": "I1", "title": SCRIPT, "main_cat": picture}])
    assert steps["interactions"][f"noted: {MARKS}"] == 2
    assert (steps["items"][f"noted: {SCRIPTS}"], steps["items"][f"noted: {PICTURES}"]) == (1, 1)
    lines = capsys.readouterr().out.splitlines()
    assert {f"  interactions: 2 {MARKS}", f"  items: 1 {SCRIPTS}", f"  items: 1 {PICTURES}"} <= set(lines)


def test_prepare_says_nothing_of_texts_without_any(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = prepared(tmp_path / "a", ["Fine.", ""], [{"asin": "I1", "title": "Guitar", "main_cat": "Music"}])
    assert not [name for counts in steps.values() for name in counts if name.startswith("noted")]
    assert not [line for line in capsys.readouterr().out.splitlines() if "names " in line or "texts " in line]
