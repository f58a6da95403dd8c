"""The summary of a run folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from reviewllm.errors import InputError
from reviewllm.summary import read_summary


@pytest.mark.parametrize(
    ("text", "problem"), [("{", "is not JSON"), ("[]", "is no summary"), ('{"steps": []}', "is no summary")]
)
def test_read_summary_of_something_else_says_to_remove_it(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InputError, match=f"summary.json: {problem}.*remove it"):
        read_summary(tmp_path)


def test_read_summary_of_a_new_folder_is_empty(tmp_path: Path) -> None:
    assert read_summary(tmp_path) == {"steps": [], "config": {}}
