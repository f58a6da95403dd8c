"""Ranking with the rule engine: every user once, nothing invented, taken up again after a stop; through real Ray when killed."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from kill_matrix import PROJECT, ray_cluster
from pydantic import ValidationError
from recommend.answers import StoppedError, answer_by_rule, no_engine
from recommend.shop import TITLES, write_run

from jobs.recommend_rank import RankJob, inputs_of, rank_candidates, ranker_of
from reviewllm.errors import InputError
from reviewllm.failpoints import VARIABLE
from reviewllm.recommend.names import item_names
from reviewllm.recommend.rank import MANIFEST, rank, work_folder
from reviewllm.recommend.ranker import Ranker
from reviewllm.recommend.tables import RECOMMENDATIONS
from reviewllm.table_files import read_table

ORDER = ["i7", "i4", "i3", "i2", "i8"]  # of the retriever
NAMES = item_names(list(TITLES), list(TITLES.values()), ids="ambiguous", max_chars=100)
SEQUENCES = {"u1": ["i0", "i1", "i3"], "u2": ["i5", "i6", "i4"], "empty": ["i0", "i1", "i2"]}
CANDIDATES = {"u1": ORDER, "u2": [*ORDER, "i5"], "empty": ["i0"]}


def job(out: Path, base: Path, **changed: Any) -> RankJob:
    options = {"retriever": "own", "engine": "rule", "max_prompt_tokens": 900, "max_new_tokens": 100, "count": 2}
    return RankJob(out=out, base_model=str(base), **{**options, **changed})


def ranked(config: RankJob) -> pl.DataFrame:
    """What the command writes; the actors' work is done here, without Ray."""
    ranker = ranker_of(config)
    with pytest.raises(StoppedError):
        rank(inputs_of(config, NAMES), ranker, config.recommendations, cluster=no_engine)
    answer_here(ranker, config)
    rank(inputs_of(config, NAMES), ranker, config.recommendations, cluster=no_engine)
    return pl.DataFrame(read_table(config.recommendations, RECOMMENDATIONS))


def answer_here(ranker: Ranker, config: RankJob) -> None:
    answer_by_rule(ranker.answerer, work_folder(inputs_of(config, NAMES), ranker, config.recommendations))


def manifest(config: RankJob) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((config.recommendations / "_manifest.json").read_text())
    return found


def test_rank_puts_the_models_choice_first_and_the_retrievers_order_behind(tmp_path: Path, random_base: Path) -> None:
    config = job(write_run(tmp_path, SEQUENCES, CANDIDATES), random_base)
    rows = ranked(config)
    by_user = {user: part for (user,), part in rows.group_by("user_id")}
    # u1 bought a steel rake and a hose: steel shovel, hose reel and steel stapler share a word each. Of equal ones the first that
    # the prompt shows wins, so look at which they are; the others follow in the retriever's order.
    placed = by_user["u1"].sort("rank")
    chosen = placed["item_id"].to_list()[:2]
    assert set(chosen) <= {"i7", "i3", "i2"}
    assert placed["item_id"].to_list()[2:] == [item for item in ORDER if item not in chosen]
    assert placed["source"].to_list() == ["model"] * 2 + ["retriever"] * 3
    assert placed["rank"].to_list() == [1, 2, 3, 4, 5]
    assert "i5" not in by_user["u2"]["item_id"]  # bought
    assert "empty" not in by_user
    assert rows["fingerprint"].n_unique() == 1
    assert rows["model"].unique().to_list() == ["rule"]
    told = manifest(config)
    assert (told["users"], told["rows"]) == (3, 10)
    assert told["counts"]["users without a candidate"] == 1
    assert told["counts"]["users with the retriever's order"] == 0
    assert told["counts"]["items by the model"] == 4
    assert told["counts"]["outside the candidates"] == 0
    assert told["counts"]["prompt tokens"] > 0
    assert not list(config.recommendations.parent.glob(".*"))


