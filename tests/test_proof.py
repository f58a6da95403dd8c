"""The standard proof: its plan, what a second run does again, and what its table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from finished_run import leave_finished_run

from benchmarks.proof import PAPER_RATE, ProofJob, main, plan, plan_choice
from benchmarks.proof_steps import Step, identities_of, run_steps
from benchmarks.proof_table import Measured, Rate, measured, rates_table, section, sentences
from jobs import train
from reviewllm.config import JobConfig
from reviewllm.errors import ConfigError, InputError, SchemaError
from reviewllm.evaluation.comparisons import Side
from reviewllm.evaluation.results import read_evaluation, write_evaluation
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import COMPARISONS, GENERATIONS, METRICS

OURS = Side("adapter at 0.0005", True)
KINDS = {"tiny": "base", OURS.model: "adapter", "own latest review": "baseline", "majority review": "baseline"}


class Write(JobConfig):
    """A step's settings."""

    text: str = "a"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two data sets of one file each."""
    for name in ("amazon_2014", "amazon_2023"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "reviews.jsonl").write_text("{}\n")
    return tmp_path / "data"


@pytest.fixture
def proof(data: Path, random_base: Path) -> ProofJob:
    return ProofJob(base_model=str(random_base), data=data, out=data.parent / "proof")


def test_plan_trains_and_measures_every_data_set(proof: ProofJob) -> None:
    steps = {step.name: step for step in plan(proof)}
    assert list(steps) == [
        *(f"musical-2014/{step}" for step in ("prepare", "train", "train-no-rating", "evaluate", "report")),
        *(f"musical-2014-dialogue/{step}" for step in ("prepare", "train", "evaluate")),
        *(f"amazon-2023/{step}" for step in ("prepare", "train", "train-no-rating", "evaluate", "report")),
        *(f"amazon-2023-dialogue/{step}" for step in ("prepare", "train", "evaluate")),
        *(f"amazon-2023-paper/{step}" for step in ("prepare", "train", "evaluate")),
    ]
    dialogue = steps["musical-2014-dialogue/train"].config
    assert (dialogue.prompt_form, steps["musical-2014/train"].config.prompt_form) == ("dialogue", "paper")
    assert dialogue.per_device_train_batch_size * dialogue.num_workers == proof.dialogue_samples_per_step
    assert steps["musical-2014-dialogue/evaluate"].config.models == ["adapter"]
    assert steps["musical-2014/evaluate"].config.models == [
        "base", "adapter", "own-similar", "own-latest", "nearest-user", "majority",
    ]  # fmt: skip
    ours, paper = steps["amazon-2023/train"].config, steps["amazon-2023-paper/train"].config
    assert (ours.learning_rate, ours.rating, ours.lr_scheduler_type) == (proof.learning_rate, True, "linear")
    assert (paper.learning_rate, paper.lr_scheduler_type, paper.warmup_steps) == (PAPER_RATE, "constant", 0)
    assert not steps["amazon-2023/train-no-rating"].config.rating
    assert all(step.folder == step.config.out for step in steps.values())
    same = {"out", "config"}
    prepared = [steps[name].config.model_dump(exclude=same) for name in ("amazon-2023/prepare", "amazon-2023-paper/prepare")]
    assert prepared[0] == prepared[1]


def test_plan_without_ablation_and_dialogue_is_one_adapter_for_each_data_set(proof: ProofJob) -> None:
    steps = plan(proof.model_copy(update={"ablation": False, "dialogue": False, "paper_dataset": "none"}))
    assert [step.name for step in steps] == [
        f"{name}/{step}" for name in proof.dataset for step in ("prepare", "train", "evaluate", "report")
    ]
    assert steps[2].after == ["musical-2014/prepare", "musical-2014/train"]


def test_plan_of_further_arms_trains_those_with_an_adapter_of_their_own(proof: ProofJob) -> None:
    arms = {
        "evidence": {"evidence": "item"},
        "drafts": {"drafts": 8, "temperature": 0.8, "adapter_of": "evidence", "evidence": "item"},
    }
    config = ProofJob.model_validate({**proof.model_dump(), "arms": arms, "dataset": ["musical-2014"]})
    steps = {step.name: step for step in plan(config)}
    assert [name for name in steps if "evidence" in name or "drafts" in name] == [
        *(f"musical-2014-evidence/{step}" for step in ("prepare", "train", "evaluate")),
        *(f"musical-2014-drafts/{step}" for step in ("prepare", "evaluate")),
    ]
    trained, written = steps["musical-2014-evidence/train"].config, steps["musical-2014-drafts/evaluate"]
    assert (trained.evidence, trained.max_prompt_tokens) == ("item", proof.max_prompt_tokens + 384)
    assert written.config.adapter == trained.adapter_folder()
    assert written.after == ["musical-2014-drafts/prepare", "musical-2014-evidence/train"]
    assert (written.config.drafts, written.config.temperature) == (8, 0.8)
    strange = ProofJob.model_validate({**proof.model_dump(), "arms": {"drafts": {"adapter_of": "nothing"}}})
    with pytest.raises(ConfigError, match="--arms drafts: adapter_of 'nothing' is no way with an adapter"):
        main(strange)


def test_plan_chooses_by_users_held_out_of_training(proof: ProofJob) -> None:
    trained = [step.config for step in plan_choice(proof) if isinstance(step.config, train.TrainJob)]
    rates = {form: [one.learning_rate for one in trained if one.prompt_form == form] for form in ("paper", "dialogue")}
    assert rates == {"paper": 2 * [PAPER_RATE, *proof.choose_rates], "dialogue": 2 * proof.choose_rates}
    assert all(config.validation_fraction and config.examples is None for config in trained)
    assert len({config.adapter_folder() for config in trained}) == len(trained)


def test_identities_follow_settings_data_and_what_came_before(proof: ProofJob, data: Path) -> None:
    world = {"code": "1"}
    before = identities_of(plan(proof), world)

    def changed(after: dict[str, str]) -> set[str]:
        return {name for name in before if before[name] != after[name]}

    assert changed(identities_of(plan(proof), world)) == set()
    assert changed(identities_of(plan(proof), {"code": "2"})) == set(before)
    steps = proof.model_copy(update={"learning_rate": 1e-3})
    ours = {f"{name}/{step}" for name in proof.dataset for step in ("train", "train-no-rating", "evaluate", "report")}
    ours |= {f"{name}-dialogue/{step}" for name in proof.dataset for step in ("train", "evaluate")}
    assert changed(identities_of(plan(steps), world)) == ours
    (data / "amazon_2023" / "reviews.jsonl").write_text('{"rating": 1}\n')
    assert changed(identities_of(plan(proof), world)) == {name for name in before if name.startswith("amazon-2023")}


def steps_writing(folder: Path, text: str, log: list[str], *, fail: bool = False) -> list[Step]:
    """Two steps: the first adds a letter to `one/text`, the second reads it."""

    def first(config: Write) -> None:
        log.append("first")
        (folder / "one").mkdir(exist_ok=True)
        with open(folder / "one" / "text", "a") as file:
            file.write(config.text)
        if fail:
            raise KeyboardInterrupt

    return [
        Step("run/first", first, Write(text=text), folder, makes=["one"]),
        Step("run/second", lambda config: log.append("second"), Write(), folder, makes=[], after=["run/first"]),
    ]


def test_run_steps_skips_what_is_finished_and_runs_anew_what_changed(tmp_path: Path, random_base: Path) -> None:
    log: list[str] = []

    def go(text: str, *, fail: bool = False) -> list[int]:
        log.clear()
        notes = run_steps(steps_writing(tmp_path, text, log, fail=fail), str(random_base), tmp_path / "notes")
        return [note.sittings for note in notes.values()]

    with pytest.raises(KeyboardInterrupt):
        go("a", fail=True)
    assert go("a") == [2, 1]  # what was ended finds what it left
    assert (tmp_path / "one" / "text").read_text() == "aa"
    assert go("a") == [2, 1]
    assert log == []
    assert go("b") == [1, 1]  # and another setting does not
    assert log == ["first", "second"]
    assert (tmp_path / "one" / "text").read_text() == "b"


def made_up(values: dict[tuple[str, bool], dict[str, float]], differences: dict[str, tuple[float, str]]) -> Measured:
    """An evaluation of the simple set: figures by model and metric; the candidate less the latest review, with its verdict."""
    common = {"run": "r", "split": "simple"}
    metrics = [
        {**common, "model": model, "with_rating": rating, "slice": "all", "group": "all", "repeat": 0, "metric": metric}
        | {"value": value, "ci_low": value - 1, "ci_high": value + 1, "n": 30, "unread": None, "asked": None}
        for (model, rating), figures in values.items()
        for metric, value in figures.items()
    ]
    pair = {**common, **OURS._asdict(), "other": "own latest review", "other_with_rating": False}
    told = {"effect_size": None, "p_value": 0.01, "p_corrected": 0.02, "users": 30, "n": 30}
    compared = [
        {
            **pair,
            **told,
            "metric": metric,
            "difference": value,
            "ci_low": value - 1,
            "ci_high": value + 1,
            "verdict": verdict,
        }
        for metric, (value, verdict) in differences.items()
    ]
    frames = [
        pl.DataFrame(rows, schema=list(table.schema.names), orient="row")
        for rows, table in ((metrics, METRICS), (compared, COMPARISONS))
    ]
    return Measured("Toys", OURS, KINDS, *frames)


@pytest.fixture
def toys() -> Measured:
    """A copied text is ahead in ROUGE-1, the adapter in the cosine; only models have a likelihood."""
    values = {
        ("tiny", True): {"rouge1": 8.0, "sbert_cosine": 9.0, "reference_nll": 3.9},
        OURS: {"rouge1": 16.5, "sbert_cosine": 30.0, "reference_nll": 3.5},
        ("own latest review", False): {"rouge1": 20.25, "sbert_cosine": 12.5},
        ("majority review", False): {"rouge1": 19.0, "sbert_cosine": 11.0},
    }
    return made_up(values, {"rouge1": (16.5 - 20.25, "lower"), "sbert_cosine": (30.0 - 12.5, "no difference")})


def test_sentences_say_where_a_copied_text_is_ahead(toys: Measured) -> None:
    assert list(sentences(toys, "simple")) == [
        "ROUGE-1: **A copied text is ahead** by 3.75: own latest review (w/o rating), 20.25, before the best model, adapter at "
        "0.0005 (w/ rating), 16.50 (in pairs of rows: lower).",
        "sbert_cosine: The best model is ahead by 17.50: adapter at 0.0005 (w/ rating), 30.00, before the best copied text, own "
        "latest review (w/o rating), 12.50 (in pairs of rows: no difference).",
    ]


def test_section_shows_every_figure_and_the_best_in_bold(toys: Measured) -> None:
    lines = section(toys).splitlines()
    assert "**Simple evaluation**, 30 rows" in lines
    assert any("| tiny (w/ rating) | 8.00 [7.00, 9.00] |" in line for line in lines)
    (ours,) = [line for line in lines if line.startswith("| adapter at 0.0005 (w/ rating) |")]
    assert "**30.00** [29.00, 31.00]" in ours
    assert "**3.500**" in ours  # the lowest
    assert "**16.50**" not in ours
    (copied,) = [line for line in lines if line.startswith("| own latest review (w/o rating) | **20.25**")]
    assert copied.endswith("| – |")
    assert (
        "| own latest review (w/o rating) | -3.75 [-4.75, -2.75] lower | +17.50 [+16.50, +18.50] no difference | – |"
        in lines
    )


def test_measured_tests_each_arm_in_pairs_beside_the_candidate(tmp_path: Path) -> None:
    out, arm = tmp_path / "run", tmp_path / "run-dialogue"
    for folder in (out, arm):
        leave_finished_run(folder)
    head = read_evaluation(arm / "metrics")
    candidate, asked = Side(head.candidate, head.candidate_with_rating), "in dialogues"
    for table, changed in ((METRICS, "metrics"), (COMPARISONS, "comparisons")):
        file = arm / "metrics" / f"{changed}.parquet"
        renamed = pl.DataFrame(read_table(file, table)).with_columns(pl.col("model").replace(candidate.model, asked))
        write_table(renamed.to_arrow(), file, table)
    file = arm / "metrics" / "generations" / "0" / "part-0.parquet"
    likelier = pl.DataFrame(read_table([file], GENERATIONS)).with_columns(pl.col("reference_nll") - 0.25)
    write_table(likelier.to_arrow(), file, GENERATIONS)
    names = arm / "metrics" / "models.json"
    names.write_text(names.read_text().replace(candidate.model, asked))
    models = [model.model_copy(update={"name": model.name.replace(candidate.model, asked)}) for model in head.models]
    changed_head = head.model_copy(update={"candidate": asked, "models": models})
    write_evaluation(changed_head, arm / "metrics")

    found = measured("Toys", out, [arm])
    assert found.kinds[asked] == "adapter"
    (pair,) = found.comparisons.filter(
        split="simple", other=asked, other_with_rating=True, metric="reference_nll"
    ).to_dicts()
    assert (pair["model"], pair["verdict"], pair["users"]) == (candidate.model, "higher", 30)
    assert pair["difference"] == pytest.approx(0.25)
    assert f"| {asked} (w/ rating) | +0.00 [+0.00, +0.00] no difference |" in section(found)
    assert len(measured("Toys", out).comparisons) < len(found.comparisons)
    write_evaluation(changed_head.model_copy(update={"examples_digest": "of others"}), arm / "metrics")
    with pytest.raises(SchemaError, match="was evaluated on other examples"):
        measured("Toys", out, [arm])


def test_rates_table_names_the_lowest_validation_loss() -> None:
    text = rates_table({"Toys": {5e-6: Rate(300, {2: 3.5, 4: 3.4}), 5e-4: Rate(310, {2: 3.2, 4: 3.25})}})
    assert "| 5e-06 | 3.5000 | 3.4000 | 300 |" in text
    assert "Lowest validation loss: 3.2000 nats a token, at 0.0005." in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"base_model": "out/bases/smollm2-135m"}, "make it with: make base"),
        ({"data": Path("/nowhere")}, "--data /nowhere: has no amazon_2014/"),
    ],
)
def test_main_refuses_what_would_end_it_later(
    proof: ProofJob, changed: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigError, InputError), match=message):
        main(proof.model_copy(update=changed))
