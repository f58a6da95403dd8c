"""One output folder -> the content of its report: what is there, what is missing, what does not belong together."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from reviewllm.errors import InputError, SchemaError
from reviewllm.report.collect import collect
from reviewllm.evaluation.names import write_names
from reviewllm.tables import GENERATIONS, METRICS, read_table, write_table


def _samples(out: Path, rows: list[dict[str, object]]) -> None:
    (out / "metrics" / "samples.json").write_text(json.dumps(rows))


def test_collect_reads_a_whole_folder(out_folder):
    report = collect(out_folder, created_at=datetime(2026, 1, 3, tzinfo=UTC))

    assert (report.run, report.generations, report.failed) == ("demo", 2 * 2 * 2 * 30, 0)
    assert [finding.verdict for finding in report.findings] == ["better", "better", "better"]
    # Scores are 10 to 14 (mean 12) for the base, 20 more for the adapter, 8 less on the hard set without ratings.
    assert [row.cells["rouge1"].value for row in report.tables[0].rows] == pytest.approx([12.0, 12.0, 32.0, 32.0])
    assert [row.cells["rouge1"].value for row in report.tables[1].rows] == pytest.approx([12.0, 4.0, 32.0, 24.0])
    assert [step.step for step in report.steps] == ["prepare", "train", "backfill"]
    assert report.config["train"]["lora_r"] == 8
    assert {"reviewllm", "python", "torch", "polars"} <= set(report.versions)


def test_collect_puts_outputs_of_a_sample_side_by_side(out_folder):
    simple, hard = collect(out_folder).examples

    assert (simple.example_id, hard.example_id) == ("simple-7", "hard-7")
    assert (simple.title, simple.reference, hard.rating) == ("Item of simple-7", "Reference of simple-7.", 2.0)
    assert [(output.model, output.with_rating) for output in simple.outputs] == [
        ("tiny", True),
        ("tiny", False),
        ("tiny + adapter", True),
        ("tiny + adapter", False),
    ]
    assert simple.outputs[2].review == "Text of out/adapter for simple-7."
    assert simple.outputs[2].scores["rouge1"] == 10.0 + 7 % 5 + 20.0
    assert [prompt.prompt for prompt in simple.prompts] == ["Prompt of simple-7, True.", "Prompt of simple-7, False."]


def test_collect_without_samples_shows_the_first_examples_without_prompts(out_folder):
    (out_folder / "metrics" / "samples.json").unlink()
    examples = collect(out_folder).examples

    assert [example.example_id for example in examples] == [
        *("simple-0", "simple-1", "simple-10"),
        *("hard-0", "hard-1", "hard-10"),
    ]
    assert {example.prompts for example in examples} == {()}


def test_collect_shows_the_first_of_several_repeats(out_folder, generation):
    again = [generation("simple-7", 99.0, review="Second repeat.")]
    table = pa.Table.from_pylist(again, schema=GENERATIONS.schema)
    write_table(table, out_folder / "metrics" / "generations" / "part-1.parquet", GENERATIONS)

    assert [output.review for output in collect(out_folder).examples[0].outputs if output.model == "tiny"] == [
        "Text of None for simple-7.",
        "Text of None for simple-7.",
    ]


def test_collect_reads_the_newest_published_night(out_folder):
    newest = out_folder / "generations" / "dt=2026-01-10"
    shutil.copytree(out_folder / "generations" / "dt=2026-01-02", newest)
    shutil.copytree(newest, out_folder / "generations" / "dt=2026-01-11")
    (out_folder / "generations" / "dt=2026-01-11" / "_manifest.json").unlink()  # not published
    night = collect(out_folder).backfill

    assert night is not None
    assert (night.folder, night.rows, night.failed) == ("generations/dt=2026-01-10", 3, 1)
    assert (night.prompt_tokens, night.completion_tokens, night.seconds) == (1234, 56, 2.25)
    assert [row.review for row in night.samples] == ["First text.", "Second text."]


def test_collect_night_without_rows_has_no_samples(out_folder):
    folder = out_folder / "generations" / "dt=2026-01-02"
    manifest = json.loads((folder / "_manifest.json").read_text()) | {"rows": 0, "failed": 0}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    (folder / "shard-0.parquet").unlink()
    night = collect(out_folder).backfill

    assert night is not None
    assert night.samples == ()


def test_collect_takes_the_names_that_the_evaluation_gave(out_folder):
    metrics = read_table(out_folder / "metrics" / "metrics.parquet", METRICS)
    called = ["Ours" if name == "tiny + adapter" else name for name in metrics["model"].to_pylist()]
    metrics = metrics.set_column(1, "model", pa.array(called))
    write_table(metrics, out_folder / "metrics" / "metrics.parquet", METRICS)
    names = {("models/tiny", None): "tiny", ("models/tiny", "out/adapter"): "Ours"}
    write_names(names, out_folder / "metrics" / "models.json")
    report = collect(out_folder)

    assert report.findings[0].claim.startswith("On the simple set, Ours (w/ rating) beats its base tiny")
    assert [output.model for output in report.examples[0].outputs] == ["tiny", "tiny", "Ours", "Ours"]
    (out_folder / "metrics" / "models.json").unlink()
    with pytest.raises(SchemaError, match=r"the metrics speak of Ours, but the models are called tiny, tiny \+ adapter"):
        collect(out_folder)


def test_collect_without_metrics_says_what_to_run(out_folder):
    (out_folder / "metrics" / "metrics.parquet").unlink()

    with pytest.raises(InputError, match=r"metrics\.parquet: no metrics are there; run jobs/evaluate\.py"):
        collect(out_folder)


def test_collect_empty_metrics_says_what_to_run(out_folder):
    write_table(METRICS.schema.empty_table(), out_folder / "metrics" / "metrics.parquet", METRICS)

    with pytest.raises(SchemaError, match=r"hold no row; run jobs/evaluate\.py"):
        collect(out_folder)


def test_collect_of_metrics_alone_leaves_the_rest_empty(out_folder):
    for folder in ("metrics/generations", "examples", "generations"):
        shutil.rmtree(out_folder / folder)
    (out_folder / "summary.json").unlink()
    report = collect(out_folder)

    assert len(report.tables[0].rows) == 4
    assert (report.generations, report.failed, report.backfill) == (None, None, None)
    assert (report.examples, report.steps, report.config) == ((), (), {})
    assert {finding.verdict for finding in report.findings} <= {"unknown", "better", "unclear"}


def test_collect_without_the_examples_of_a_split_leaves_them_out(out_folder):
    shutil.rmtree(out_folder / "examples" / "hard")

    assert [example.split for example in collect(out_folder).examples] == ["simple"]


def test_collect_refuses_generations_of_other_examples(out_folder, generation):
    strangers = [generation(f"stranger-{number}") for number in range(5)]
    table = pa.Table.from_pylist(strangers, schema=GENERATIONS.schema)
    write_table(table, out_folder / "metrics" / "generations" / "part-1.parquet", GENERATIONS)

    with pytest.raises(SchemaError, match=r"name 5 example id\(s\) that are not there.*stranger-0, stranger-1, stranger-2;"):
        collect(out_folder)


def test_collect_refuses_a_sample_that_was_not_generated_for(out_folder):
    _samples(out_folder, [{"example_id": "nobody", "with_rating": True, "prompt": "p"}])

    with pytest.raises(SchemaError, match=r"samples\.json: the samples name 1 example id\(s\).*nobody"):
        collect(out_folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", "{", "summary.json: cannot be read as JSON"),
        ("summary.json", '{"steps": [{"step": "x"}]}', r"summary.json: steps.0.rows_in: Field required"),
        ("metrics/samples.json", '{"a": 1}', "samples.json: the whole file: Input should be a valid list"),
        ("metrics/metrics.parquet", "PAR", "metrics.parquet: not a readable Parquet file"),
        ("generations/dt=2026-01-02/_manifest.json", "{}", "_manifest.json: rows: Field required"),
    ],
)
def test_collect_names_the_file_that_is_broken(out_folder, file, content, message):
    (out_folder / file).write_text(content)

    with pytest.raises(SchemaError, match=message):
        collect(out_folder)
