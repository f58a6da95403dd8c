"""Shops whose customers write German, French, Spanish, Japanese and Chinese: raw file to page, and a night by rule."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs import evaluate, prepare, report
from reviewllm.evaluation.results import read_evaluation
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.generate_shard import ShardGenerator
from reviewllm.generation.model import make_variant
from reviewllm.generation.render_shard import ShardRenderer
from reviewllm.generation.score_shard import ShardScorer
from reviewllm.generation.tasks import GenerationSpec, Piece, Task, task_table
from reviewllm.prompts.config import PromptConfig
from reviewllm.table_files import read_table, table_files
from reviewllm.tables import EXAMPLES, GENERATIONS, METRICS

# Of each language what satisfied customers write, and what others do.
REVIEWS = {
    "German": (
        [
            "Die Gitarre klingt warm und voll, und das Griffbrett ist sauber verarbeitet.",
            "Sehr guter Verstärker für das Wohnzimmer, laut genug und ohne Rauschen.",
            "Die Saiten halten die Stimmung auch nach einer Probe von drei Stunden.",
        ],
        [
            "Der Riemen ist nach zwei Wochen gerissen, das Geld kann man sich sparen.",
            "Leider kam das Kabel ohne Stecker an.",
        ],
    ),
    "French": (
        [
            "La guitare a un son chaud et la finition du manche est très soignée.",
            "Un petit ampli parfait pour l'appartement, sans souffle et assez puissant.",
            "Les cordes tiennent bien l'accord, je les rachèterai sans hésiter.",
        ],
        [
            "La sangle s'est déchirée au bout de deux semaines, je suis très déçu.",
            "Le câble est arrivé sans fiche, c'est honteux.",
        ],
    ),
    "Spanish": (
        [
            "La guitarra suena muy bien y el mástil está perfectamente acabado.",
            "Un amplificador pequeño para casa, potente y sin ruido de fondo.",
            "Las cuerdas mantienen la afinación después de tres horas de ensayo.",
        ],
        ["La correa se rompió a las dos semanas, no la recomiendo.", "El cable llegó sin conector y nadie contesta."],
    ),
    "Japanese": (
        [
            "ギターの音が温かく、ネックの仕上げもとても丁寧です。",
            "部屋で使うには十分な音量で、雑音もありません。",
            "三時間練習しても弦のチューニングが狂いません。",
        ],
        ["ストラップが二週間で切れました。お金の無駄です。", "ケーブルにプラグが付いていませんでした。"],
    ),
    "Chinese": (
        [
            "吉他的音色很温暖，琴颈的做工也非常细致。",
            "在家里用音量足够大，没有任何杂音，很满意。",
            "练了三个小时，琴弦的音还是准的，会再买。",
        ],
        ["背带用了两个星期就断了，真是浪费钱。", "收到的线没有插头，客服也不回复。"],
    ),
}
SPACELESS = ("Japanese", "Chinese")
JOB: dict[str, Any] = {"models": ["own-latest", "majority"], "max_prompt_tokens": 400, "max_new_tokens": 16, "track": False}


def write_reviews(folder: Path, *, users: int = 12) -> Path:
    """A raw file for each language: users with four reviews, the last of them of 1 or 5 stars in turn, and a rating alone."""
    for language, (good, bad) in REVIEWS.items():
        lines = []
        for user in range(users):
            texts = [(good[(user + number) % 3], 5.0) for number in range(3)]
            texts += [(bad[user // 2 % 2], 1.0) if user % 2 else (good[user % 3], 5.0), ("", 4.0)]
            lines += [
                {
                    "rating": stars,
                    "title": "",
                    "text": text,
                    "asin": f"{language}-{number}",
                    "parent_asin": f"{language}-{number}",
                    "user_id": f"{language}-{user}",
                    "timestamp": 1_600_000_000_000 + 86_400_000 * (10 * user + number),
                    "helpful_vote": 0,
                    "verified_purchase": True,
                }
                for number, (text, stars) in enumerate(texts)
            ]
        folder.mkdir(exist_ok=True)
        text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
        (folder / f"{language}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("languages")
    raw = write_reviews(out / "raw")
    bounds: dict[str, Any] = {"more_than_reviews": 2, "fewer_than_reviews": 9, "train_per_category": 200, "targets": "all"}
    prepare.main(prepare.PrepareJob(reviews=[str(raw)], out=out / "run", hide_fraction=0.1, **bounds))
    return out / "run"


def line(metrics: pl.DataFrame, metric: str, **key: Any) -> dict[str, Any]:
    (found,) = metrics.filter(metric=metric, split="simple", model="own latest review", **key).to_dicts()
    return dict(found)


def test_evaluation_and_report_say_what_the_scores_cannot_read(prepared: Path, random_base: Path) -> None:
    tables = evaluate.evaluate(evaluate.EvaluateJob(base_model=str(random_base), out=prepared, **JOB))
    rows = {name: read_evaluation(prepared / "metrics").rows[name] for name in ("simple", "hard")}
    unread = {
        name: read_table(prepared / "examples" / name, GENERATIONS.only(["category"]))["category"].to_pylist()
        for name in rows
    }
    spaceless = {name: sum(one in SPACELESS for one in found) for name, found in unread.items()}
    for name, count in rows.items():
        assert 0 < spaceless[name] < count
        assert f"ROUGE-1: {spaceless[name]} of {count} references cannot be scored by this; --rouge-words unicode" in tables
        assert f"sbert_cosine: {count} of {count} references cannot be scored by this; --embedding names a model" in tables
    assert "*" not in tables
    metrics = pl.DataFrame(read_table(prepared / "metrics" / "metrics.parquet", METRICS))
    german = line(metrics, "rouge1", slice="category", group="German")
    chinese = line(metrics, "rouge1", slice="category", group="Chinese")
    assert 0 < german["value"] < 100
    assert (chinese["value"], chinese["n"], chinese["unread"] > 0) == (None, 0, True)
    for name in ("sentiment_agreement", "claims", "relevance"):
        assert line(metrics, name, slice="all")["value"] is None
    assert line(metrics, "length_ratio", slice="category", group="Chinese")["value"] == pytest.approx(1, abs=0.5)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", report.main(report.ReportJob(out=prepared)).read_text()))
    assert f"{rows['simple']} of {rows['simple']} references cannot be scored by this" in text
    assert f"{rows['hard']} of {rows['hard']} cannot be scored" in text
    assert "cannot be told: no score can read the references" in text
    assert "more are not English and cannot be scored" in text


def test_evaluation_by_words_of_any_script_scores_every_reference(prepared: Path, random_base: Path) -> None:
    job = evaluate.EvaluateJob(base_model=str(random_base), out=prepared, rouge_words="unicode", **JOB)
    tables = evaluate.evaluate(job)
    assert "ROUGE-1: " not in tables
    assert "* " in tables
    metrics = pl.DataFrame(read_table(prepared / "metrics" / "metrics.parquet", METRICS))
    for language in REVIEWS:
        assert line(metrics, "rouge1", slice="category", group=language)["unread"] == 0
    real = metrics.filter(metric="rouge1", slice="all", model="the real reviews")["value"].to_list()
    assert real == pytest.approx([100.0] * len(real))


def test_a_backfill_by_rule_is_scored_against_the_references_that_can_be_read(
    prepared: Path, random_base: Path, tmp_path: Path
) -> None:
    """The actors of a night, in this process; the rule writes English, whatever the shop's language is."""
    generation, prompt = GenerationConfig(engine="rule", max_new_tokens=16), PromptConfig(max_prompt_tokens=400)
    variant = make_variant(base_model=str(random_base), adapter=None, prompt=prompt, generation=generation)
    shards = prepared / "examples" / "backfill"
    spec = GenerationSpec(
        generation=generation,
        model=random_base,
        live_adapters=False,
        variants=[variant],
        source=str(shards),
        target=str(tmp_path),
    )
    tasks = task_table([Task([Piece(file.name)], 0, file.name) for file in table_files(shards, EXAMPLES)])
    for number in range(tasks.num_rows):
        ShardScorer(spec)(asyncio.run(ShardGenerator(spec)(ShardRenderer(spec)(tasks.slice(number, 1)))))
    asked = pl.DataFrame(read_table(shards, EXAMPLES)).select("example_id", "reference")
    rows = pl.DataFrame(read_table(tmp_path, GENERATIONS)).join(asked, on="example_id")
    assert len(rows) == len(asked)
    told = rows.drop_nulls("reference").group_by("category").agg(pl.col("rouge1", "sbert_cosine").is_not_null().any())
    assert dict(told.select("category", "rouge1").rows()) == {name: name not in SPACELESS for name in REVIEWS}
    assert not told["sbert_cosine"].any()
    assert rows["sentiment"].null_count() == rows["claims"].null_count() == 0
