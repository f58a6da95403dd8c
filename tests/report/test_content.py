"""The JSON file holds the whole report and comes back as it was."""

import json
import math
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from reviewllm.report.content import Cell, Report, Step, report_json


def test_report_json_comes_back_equal(report):
    assert Report.model_validate_json(report_json(report)) == report


def test_report_json_has_one_order_of_keys(report):
    turned = report.model_copy(update={"versions": dict(reversed(report.versions.items()))})

    assert report_json(turned) == report_json(report)
    assert list(json.loads(report_json(report))) == sorted(Report.model_fields)


def test_report_json_keeps_hostile_text(report):
    report = report.model_copy(update={"title": 'NUL \x00, "quotes", \u202e turned, </script>'})

    assert json.loads(report_json(report))["title"] == report.title


def test_report_never_holds_nan():
    with pytest.raises(ValidationError, match="finite"):
        Cell(value=math.nan, ci_low=0.0, ci_high=0.0, n=1)
    report = Report(title="t", created_at=datetime(2026, 1, 1, tzinfo=UTC), run="r", config={"job": {"x": math.inf}})
    with pytest.raises(ValueError, match="JSON compliant"):
        report_json(report)


def test_cell_may_lack_its_interval_but_not_its_rows():
    assert Cell(value=1.0, ci_low=None, ci_high=None, n=3).sd is None
    with pytest.raises(ValidationError, match=r"n\n  Field required"):
        Cell(value=1.0, ci_low=None, ci_high=None)


def test_parts_are_immutable_and_refuse_unknown_fields(report):
    with pytest.raises(ValidationError, match="frozen"):
        report.tables[0].rows[0].n = 1
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Cell(value=1.0, ci_low=None, ci_high=None, n=3, category="all")


def test_step_takes_what_else_a_job_recorded():
    step = Step.model_validate({"step": "s", "rows_in": None, "rows_out": 1, "seconds": 0.5, "counts": {}, "host": "h"})

    assert (step.rows_in, step.rows_out) == (None, 1)
