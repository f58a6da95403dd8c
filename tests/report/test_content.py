"""The JSON file holds the whole report and comes back as it was."""

import json
import math
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from reviewllm.report.collect import collect
from reviewllm.report.content import Cell, Report, report_json


def test_report_json_comes_back_equal(out_folder):
    report = collect(out_folder)

    assert Report.model_validate_json(report_json(report)) == report


def test_report_json_has_one_order_of_keys(out_folder):
    report = collect(out_folder)
    turned = report.model_copy(update={"versions": dict(reversed(report.versions.items()))})

    assert report_json(turned) == report_json(report)
    assert list(json.loads(report_json(report))) == sorted(Report.model_fields)


def test_report_json_keeps_hostile_text(out_folder):
    report = collect(out_folder).model_copy(update={"title": 'NUL \x00, "quotes", \u202e turned, </script>'})

    assert json.loads(report_json(report))["title"] == report.title


def test_report_never_holds_nan():
    with pytest.raises(ValidationError, match="finite"):
        Cell(value=math.nan, ci_low=0.0, ci_high=0.0)
    report = Report(title="t", created_at=datetime(2026, 1, 1, tzinfo=UTC), run="r", config={"job": {"x": math.inf}})
    with pytest.raises(ValueError, match="JSON compliant"):
        report_json(report)
