"""Labels of metrics, and what becomes of a job whose metrics nobody takes."""

from __future__ import annotations

from typing import Any

import pytest

from reviewllm.metrics import TRAIN, Gauges, as_label


def test_gauges_take_labels_of_any_letters(capsys: pytest.CaptureFixture[str]) -> None:
    gauges = Gauges(TRAIN, run="/data/für uns/夜😀 %41\n'\"\\")
    gauges.set("failed", 1, error="Größe")
    assert capsys.readouterr().err == ""


def test_label_of_ascii_is_itself_and_of_other_letters_as_in_a_uri() -> None:
    plain = "s3://bucket/a b%41?#&='\"\\{}"
    assert as_label(plain) == plain
    assert as_label("夜") == "%E5%A4%9C"
    assert as_label("\udcfc") == "%3F"  # of a name in no known encoding


def test_gauges_that_ray_does_not_take_are_said_once_and_end_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gauges = Gauges(TRAIN, run="/data")

    def refuse(*_: Any, **__: Any) -> None:
        raise UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range")

    monkeypatch.setattr(gauges._gauges["loss"], "set", refuse)
    with gauges:
        gauges.set("loss", 1.0)
        gauges.set("loss", 0.5)
    said = capsys.readouterr().err
    assert said.count("warning: Ray does not take the metrics, and the job goes on: UnicodeEncodeError") == 1
