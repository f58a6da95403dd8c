"""Judgements: a row for each answer and model, nothing for what nobody answered."""

import numpy as np
from annotated_run import csv_text

from reviewllm.annotation.answers import read_sheets
from reviewllm.annotation.judgements import answer_matrix, judgements
from reviewllm.tables import JUDGEMENTS


def test_judgements_have_a_row_for_each_answer_and_model(key, write):
    write(csv_text({"p1": 1, "p2": 0, "p3": 1}))
    folder = write(csv_text({"p1": 0}, annotator="annotator-03"), "b.csv").parent
    sheets = read_sheets([folder], key, allow_partial=True)
    table = JUDGEMENTS.check(judgements(key, sheets), where="test")

    rows = [
        (row["annotator"], row["pair_id"], row["example_id"], row["model"], row["is_similar"]) for row in table.to_pylist()
    ]
    assert rows == [
        ("annotator-01", "p1", "e1", "bad", True),
        ("annotator-01", "p1", "e1", "good", True),
        ("annotator-01", "p2", "e2", "bad", False),
        ("annotator-01", "p3", "e3", "good", True),
        ("annotator-03", "p1", "e1", "bad", False),
        ("annotator-03", "p1", "e1", "good", False),
    ]
    np.testing.assert_array_equal(answer_matrix(key, sheets), [[1, 0, 1], [0, np.nan, np.nan]])
