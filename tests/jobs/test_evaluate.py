"""The evaluation job where no engine is needed: endpoints on loopback, baselines, bad input; the report that follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import day, entry, example
from generation.endpoint_server import KEY, EndpointServer, error, text

from jobs import evaluate, report
from reviewllm.config import parse
from reviewllm.errors import ConfigError, EngineError, InputError, RaceError, SchemaError
from reviewllm.evaluation.results import read_evaluation
from reviewllm.evaluation.staging import alone
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, GENERATIONS, INTERACTIONS, METRICS

ONE_WORD = "Fine."


@pytest.fixture
def server() -> Iterator[EndpointServer]:
    with EndpointServer().running() as running:
        yield running


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """25 users of the simple set with a history each, no hard set, and two reviews of the item by others."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    rows = [
        example(
            example_id=f"e{number}",
            user_id=f"u{number}",
            split="simple",
            rating=5.0 - number % 5,
            history=[entry(1, review="It is a good hose for the garden."), entry(2, review=f"Review {number} of a lamp.")],
            reference=ONE_WORD if number == 0 else f"A good hose for my garden number {number}.",
        )
        for number in range(25)
    ]
    trained = [example(example_id="t", user_id="t", reference="A hose that I trained on.", rating=2.0)]
    for split, examples in (("simple", rows), ("train", trained)):
        table = pa.Table.from_pylist(examples, schema=EXAMPLES.schema)
        write_table(table, tmp_path / "examples" / split / "shard-0.parquet", EXAMPLES)
    bought = [
        {
            "purchase_id": f"p{number}",
            "user_id": f"other{number}",
            "item_id": "new",
            "category": "Garden",
            "rating": 4.0,
            "review": f"Somebody's hose {number}.",
            "purchased_at": day(number),
        }
        for number in range(2)
    ]
    table = pa.Table.from_pylist(bought, schema=INTERACTIONS.schema)
    write_table(table, tmp_path / "interactions" / "part-0.parquet", INTERACTIONS)
    return tmp_path


def job(out: Path, base: Path, server: EndpointServer, **changed: Any) -> evaluate.EvaluateJob:
    hosted = EndpointConfig(url=server.url, model="gpt-test", price_per_million_completion_tokens=1e6, max_attempts=1)
    options: dict[str, Any] = {"models": ["gpt", "own-latest", "nearest-user", "majority"], "endpoints": {"gpt": hosted}}
    options |= {"max_prompt_tokens": 400, "max_new_tokens": 16, "track": False}
    return evaluate.EvaluateJob(base_model=str(base), out=out, **(options | changed))


def written(out: Path, model: str) -> pl.DataFrame:
    return pl.DataFrame(read_table(out / "metrics" / "generations", GENERATIONS)).filter(model=model)


def test_evaluate_an_endpoint_beside_baselines(prepared: Path, random_base: Path, server: EndpointServer) -> None:
    server.rule = lambda call: text("  " if "number 3" in call.prompt else "A good hose for my garden.")
    tables = evaluate.evaluate(job(prepared, random_base, server))
    assert "gpt (w/ rating)" in tables
    assert "Table 2: hard evaluation, negative ratings only\n  no rows: this split was not evaluated" in tables
    rows = written(prepared, "gpt")
    assert rows.group_by("with_rating").len()["len"].to_list() == [25, 25]
    head = read_evaluation(prepared / "metrics")
    assert (head.candidate, head.rows) == ("gpt", {"simple": 25})
    assert head.costs["gpt"].requests == 50
    assert head.costs["gpt"].cost == 50 * 3  # three tokens each, at a price of 1 a token
    metrics = pl.DataFrame(read_table(prepared / "metrics" / "metrics.parquet", METRICS))
    one_word = metrics.filter((pl.col("slice") == "reference") & (pl.col("group") == "0-1") & (pl.col("metric") == "rougeL"))
    assert one_word["n"].unique().to_list() == [1]
    kept = [path.read_bytes() for path in prepared.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in content for content in kept)
    page = report.main(report.ReportJob(out=prepared))
    assert "Costs of endpoints" in page.read_text()


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        ({"nli_model": "/nowhere"}, "--nli-model /nowhere: neither a folder nor a hub name"),
        ({"reference_model": "/nowhere"}, "--reference-model /nowhere: neither a folder nor a hub name"),
        ({"engine_kwargs": {"typo": 1}, "reference_model": "its base"}, "vLLM's engine has no argument 'typo'"),
        ({"judge": "other"}, "has no model 'gpt-tset'"),
    ],
)
def test_evaluate_what_measures_is_looked_at_before_a_text_is_written(
    prepared: Path, random_base: Path, server: EndpointServer, measures: dict[str, Any], message: str
) -> None:
    if measures.get("reference_model") == "its base":
        measures = {**measures, "reference_model": str(random_base)}
    config = job(prepared, random_base, server, **measures)
    other = EndpointConfig(url=server.url, model="gpt-tset")
    config = config.model_copy(update={"endpoints": {**config.endpoints, "other": other}})
    with pytest.raises((ConfigError, EngineError), match=message):
        evaluate.evaluate(config)
    assert not [call for call in server.calls if call.prompt]
    assert not (prepared / "config").exists()