def test_rank_by_likelihood_orders_all_candidates(tmp_path: Path, random_base: Path) -> None:
    config = job(
        write_run(tmp_path, SEQUENCES, CANDIDATES), random_base, method="likelihood", target="next", date="2026-11-21"
    )
    write_run(tmp_path, SEQUENCES, {})
    (tmp_path / "candidates" / "test").rename(tmp_path / "candidates" / "next")
    write_run(tmp_path, SEQUENCES, CANDIDATES)
    (tmp_path / "candidates" / "test" / "own.parquet").replace(tmp_path / "candidates" / "next" / "own.parquet")
    rows = ranked(config)
    assert config.recommendations == tmp_path / "recommendations" / "dt=2026-11-21"
    for _, part in rows.group_by("user_id"):
        assert part.sort("rank")["log_likelihood"].to_list() == [-float(place) for place in range(1, part.height + 1)]
    assert rows["source"].unique().to_list() == ["model"]
    assert "i3" not in rows.filter(user_id="u1")["item_id"]  # bought, where nothing is held out


def test_rank_leaves_a_night_that_is_there(tmp_path: Path, random_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = job(write_run(tmp_path, SEQUENCES, CANDIDATES), random_base, target="next", date="2026-11-21")
    config.recommendations.mkdir(parents=True)
    (config.recommendations / MANIFEST).write_text("{}")
    rank_candidates(config)
    assert (config.recommendations / MANIFEST).read_text() == "{}"
    assert "is there, and stays; --on-existing replace" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"candidates/next/own\.parquet: is not there"):
        rank_candidates(config.model_copy(update={"on_existing": "replace"}))


def test_rank_v1_takes_no_candidates_and_falls_back_on_nobody(tmp_path: Path, random_base: Path) -> None:
    config = job(write_run(tmp_path, SEQUENCES, CANDIDATES), random_base, palr="v1")
    rows = ranked(config)
    assert rows.is_empty()  # the rule names what was bought, which is no recommendation
    told = manifest(config)["counts"]
    assert told["already bought"] == 4
    assert told["outside the catalogue"] == 0
    assert told["outside the candidates"] == 4


def test_rank_users_that_get_no_answer_have_the_retrievers_order(tmp_path: Path, random_base: Path) -> None:
    long = {item: f"{title} {'x' * 90}" for item, title in TITLES.items()}
    many = {f"u{number}": ["i0", "i1", "i3"] for number in range(4)}
    out = write_run(tmp_path, many, dict.fromkeys(many, ORDER), titles=long)
    faults = {"u0": "refuse", "u1": "garbage", "u2": "empty"}
    config = job(out, random_base, rule_faults=faults, row_attempts=1)
    rows = ranked(config)
    assert rows.height == 4 * 5
    for user in faults:
        part = rows.filter(user_id=user).sort("rank")
        assert part["item_id"].to_list() == ORDER
        assert set(part["source"]) == {"retriever"}
    assert set(rows.filter(user_id="u3")["source"]) == {"model", "retriever"}
    told = manifest(config)["counts"]
    assert (told["users without an answer"], told["unreadable"], told["users with the retriever's order"]) == (2, 1, 3)
    assert told["no answer: Refused"] == told["no answer: EmptyOutput"] == 1
    short = job(out, random_base, max_prompt_tokens=300)
    assert set(ranked(short)["source"]) == {"retriever"}
    assert manifest(short)["counts"]["no answer: PromptTooLong"] == 4


def test_rank_asks_again_where_an_answer_failed_for_a_passing_cause(tmp_path: Path, random_base: Path) -> None:
    config = job(write_run(tmp_path, SEQUENCES, CANDIDATES), random_base, rule_faults={"u1": "error"}, row_attempts=1)
    with pytest.raises(StoppedError):
        ranked(config)


