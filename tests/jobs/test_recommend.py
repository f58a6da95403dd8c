"""The job of recommendation: a file of sequences, SASRec, candidates, and the evaluation."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from jobs import recommend
from reviewllm.errors import ConfigError, RaceError
from reviewllm.evaluation.staging import alone
from reviewllm.recommend.tables import CANDIDATES
from reviewllm.summary import read_summary
from reviewllm.table_files import read_table

WALKS = [" ".join([f"u{user}", *(f"i{(user + n) % 12:02d}" for n in range(6 + user % 3))]) for user in range(40)]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A run's folder of users who go around twelve items."""
    (tmp_path / "s.txt").write_text("\n".join(WALKS) + "\n")
    recommend.prepare(recommend.PrepareJob(sequences=tmp_path / "s.txt", out=tmp_path / "run"))
    return tmp_path / "run"


def test_flow_from_sequences_to_metrics(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    recommend.train(
        recommend.TrainSasrecJob(
            hidden_size=16, dropout=0.1, epochs=40, evaluate_every=10, learning_rate=0.03, batch_places=64, out=prepared
        )
    )
    for retriever in ("popular", "sasrec"):
        recommend.retrieve_candidates(recommend.RetrieveJob(retriever=retriever, num_candidates=3, out=prepared))
        recommend.retrieve_candidates(
            recommend.RetrieveJob(retriever=retriever, num_candidates=3, target="next", out=prepared)
        )
    recommend.evaluate(recommend.EvaluateJob(out=prepared))
    torch.set_num_threads(threads)
    rows = pl.DataFrame(read_table(prepared / "candidates" / "next" / "sasrec.parquet", CANDIDATES))
    assert rows.group_by("user_id").len()["len"].to_list() == [3] * 40
    # Who has gone 6 steps from i00 has i05 last, and i06 comes next.
    first = dict(rows.filter(rank=1).select("user_id", "item_id").rows())
    assert sum(first[f"u{user}"] == f"i{(user + 6 + user % 3) % 12:02d}" for user in range(40)) > 20
    report = json.loads((prepared / "recommend-metrics" / "metrics.json").read_text())
    assert (report["candidate"], report["users"], list(report["systems"])) == ("sasrec", 40, ["popular", "sasrec"])
    assert [step["step"] for step in read_summary(prepared)["steps"]] == [
        "recommend prepare",
        "recommend sasrec",
        "recommend retrieve test popular",
        "recommend retrieve next popular",
        "recommend retrieve test sasrec",
        "recommend retrieve next sasrec",
        "recommend evaluate",
    ]
    assert read_summary(prepared)["steps"][0]["counts"]["interactions"] == sum(6 + user % 3 for user in range(40))
    printed = capsys.readouterr().out
    assert "sasrec against popular, HR@10" in printed


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "expected one of --interactions, --sequences and --movielens, found none"),
        ({"sequences": "s", "movielens": "m"}, "found --sequences and --movielens"),
        ({"movielens": "m", "items": "i"}, "--items belongs to --interactions; leave it out with --movielens"),
        ({"interactions": "m", "item_names": "i"}, "--item-names belongs to --sequences"),
    ],
)
def test_prepare_refuses_sources_that_do_not_go_together(given: dict[str, str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=problem):
        recommend.prepare(recommend.PrepareJob(**given, out=tmp_path))  # type: ignore[arg-type]


def test_evaluate_refuses_a_candidate_that_is_not_there(prepared: Path) -> None:
    recommend.retrieve_candidates(recommend.RetrieveJob(retriever="popular", out=prepared))
    with pytest.raises(ConfigError, match="there is no such system; there are popular"):
        recommend.evaluate(recommend.EvaluateJob(candidate="palr", out=prepared))


def test_prepare_and_retrieve_leave_a_folder_alone_in_which_a_ranking_is_at_work(prepared: Path) -> None:
    before = (prepared / "sequences" / "sequences.parquet").stat().st_mtime_ns
    with alone(prepared):
        with pytest.raises(RaceError, match="another job is at work on this folder"):
            recommend.prepare(recommend.PrepareJob(sequences=prepared.parent / "s.txt", core=1, out=prepared))
        with pytest.raises(RaceError, match="another job is at work on this folder"):
            recommend.retrieve_candidates(recommend.RetrieveJob(retriever="popular", out=prepared))
    assert (prepared / "sequences" / "sequences.parquet").stat().st_mtime_ns == before
    assert not (prepared / "candidates").exists()


def test_import_needs_no_torch() -> None:
    import subprocess

    code = "import sys, jobs.recommend; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(recommend.__file__).parents[1]).returncode == 0