def test_evaluate_of_examples_that_were_trained_on_is_refused(
    prepared: Path, random_base: Path, server: EndpointServer
) -> None:
    folder = prepared / "examples"
    (folder / "train" / "shard-0.parquet").rename(folder / "simple" / "shard-1.parquet")
    with pytest.raises(InputError, match=r"examples/simple: holds examples of other splits than simple: 25 simple, 1 train"):
        evaluate.evaluate(job(prepared, random_base, server))


def test_evaluate_in_several_serialisations_names_each(prepared: Path, random_base: Path, server: EndpointServer) -> None:
    server.rule = lambda call: text("A good hose for my garden.")
    forms: dict[str, Any] = {"task": "attributes", "serialisations": ["json", "text"], "max_prompt_tokens": 500}
    tables = evaluate.evaluate(job(prepared, random_base, server, models=["gpt", "own-latest"], **forms))
    assert "gpt, json (w/ rating)" in tables
    assert "gpt, text (w/ rating)" in tables
    prompts = [call.prompt for call in server.calls if call.prompt]
    starts = [
        sum(start in prompt for prompt in prompts)
        for start in ('item:\n{"title": "Garden hose"', "item:\ntitle: Garden hose")
    ]
    assert starts == [50, 50]
    for name in ("gpt, json", "gpt, text"):
        assert written(prepared, name)["attributes_kept"].to_list() == [0] * 50
        assert read_evaluation(prepared / "metrics").costs[name].requests == 50
    assert written(prepared, "own latest review")["attributes_kept"].null_count() == 25
    assert report.main(report.ReportJob(out=prepared)).is_file()


def test_evaluate_empty_texts_are_rows_that_count_as_zero(prepared: Path, random_base: Path, server: EndpointServer) -> None:
    server.rule = lambda call: text(" \n ")
    evaluate.evaluate(job(prepared, random_base, server, models=["gpt"]))
    rows = written(prepared, "gpt")
    assert rows["error_class"].unique().to_list() == ["EmptyOutput"]
    metrics = pl.DataFrame(read_table(prepared / "metrics" / "metrics.parquet", METRICS)).filter(model="gpt", slice="all")
    assert metrics.filter(metric="rouge1").select("value", "n").unique().rows() == [(0.0, 25)]
    assert metrics.filter(metric="failed")["value"].unique().to_list() == [100.0]
    assert metrics.filter(metric="words").is_empty()
    assert report.main(report.ReportJob(out=prepared)).is_file()


def test_evaluate_an_endpoint_that_dies_keeps_its_answers_and_is_resumed(
    prepared: Path, random_base: Path, server: EndpointServer
) -> None:
    server.rule = lambda call: text("Good.") if len(server.calls) <= 10 else error(401, "key revoked")
    with pytest.raises((ConfigError, EngineError), match="401"):
        evaluate.evaluate(job(prepared, random_base, server))
    assert not (prepared / "metrics").exists()
    known = len((prepared / "endpoints" / "gpt.jsonl").read_text().splitlines())
    assert 0 < known < 50
    server.rule = lambda call: text("Good.")
    asked = len(server.calls)
    evaluate.evaluate(job(prepared, random_base, server))
    assert len([call for call in server.calls[asked:] if "/models" not in call.path]) == 50 - known
    assert read_evaluation(prepared / "metrics").costs["gpt"].requests == 50


