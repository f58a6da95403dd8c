"""One output folder -> the content of its report: what is there, what is missing, what does not belong together."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from evaluated import ADAPTED, BASE, NAMES, generations

from reviewllm.annotation.agreement import Agreement
from reviewllm.annotation.results import AnnotationResults, ModelResult
from reviewllm.errors import InputError, SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.names import write_names
from reviewllm.generation.failures import EMPTY_OUTPUT
from reviewllm.report import side_by_side
from reviewllm.report.collect import collect
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import COMPARISONS, GENERATIONS, METRICS


def _generations(out: Path, change: Any, *, repeat: int = 0) -> None:
    """Write the generations of the first repeat, each row changed, as those of a repeat."""
    folder = out / "metrics" / "generations"
    rows = [change(row) for row in read_table(folder / "0", GENERATIONS).to_pylist()]
    write_table(generations(rows), folder / str(repeat) / "part-0.parquet", GENERATIONS)


def _edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_collect_reads_a_whole_folder(finished_run):
    report = collect(finished_run, created_at=datetime(2026, 1, 3, tzinfo=UTC))

    assert (report.run, report.title) == ("demo", "Generated reviews: demo")
    # Base and adapter with and without ratings, and one baseline, on 2 sets of 30: the real reviews do not count.
    assert (report.generations, report.failed, report.blank) == (2 * 2 * 2 * 30, 0, 0)
    assert [finding.verdict for finding in report.findings] == [
        *("none", "better", "better"),  # simple: standing, against the base, against the baseline
        *("none", "better", "better", "better"),  # hard: these, and ratings
        "none",  # polite
        *("better", "better"),  # the likelihood of the real reviews, on each set
    ]
    # A token of a real review takes the base 3.0 to 3.4 nats, the adapter half a nat less; no text copied by rule tells it.
    assert [row.cells["reference_nll"].value for row in report.likelihood[0].rows] == pytest.approx([3.2, 3.2, 2.7, 2.7])
    assert report.untold == ("not told for own latest review: texts copied by rule come of no model",)
    # Scores are 10 to 14 (mean 12) for the base, 20 more for the adapter, 8 less on the hard set without ratings.
    assert [row.cells["rouge1"].value for row in report.tables[0].rows] == pytest.approx([12.0, 12.0, 32.0, 32.0, 20.0])
    assert [row.cells["rouge1"].value for row in report.tables[1].rows] == pytest.approx([12.0, 4.0, 32.0, 24.0, 20.0])
    assert [row.kind for row in report.tables[0].rows] == [*["base"] * 2, *["adapter"] * 2, "baseline"]
    assert [step.step for step in report.steps] == ["prepare", "train", "backfill"]
    assert report.config["train"]["lora_r"] == 8
    assert {"reviewllm", "python", "torch", "polars"} <= set(report.versions)
    assert report.human is None


def test_collect_knows_how_the_candidate_was_compared(report):
    ahead = {
        (pair.split, pair.other, pair.other_with_rating): pair
        for pair in report.comparisons
        if pair.metric == "rouge1" and pair.model == NAMES[ADAPTED]
    }

    # 4 others in each set: the base twice, its twin, the baseline.
    assert len(ahead) == 2 * 4
    assert ahead["simple", "tiny", True].difference == pytest.approx(20.0)
    assert ahead["hard", "tiny", False].difference == pytest.approx(20.0 + 8.0)
    assert (ahead["hard", "tiny", True].verdict, ahead["simple", NAMES[ADAPTED], False].verdict) == (
        "higher",
        "no difference",
    )
    assert not [pair for pair in report.comparisons if REAL.name in (pair.model, pair.other)]


def test_collect_shows_all_examples_those_with_prompts_first(report):
    assert (len(report.examples), report.evaluated) == (2 * 30, 2 * 30)
    assert [example.example_id for example in report.examples[:4]] == ["simple-7", "hard-7", "simple-0", "simple-1"]
    assert [len(example.prompts) for example in report.examples] == [2, 2, *[0] * 58]
    assert [prompt.prompt for prompt in report.examples[0].prompts] == [
        "Prompt of simple-7, True.",
        "Prompt of simple-7, False.",
    ]


def test_collect_puts_outputs_of_an_example_side_by_side(report):
    simple, hard = report.examples[:2]

    assert (simple.title, simple.reference, hard.rating) == ("Item of simple-7", "Reference of simple-7.", 2.0)
    assert [(output.model, output.with_rating) for output in simple.outputs] == [
        ("tiny", True),
        ("tiny", False),
        ("tiny + adapter", True),
        ("tiny + adapter", False),
        ("own latest review", False),
    ]
    assert simple.outputs[2].review == "Text of out/adapter for simple-7."
    assert simple.outputs[2].scores["rouge1"] == 10.0 + 7 % 5 + 20.0


def test_collect_chooses_cases_among_all_examples_that_were_evaluated(out_folder, monkeypatch):
    monkeypatch.setattr(side_by_side, "MOST_BROWSED", 4)
    report = collect(out_folder)

    assert [example.example_id for example in report.examples] == ["simple-7", "hard-7", "simple-0", "hard-0"]
    assert (report.evaluated, report.ratings) == (60, {"simple": {"4": 30}, "hard": {"2": 30}})
    # 10 + 4 + 20 is the most that a purchase gives, and simple-4, which the page does not hold, the first of these.
    assert [(case.rule, case.figure, case.example.example_id) for case in report.cases][:2] == [
        ("Best", f"sbert_cosine {10.0 + 4 + 20.0}", "simple-4"),
        ("Worst", f"sbert_cosine {10.0 + 0 + 20.0}", "simple-0"),
    ]
    assert report.cases[-1].rule == "Most polite to a dissatisfied customer"


def test_collect_counts_words_of_models_and_of_the_real_reviews(report):
    assert {label: (len(words), set(words)) for label, words in report.lengths.items()} == {
        label: (2 * 30, {3})
        for label in (
            "tiny (w/ rating)",
            "tiny (w/o rating)",
            "tiny + adapter (w/ rating)",
            "tiny + adapter (w/o rating)",
            REAL.name,
        )
    }


def test_collect_without_samples_shows_examples_without_prompts(out_folder):
    (out_folder / "metrics" / "samples.json").unlink()
    examples = collect(out_folder).examples

    assert [example.example_id for example in examples][:3] == ["simple-0", "simple-1", "simple-2"]
    assert {example.prompts for example in examples} == {()}


def test_collect_shows_the_first_of_several_repeats(out_folder):
    _generations(out_folder, lambda row: row | {"review": "Second repeat."}, repeat=1)
    report = collect(out_folder)

    assert "Second repeat." not in {output.review for example in report.examples for output in example.outputs}
    assert report.generations == 4 * 60


def test_collect_counts_failed_and_blank_texts(out_folder):
    classes = {"simple-1": EMPTY_OUTPUT, "simple-2": "prompt_too_long"}

    def fail(row: dict[str, Any]) -> dict[str, Any]:
        if row["example_id"] not in classes or row["model"] == REAL.name:
            return row
        scores = dict.fromkeys(("rouge1", "rougeL", "sbert_cosine", "words", "sentiment"))
        error = {"review": None, "error": "no text", "error_stage": "generate", "error_class": classes[row["example_id"]]}
        return row | scores | error

    _generations(out_folder, fail)
    report = collect(out_folder)
    (failed,) = (example for example in report.examples if example.example_id == "simple-1")

    assert (report.generations, report.failed, report.blank) == (4 * 60, 2 * 4, 4)
    assert {(output.review, output.error) for output in failed.outputs} == {(None, "no text")}
    assert len(report.lengths["tiny (w/ rating)"]) == 60 - 2


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
    _edit(folder / "_manifest.json", rows=0, failed=0)
    (folder / "shard-0.parquet").unlink()
    night = collect(out_folder).backfill

    assert night is not None
    assert night.samples == ()


def test_collect_reads_what_people_said(out_folder):
    shares = {"annotator-01": 0.5, "annotator-02": 1.0}
    judged = ModelResult(
        model="tiny", mean=0.75, minimum=0.5, maximum=1.0, shares=shares, pairs=2, shown=2, failed=0, blank=0, missing=0
    )
    results = AnnotationResults(
        export_id="x",
        exported_at=datetime(2026, 1, 2, tzinfo=UTC),
        split="simple",
        with_rating=True,
        seed=0,
        annotators=tuple(shares),
        annotators_exported=3,
        examples=2,
        pairs=2,
        missing=0,
        models=(judged,),
        fleiss_kappa=Agreement(value=None, reason="too few", pairs=2),
        krippendorff_alpha=Agreement(value=0.1, reason=None, pairs=2),
    )
    (out_folder / "annotation").mkdir()
    (out_folder / "annotation" / "results.json").write_text(results.model_dump_json())

    assert collect(out_folder).human == results


def test_collect_takes_the_names_that_the_evaluation_gave(out_folder):
    def renamed(table: pa.Table, *columns: str) -> pa.Table:
        for column in columns:
            names = ["Ours" if name == "tiny + adapter" else name for name in table[column].to_pylist()]
            table = table.set_column(table.schema.get_field_index(column), "model", pa.array(names))
        return table

    metrics = out_folder / "metrics"
    write_table(renamed(read_table(metrics / "metrics.parquet", METRICS), "model"), metrics / "metrics.parquet", METRICS)
    names = json.loads((metrics / "models.json").read_text())
    (metrics / "models.json").write_text(json.dumps(names).replace("tiny + adapter", "Ours"))
    head = (metrics / "evaluation.json").read_text()
    (metrics / "evaluation.json").write_text(head.replace('"tiny + adapter"', '"Ours"'))
    report = collect(out_folder)

    assert [output.model for output in report.examples[0].outputs][:4] == ["tiny", "tiny", "Ours", "Ours"]
    assert {row.model for row in report.tables[0].rows} == {"tiny", "Ours", "own latest review"}


def test_collect_refuses_metrics_of_models_without_a_name(out_folder):
    names = json.loads((out_folder / "metrics" / "models.json").read_text())
    renamed = {(one["model"], one["adapter"]): one["name"] + "!" * (one["name"] == "tiny") for one in names}
    write_names(renamed, out_folder / "metrics" / "models.json")

    with pytest.raises(SchemaError, match=r"the metrics speak of tiny, but the models are called tiny!, tiny \+ adapter"):
        collect(out_folder)


def test_collect_refuses_generations_without_a_name(out_folder):
    write_names({BASE: "tiny"}, out_folder / "metrics" / "models.json")

    with pytest.raises(SchemaError, match=r"models\.json: no name for \(model, adapter\) \('models/tiny', 'out/adapter'\)"):
        collect(out_folder)


def test_collect_refuses_a_head_that_does_not_list_a_model(out_folder):
    head = out_folder / "metrics" / "evaluation.json"
    models = [model for model in json.loads(head.read_text())["models"] if model["kind"] != "base"]
    _edit(head, models=models)

    with pytest.raises(SchemaError, match=r"evaluation\.json does not list tiny of models\.json; run jobs/evaluate\.py"):
        collect(out_folder)


def test_collect_without_an_evaluation_says_what_to_run(out_folder):
    (out_folder / "metrics" / "evaluation.json").unlink()
    with pytest.raises(InputError, match=r"evaluation\.json: was written by an earlier version.*run jobs/evaluate\.py"):
        collect(out_folder)

    shutil.rmtree(out_folder / "metrics")
    with pytest.raises(InputError, match=r"evaluation\.json: is not there; run jobs/evaluate\.py on this output folder"):
        collect(out_folder)


@pytest.mark.parametrize("version", [1, 99, None, "2"])
def test_collect_refuses_another_schema_version(out_folder, version):
    _edit(out_folder / "metrics" / "evaluation.json", schema_version=version)

    with pytest.raises(SchemaError, match=rf"is of schema version {version}, and this reviewllm reads version 6; run jobs"):
        collect(out_folder)


def test_collect_empty_metrics_says_what_to_run(out_folder):
    write_table(METRICS.schema.empty_table(), out_folder / "metrics" / "metrics.parquet", METRICS)

    with pytest.raises(SchemaError, match=r"metrics\.parquet: holds no row; run jobs/evaluate\.py again"):
        collect(out_folder)


def test_collect_of_an_evaluation_alone_leaves_the_rest_empty(out_folder):
    for folder in ("examples", "generations"):
        shutil.rmtree(out_folder / folder)
    for file in ("summary.json", "metrics/samples.json", "metrics/validation.json"):
        (out_folder / file).unlink()
    report = collect(out_folder)

    assert len(report.tables[0].rows) == 5
    assert (report.backfill, report.validation, report.human) == (None, None, None)
    assert (report.examples, report.cases, report.ratings, report.steps, report.config) == ((), (), {}, (), {})
    assert (report.generations, report.evaluated) == (4 * 60, 60)


def test_collect_without_the_examples_of_a_split_leaves_them_out(out_folder):
    shutil.rmtree(out_folder / "examples" / "hard")

    assert {example.split for example in collect(out_folder).examples} == {"simple"}


def test_collect_refuses_generations_of_other_examples(out_folder):
    file = out_folder / "metrics" / "generations" / "0" / "part-0.parquet"
    rows = read_table([file], GENERATIONS).to_pylist()
    changed = [row | {"example_id": f"stranger-{n}"} if n < 5 else row for n, row in enumerate(rows)]
    write_table(generations(changed), file, GENERATIONS)

    with pytest.raises(SchemaError, match=r"name 5 example id\(s\) that are not there.*stranger-0, stranger-1, stranger-2;"):
        collect(out_folder)


def test_collect_refuses_a_folder_that_lacks_generations(out_folder):
    file = out_folder / "metrics" / "generations" / "0" / "part-0.parquet"
    rows = read_table([file], GENERATIONS).to_pylist()
    kept = [row for row in rows if row["split"] == "simple" or row["adapter"] or not row["with_rating"]]
    write_table(generations(kept), file, GENERATIONS)

    with pytest.raises(SchemaError, match=r"tiny \(with_rating True\) has 0 of the 30 generations of split hard"):
        collect(out_folder)


def test_collect_refuses_comparisons_that_are_none(out_folder):
    file = out_folder / "metrics" / "comparisons.parquet"
    rows = read_table([file], COMPARISONS).to_pylist()
    for changed, message in (
        ({"verdict": "great"}, "comparisons.parquet: --verdict: Input should be 'higher'"),
        ({"difference": float("nan")}, "comparisons.parquet: --difference: Input should be a finite number"),
        ({"metric": "charm"}, "compares charm, which is no figure"),
    ):
        write_table(pa.Table.from_pylist([rows[0] | changed], schema=COMPARISONS.schema), file, COMPARISONS)
        with pytest.raises(SchemaError, match=message):
            collect(out_folder)


def test_collect_refuses_a_sample_that_was_not_generated_for(out_folder):
    sample = {"example_id": "nobody", "with_rating": True, "prompt": "p"}
    (out_folder / "metrics" / "samples.json").write_text(json.dumps([sample]))

    with pytest.raises(SchemaError, match=r"samples\.json: the samples name 1 example id\(s\).*nobody"):
        collect(out_folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", "{", "summary.json: cannot be read as JSON"),
        ("summary.json", '{"steps": [{"step": "x"}]}', r"summary.json: steps.0.rows_in: Field required"),
        ("metrics/evaluation.json", "[]", "evaluation.json: the whole file: Input should be a valid dictionary"),
        ("metrics/evaluation.json", '{"schema_version": 6}', "evaluation.json: run: Field required"),
        ("metrics/models.json", '[{"model": "m"}]', "models.json: 0.adapter: Field required"),
        ("metrics/samples.json", '{"a": 1}', "samples.json: the whole file: Input should be a valid list"),
        ("metrics/validation.json", "{}", "validation.json: reviews: Field required"),
        ("metrics/metrics.parquet", "PAR", "metrics.parquet: not a readable Parquet file"),
        ("metrics/comparisons.parquet", "PAR", "comparisons.parquet: not a readable Parquet file"),
        ("metrics/generations/0/part-0.parquet", "PAR", "part-0.parquet: not a readable Parquet file"),
        ("examples/hard/shard-0.parquet", "PAR", "hard/shard-0.parquet: not a readable Parquet file"),
        ("annotation/results.json", "{}", "results.json: export_id: Field required"),
        ("generations/dt=2026-01-02/_manifest.json", "{}", "_manifest.json: rows: Field required"),
    ],
)
def test_collect_names_the_file_that_is_broken(out_folder, file, content, message):
    (out_folder / file).parent.mkdir(exist_ok=True)
    (out_folder / file).write_text(content)

    with pytest.raises(SchemaError, match=message):
        collect(out_folder)


@pytest.mark.parametrize("file", ["metrics.parquet", "comparisons.parquet", "models.json", "generations"])
def test_collect_names_what_is_missing_of_the_evaluation(out_folder, file):
    path = out_folder / "metrics" / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    with pytest.raises(SchemaError, match=file):
        collect(out_folder)