def shop(users: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    draw = random.Random(0)
    many = {f"u{number}": draw.sample(list(TITLES), 4) for number in range(users)}
    return many, {user: draw.sample(list(TITLES), 6) for user in many}


def check_every_candidate_once(config: RankJob, sequences: dict[str, list[str]], candidates: dict[str, list[str]]) -> None:
    rows = pl.DataFrame(read_table(config.recommendations, RECOMMENDATIONS))
    asked = {user: set(items) - set(sequences[user][:-1]) for user, items in candidates.items()}
    found = {user: set(part["item_id"]) for (user,), part in rows.group_by("user_id")}
    assert found == {user: items for user, items in asked.items() if items}
    assert rows.height == sum(map(len, asked.values()))
    for _, part in rows.group_by("user_id"):
        assert sorted(part["rank"]) == list(range(1, part.height + 1))
    assert not list(config.recommendations.parent.glob(".*"))


def test_rank_goes_on_after_a_stop_and_takes_up_nothing_of_another_fingerprint(
    tmp_path: Path, random_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences, candidates = shop(1200)
    config = job(write_run(tmp_path, sequences, candidates), random_base)
    points = tmp_path / "failpoints.json"
    points.write_text(json.dumps({"rank/finished": {"do": "full", "hit": 1, "folder": str(tmp_path / "hits")}}))
    monkeypatch.setenv(VARIABLE, str(points))
    with pytest.raises(OSError, match="No space left"):
        ranked(config)
    assert not config.recommendations.exists()
    work = work_folder(inputs_of(config, NAMES), ranker_of(config), config.recommendations)
    lost, kept = sorted((work / "answers").glob("*.parquet"))
    before = kept.stat().st_mtime_ns
    lost.unlink()
    other = ranked(job(tmp_path, random_base, ranking_seed=1, run_name="other"))  # asks for everything anew
    assert kept.stat().st_mtime_ns == before
    ranker = ranker_of(config)
    with pytest.raises(StoppedError):
        rank(inputs_of(config, NAMES), ranker, config.recommendations, cluster=no_engine)
    answer_here(ranker, config)
    assert kept.stat().st_mtime_ns == before
    rank(inputs_of(config, NAMES), ranker, config.recommendations, cluster=no_engine)
    check_every_candidate_once(config, sequences, candidates)
    assert other["fingerprint"][0] != ranker.fingerprint


@pytest.mark.slow
@pytest.mark.ray
def test_rank_killed_at_every_step_writes_every_candidate_once(tmp_path: Path, random_base: Path) -> None:
    sequences, candidates = shop(2500)
    config = job(write_run(tmp_path / "run", sequences, candidates), random_base)
    command = [sys.executable, "jobs/recommend.py", "rank", "--out", str(config.out), "--base-model", str(random_base)]
    options = ["--retriever=own", "--engine=rule", "--max-prompt-tokens=900", "--max-new-tokens=100", "--count=2"]
    with ray_cluster(tmp_path) as cluster:
        for at in ("rank/asked", "generate", "stage", "rank/answered", "rank/finished", None):
            hits = tmp_path / f"hits-{at}".replace("/", "-")
            wanted = {at: {"do": "kill", "hit": 2 if at == "stage" else 1, "folder": str(hits)}} if at else {}
            cluster.failpoints.write_text(json.dumps(wanted))
            done = subprocess.run(
                [*command, *options, f"--ray-address={cluster.address}"],
                cwd=PROJECT,
                env=cluster.environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
            killed = at is not None and at.startswith("rank/")  # the driver; Ray starts a killed actor again
            assert (done.returncode < 0) == killed, done.stdout + done.stderr
            assert at is None or hits.exists()
            if at == "generate":
                check_every_candidate_once(config, sequences, candidates)
                shutil.rmtree(config.recommendations)
    check_every_candidate_once(config, sequences, candidates)


def test_rank_refuses_options_that_do_not_fit(tmp_path: Path, random_base: Path) -> None:
    for changed, message in (
        ({"method": "likelihood", "palr": "v1"}, "--palr v1 shows none"),
        ({"target": "next"}, "--date belongs to --target next"),
        ({"date": "2026-11-21"}, "--date belongs to --target next"),
        ({"target": "next", "date": "2026-11-21", "run_name": "x"}, "the date is the name"),
        ({"task": "review"}, "--task review ranks nothing"),
    ):
        with pytest.raises(ValidationError, match=message):
            job(tmp_path, random_base, **changed)