def test_evaluate_bad_input_stops_before_anything_is_asked(
    prepared: Path, random_base: Path, server: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="--candidate nobody: is not among the models: gpt, own latest review"):
        evaluate.evaluate(job(prepared, random_base, server, candidate="nobody"))
    with pytest.raises(ConfigError, match="--no-rating: evaluate always writes with and without"):
        evaluate.evaluate(job(prepared, random_base, server, rating=False))
    leaky = EndpointConfig(url=server.url, model="gpt-test", extra_body={"secret": KEY})
    with pytest.raises(ConfigError, match="hold the key itself"):
        evaluate.evaluate(job(prepared, random_base, server, endpoints={"gpt": leaky}))
    assert not (prepared / "config" / "evaluate.yaml").exists()
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="the environment variable OPENAI_API_KEY"):
        evaluate.evaluate(job(prepared, random_base, server))
    with pytest.raises(InputError, match="no simple and no hard examples"):
        evaluate.evaluate(job(prepared / "elsewhere", random_base, server))
    assert server.calls == []


def test_evaluate_two_at_once_in_one_folder_is_refused(prepared: Path, random_base: Path, server: EndpointServer) -> None:
    with alone(prepared), pytest.raises(RaceError, match="another job is at work on this folder"):
        evaluate.evaluate(job(prepared, random_base, server))
    assert server.calls == []


def test_evaluate_an_endpoint_that_refuses_every_row_stops_and_keeps_the_earlier_evaluation(
    prepared: Path, random_base: Path, server: EndpointServer
) -> None:
    evaluate.evaluate(job(prepared, random_base, server, models=["own-latest"]))
    before = (prepared / "metrics" / "evaluation.json").read_bytes()
    server.rule = lambda call: error(403, "not for you")
    with pytest.raises(EngineError, match="answered none of 20 rows"):
        evaluate.evaluate(job(prepared, random_base, server))
    assert (prepared / "metrics" / "evaluation.json").read_bytes() == before


def test_evaluate_what_an_endpoint_says_of_tokens_is_believed_only_if_it_can_be(
    prepared: Path, random_base: Path, server: EndpointServer
) -> None:
    server.rule = lambda call: text("Good.", prompt_tokens=-5, completion_tokens=10**12)
    evaluate.evaluate(job(prepared, random_base, server, models=["gpt"]))
    assert read_evaluation(prepared / "metrics").costs["gpt"].without_usage == 50
    assert written(prepared, "gpt")["completion_tokens"].max() < 100  # those of the base's tokenizer


def test_evaluate_a_key_in_the_wrong_place_is_not_shown(tmp_path: Path) -> None:
    key = "sk-proj-0123456789abcdef"
    for wrong in (
        {"api_key": key},
        {"endpoints": key},
        {"endpoints": {"gpt": key}},
        {"endpoints": {"gpt": {"url": "http://x/v1", "model": [key]}}},
        {"endpoints": {"gpt": {"url": "http://x/v1", "model": "m", "timeout_s": key}}},
        {"endpoints": {"gpt": {"url": "http://x/v1", "model": "m", key: 1}}},
        {"endpoints": {key: {"url": "x", "model": "m"}}},
    ):
        (tmp_path / "job.yaml").write_text(json.dumps(wrong))
        with pytest.raises(ConfigError) as refused:
            parse(evaluate.EvaluateJob, ["--config", str(tmp_path / "job.yaml"), "--base-model", "b"])
        assert key not in str(refused.value), wrong
    (tmp_path / "job.yaml").write_text(f'endpoints: {{gpt: "{key}')
    with pytest.raises(ConfigError, match="cannot be read as YAML") as refused:
        parse(evaluate.EvaluateJob, ["--config", str(tmp_path / "job.yaml")])
    assert key not in str(refused.value)


def test_report_of_a_folder_without_an_evaluation_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evaluation\.json: is not there; run jobs/evaluate\.py"):
        report.main(report.ReportJob(out=tmp_path))
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "evaluation.json").write_text(json.dumps({"schema_version": 1}))
    with pytest.raises(SchemaError, match="is of schema version 1, and this reviewllm reads version 6"):
        report.main(report.ReportJob(out=tmp_path))


def test_tracked_names_are_apart_and_of_letters_that_mlflow_takes() -> None:
    from mlflow.utils.validation import _validate_metric_name

    models = ["tiny", "für", "fur", "a,b", "ab", "a/b", "a//b", "夜", "\U0001f600", "\U0001f601", "..", "v1.2 (new)"]
    names = [evaluate._tracked_name("hard", model, rated, "rouge1") for model in models for rated in (True, False)]
    assert len(set(names)) == len(names)
    assert names[:3] == ["hard/tiny with rating/rouge1", "hard/tiny without rating/rouge1", "hard/für with rating/rouge1"]
    for name in names:
        _validate_metric_name(name)
