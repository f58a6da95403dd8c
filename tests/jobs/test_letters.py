"""Every job in folders, and on ids and categories, of letters that a URI, a glob, a shell or SQL reads otherwise."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow.parquet as pq
import pytest
from annotated_run import csv_text
from permissions import closed_to_others, umask

from jobs import annotate, attributes, backfill, evaluate, merge, prepare, recommend, report, train
from jobs.recommend_learn import ExamplesJob, ProfileJob, examples, profile_users
from jobs.recommend_rank import ExplainJob, RankJob, explain, rank_candidates
from reviewllm.annotation.key import read_key
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.sft.adapter import CURVE_FILE, model_digest
from reviewllm.sources.shop import ShopConfig, write_shop
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base, user_documents

pytestmark = [pytest.mark.slow, pytest.mark.ray]

ODD = "für uns, 夜\U0001f600 %41 #1 & a=b; 'c' \"d\" [e]*?{f} $HOME ~"
PLAIN = "plain-folder"
CATEGORY = "Gärten & 'Höfe' 50% [a]"
NAMES = {"Garden Tools": CATEGORY, "U0": "ü '%41\U0001f600/[0]*\"", "B0": "夜?&=#{0}"}
DATE = "2026-01-01"
VOLATILE = ["generated_at", "failed_at", "superseded_at", "fingerprint"]  # an adapter's has the name of its base


class Run(NamedTuple):
    """A folder with everything in it, and the name of its training."""

    root: Path
    name: str

    @property
    def out(self) -> Path:
        return self.root / "run"

    @property
    def base(self) -> Path:
        return self.root / "base"

    def plain(self, text: str) -> str:
        """A text in which nothing tells which of the runs it is of."""
        text = text.replace(str(self.root), "ROOT").replace(self.name, "NAME").replace(self.root.name, "FOLDER")
        return re.sub(r"(/part-\d{5})-[0-9a-f]{8}\b", r"\1", text)  # by the content, which has the time


def write_raw(folder: Path) -> None:
    """A small shop whose users, items and one category have odd names."""
    for written in write_shop(folder, ShopConfig(shop_users=40, shop_items=24)):
        for file in sorted(written.iterdir()):
            text = gzip.decompress(file.read_bytes()).decode()
            for plain, odd in NAMES.items():
                text = text.replace(f'"{plain}', json.dumps(odd)[:-1])
            file.write_bytes(gzip.compress(text.encode(), mtime=0))
            file.rename(file.with_name(file.name.replace("Garden_Tools", CATEGORY)))  # files of 2023 are named by it


def write_products(folder: Path) -> None:
    """A benchmark of attributes."""
    for name, numbers in (("train", range(30)), ("test", range(30, 40))):
        rows = [
            {
                "input": f"Crôcs Clog, {number} M US",
                "category": CATEGORY,
                "target_scores": {"Brand": {"Crôcs": 1}, "Size": {f"{number} M US": 1}},
            }
            for number in numbers
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def review_jobs(run: Run) -> None:
    out, prompt = run.out, {"max_prompt_tokens": 400}
    prepare.main(
        prepare.PrepareJob(
            reviews=[str(run.root / "raw" / "reviews")],
            items=[str(run.root / "raw" / "items")],
            out=out,
            targets="all",
            hide_fraction=0.05,
        )
    )
    size = TinyBaseConfig(base_hidden=32, base_layers=1, base_steps=2)
    make_tiny_base(user_documents(read_table(out / "examples" / "train", EXAMPLES)), run.base, size, context=2048)
    train.main(
        train.TrainJob(
            base_model=str(run.base),
            out=out,
            run_name=run.name,
            max_steps=2,
            save_steps=1,
            learning_rate=1e-2,
            merged=True,
            **prompt,
        )
    )
    merge.main(merge.MergeJob(base_model=str(run.base), adapter=out / "adapter", merged=out / "merged again"))
    evaluate.main(
        evaluate.EvaluateJob(
            base_model=str(run.base),
            out=out,
            engine="rule",
            protocol="review-llm",
            repeats=1,
            adapter_name="Prüfer (v2)",
            run_name=run.name,
            **prompt,
        )
    )
    annotate.export_pages(annotate.ExportJob(out=out, pairs=5, annotators=1))
    key = read_key(out / "annotation")
    (run.root / "answers.csv").write_text(csv_text({pair.pair_id: 1 for pair in key.pairs}, export_id=key.export_id))
    annotate.import_answers(annotate.ImportJob(out=out, answers=[run.root / "answers.csv"]))
    night: dict[str, Any] = {"base_model": str(run.base), "out": out, "engine": "rule", "date": DATE, **prompt}
    backfill.main(backfill.BackfillJob(adapter=str(out / "adapter"), shard_rows=10, **night))
    backfill.verify(backfill.VerifyJob(out=out, date=DATE))
    user = read_table(out / "examples" / "backfill", EXAMPLES)["user_id"][0].as_py()
    assert user.startswith(NAMES["U0"])
    assert backfill.forget(backfill.ForgetJob(out=out, user=[user]))
    report.main(report.ReportJob(out=out))
    report.compare(report.CompareJob(before=out, after=out))
    report.nightly(report.NightlyJob(data=str(out)))


def attribute_jobs(run: Run) -> None:
    learned = run.root / "learned"
    attributes.prepare(
        attributes.PrepareJob(train=run.root / "raw" / "train.jsonl", test=run.root / "raw" / "test.jsonl", out=learned)
    )
    attributes.show(attributes.EvaluateJob(out=learned, engine="rule", run_name=run.name))
    attributes.fill(attributes.FillJob(items=run.out / "items", learned=learned, out=run.out, engine="rule"))


def recommendation_jobs(run: Run) -> None:
    out, model = run.root / "next", {"base_model": str(run.base), "engine": "rule"}
    recommend.prepare(recommend.PrepareJob(interactions=run.out / "interactions", items=run.out / "items", core=2, out=out))
    recommend.train(recommend.TrainSasrecJob(out=out, hidden_size=16, epochs=1, evaluate_every=1))
    profile_users(ProfileJob(out=out, target="validation", engine="rule"))
    profile_users(ProfileJob(out=out, engine="rule"))
    for retriever in ("sasrec", "profile"):
        recommend.retrieve_candidates(recommend.RetrieveJob(out=out, retriever=retriever, num_candidates=8))
    examples(ExamplesJob(out=out, num_candidates=8, users_fraction=0.5, profiles=True))
    ranking = RankJob(out=out, num_candidates=8, sample_users=5, profiles=True, max_prompt_tokens=900, **model)
    rank_candidates(ranking)
    explain(ExplainJob(out=out, recommendations=ranking.recommendations, interactions=run.out / "interactions", **model))
    recommend.evaluate(
        recommend.EvaluateJob(
            out=out,
            run_name=run.name,
            systems=[str(out / "candidates" / "test" / "sasrec.parquet"), f"ranked={ranking.recommendations}"],
        )
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Run]]:
    """Everything in a folder of plain letters, and in one of odd ones; for a group, as on a shared disk."""
    folder = tmp_path_factory.mktemp("letters")
    both = Run(folder / PLAIN, "run-of-may"), Run(folder / ODD, "für-mai")
    with umask(0o002), ray_session(ClusterConfig()):
        for run in both:
            write_raw(run.root / "raw")
            write_products(run.root / "raw")
            review_jobs(run)
            attribute_jobs(run)
            recommendation_jobs(run)
        yield both


def test_files_of_odd_names_are_those_of_plain_names(runs: tuple[Run, Run]) -> None:
    plain, odd = ({run.plain(str(path)) for path in run.root.rglob("*") if "tensorboard" not in path.parts} for run in runs)
    assert plain == odd
    assert {path.name for path in runs[0].root.parent.iterdir()} == {PLAIN, ODD}  # and nothing has been written beside


def tables(run: Run) -> dict[str, pl.DataFrame]:
    """Every table, with what is of its run alone taken out."""
    found = {}
    for file in sorted(run.root.rglob("*.parquet")):
        rows = pl.DataFrame(pq.ParquetFile(file).read()).drop(VOLATILE, strict=False)
        texts = [name for name, kind in rows.schema.items() if kind == pl.String]
        found[run.plain(str(file.relative_to(run.root)))] = rows.with_columns(
            pl.col(texts).map_elements(run.plain, return_dtype=pl.String)
        )
    return found


def test_tables_in_odd_folders_are_those_in_plain_ones(runs: tuple[Run, Run]) -> None:
    plain, odd = map(tables, runs)
    for name, rows in plain.items():
        if not name.startswith(("run/ledger", "run/annotation")):  # times, random ids
            assert odd[name].equals(rows), name


def test_models_in_odd_folders_are_those_in_plain_ones(runs: tuple[Run, Run]) -> None:
    plain, odd = runs
    for name in ("adapter", "merged", "merged again"):
        assert (plain.out / name / CURVE_FILE).is_file() == (name == "adapter")
    assert model_digest(plain.out / "merged") == model_digest(odd.out / "merged")
    assert (plain.out / "adapter" / CURVE_FILE).read_bytes() == (odd.out / "adapter" / CURVE_FILE).read_bytes()


def test_files_of_a_group_may_be_written_by_the_group(runs: tuple[Run, Run]) -> None:
    with umask(0o002):
        assert [closed_to_others(run.root) for run in runs] == [{}, {}]
