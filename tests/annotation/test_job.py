"""The job from the command line: export, answers of two people, import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from annotated_run import ADAPTED, TINY, csv_text, generation, write_run

from jobs.annotate import ExportJob, ImportJob, export_pages, import_answers
from jobs.entry import run
from reviewllm.annotation.key import read_key
from reviewllm.annotation.results import read_results
from reviewllm.summary import read_summary

JOB = Path(__file__).resolve().parents[2] / "jobs" / "annotate.py"


def _export(*arguments):
    run(export_pages, ExportJob, arguments)


def _import(*arguments):
    run(import_answers, ImportJob, arguments)


def test_export_and_import(run_folder, write, capsys):
    _export("--out", str(run_folder), "--pairs", "5", "--annotators", "2", "--seed", "3")
    key = read_key(run_folder / "annotation")
    said = capsys.readouterr().out
    assert "2 models x 5 examples = 10 reviews in 10 pairs for 2 annotators" in said
    assert "keep " in said
    assert "key.json to yourself" in said

    for number, annotator in enumerate(
        key.annotators
    ):  # the second finds everything of the adapter similar, the first nothing
        answers = {pair.pair_id: int(number == 1 and pair.models == ("Review-LLM",)) for pair in key.pairs}
        write(csv_text(answers, annotator=annotator, export_id=key.export_id), f"{annotator}.csv")
    _import("--out", str(run_folder), "--answers", str(write("", "not yet.txt").parent))
    results = read_results(run_folder)
    assert [(model.model, model.mean, model.minimum, model.maximum) for model in results.models] == [
        ("tiny", 0.0, 0.0, 0.0),
        ("Review-LLM", (0.0 + 1.0) / 2, 0.0, 1.0),
    ]
    assert "Review-LLM   50.0 %  0.0 %  100.0 %      5" in capsys.readouterr().out
    steps = {step["step"]: step for step in read_summary(run_folder)["steps"]}
    assert (steps["annotate export"]["rows_in"], steps["annotate export"]["rows_out"]) == (10, 10)
    assert (steps["annotate import"]["rows_in"], steps["annotate import"]["rows_out"]) == (20, 20)
    assert {path.name for path in (run_folder / "config").iterdir()} == {"annotate-export.yaml", "annotate-import.yaml"}


def test_export_says_what_it_does_not_show_and_when_there_are_fewer_examples(tmp_path, capsys):
    rows = [generation("e1", TINY, None), generation("e2", TINY, " "), generation("e3", TINY, "Good.")]
    rows += [generation(f"e{number}", ADAPTED, "Good.") for number in (1, 2, 3)]
    _export("--out", str(write_run(tmp_path, rows)))
    said = capsys.readouterr().out

    assert "2 models x 3 examples = 6 reviews in 3 pairs for 10 annotators" in said
    assert "3 examples were evaluated, fewer than the 100 asked for: all are shown" in said
    assert "tiny: 1 failed and 1 blank reviews are not shown; they count as not similar" in said
    assert "Review-LLM:" not in said


def test_export_takes_models_and_prompts_without_ratings(run_folder):
    _export("--out", str(run_folder), "--no-with-rating", "--models", "no-rating twin", "--annotators", "1")

    assert json.loads((run_folder / "annotation" / "key.json").read_text())["models"] == ["no-rating twin"]


def test_export_refuses_to_replace_unasked(run_folder, capsys):
    _export("--out", str(run_folder))
    key = read_key(run_folder / "annotation")
    with pytest.raises(SystemExit, match="2"):
        _export("--out", str(run_folder))
    assert "InputError" in capsys.readouterr().err
    assert read_key(run_folder / "annotation") == key
    _export("--out", str(run_folder), "--replace")
    assert read_key(run_folder / "annotation").export_id != key.export_id


def test_import_refuses_what_is_partial_and_takes_it_when_asked(run_folder, write, capsys):
    _export("--out", str(run_folder), "--annotators", "1")
    key = read_key(run_folder / "annotation")
    file = write(csv_text({key.pairs[0].pair_id: 1}, export_id=key.export_id))
    with pytest.raises(SystemExit, match="2"):
        _import("--out", str(run_folder), "--answers", str(file))
    assert "23 of 24 pairs have no answer" in capsys.readouterr().err
    assert read_results(run_folder) is None
    _import("--out", str(run_folder), "--answers", str(file), "--allow-partial")
    assert read_results(run_folder).missing == 23


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["exprot"], 2), (["--help"], 0), (["export", "--help"], 0)])
def test_command_line_names_its_subcommands(arguments, status):
    done = subprocess.run([sys.executable, JOB, *arguments], capture_output=True, text=True, timeout=60)

    assert done.returncode == status
    assert ("annotate.py export" in done.stdout + done.stderr) or "--annotators" in done.stdout
