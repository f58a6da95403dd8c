"""The commands before ranking, on a folder that `prepare` has left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from recommend.shop import write_run

from jobs.recommend_learn import ExamplesJob, ProfileJob, examples, profile_users
from reviewllm.errors import InputError
from reviewllm.prompts.tasks.recommend import read_asked
from reviewllm.recommend.tables import PROFILES
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES

SEQUENCES = {"u1": ["i0", "i1", "i2", "i3", "i4"], "u2": ["i3", "i4", "i5", "i6"], "u3": ["i0", "i2", "i6"]}


def test_profiles_and_examples_of_a_run(tmp_path: Path) -> None:
    out = write_run(tmp_path, SEQUENCES, {})
    profile_users(ProfileJob(out=out, engine="rule", target="validation"))
    profile_users(ProfileJob(out=out, engine="rule", target="validation"))
    examples(ExamplesJob(out=out, users_fraction=1, profiles=True, num_candidates=5, swap_rate=0))
    told = {row["user_id"]: row["keywords"] for row in read_table(out / "profiles" / "validation", PROFILES).to_pylist()}
    assert set(told) == {"u1", "u2", "u3"}
    rows = read_table(out / "examples" / "train", EXAMPLES).to_pylist()
    assert {row["user_id"] for row in rows} == {"u1", "u2"}
    assert all(read_asked(row["attributes"]).profile == told[row["user_id"]] for row in rows)
    steps = {step["step"]: step for step in json.loads((out / "summary.json").read_text())["steps"]}
    assert steps["recommend profile"]["counts"] == {"kept": 3, "asked": 0, "without keywords": 0}
    assert (steps["recommend examples"]["rows_in"], steps["recommend examples"]["rows_out"]) == (3, 4)
    assert steps["recommend examples"]["counts"]["too_short"] == 1
    assert (out / "config" / "recommend-examples.yaml").is_file()


def test_commands_refuse_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run `jobs/recommend.py prepare"):
        examples(ExamplesJob(out=tmp_path))
    out = write_run(tmp_path / "run", SEQUENCES, {})
    with pytest.raises(InputError, match=r"run `jobs/recommend.py profile --target validation` first"):
        examples(ExamplesJob(out=out, profiles=True))
    with pytest.raises(ValidationError, match="without --base-model"):
        ProfileJob(out=tmp_path)
    with pytest.raises(ValidationError, match="--task review makes no profiles"):
        ProfileJob(out=tmp_path, engine="rule", task="review")
