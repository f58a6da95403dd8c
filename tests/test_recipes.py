"""Every recipe: its file, the commands of its header, and the job that reads it, on a small base with a chat template."""

from __future__ import annotations

import datetime
import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import entry, example
from tokenizer_styles import qwen

from jobs import backfill, evaluate, recommend, train
from jobs.recommend_rank import ranker_of
from jobs.submit import all_jobs, words_after
from reviewllm.config import JobConfig, parse, read_yaml, split_command
from reviewllm.evaluation.contenders import find_contenders
from reviewllm.sft.config import SFTConfig
from reviewllm.submission import make_submission
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*/*.yaml"))
OF_JOB = {
    name: [file for file in RECIPES if file.stem == name] for name in ("train", "evaluate", "backfill", "examples", "rank")
}
# What an adapter is trained with, and what asks it must have too.
SHARED = {"base_model": None, "chat_template": False, "max_prompt_tokens": 1536}

each = pytest.mark.parametrize("file", RECIPES, ids=lambda file: f"{file.parent.name}/{file.stem}")


def of_job(name: str) -> Any:
    return pytest.mark.parametrize("file", OF_JOB[name], ids=lambda file: file.parent.name)


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commands are given."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of one layer with a chat template, and room for the longest prompts of the recipes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("base")
    vocabulary = len(qwen(folder).tokenizer)
    shape = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=4096,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with examples of reviews."""
    folder = tmp_path_factory.mktemp("shop")
    history = [entry(number) for number in range(3)]
    for split, reference in (("train", "It is fine."), ("backfill", None)):
        rows = [example(example_id=f"e{number}", split=split, reference=reference, history=history) for number in range(4)]
        write_table(
            pa.Table.from_pylist(rows, schema=EXAMPLES.schema),
            folder / "examples" / split / "shard-00000-a.parquet",
            EXAMPLES,
        )
    return folder


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with sequences of users who go around twelve items, and examples made as the recipe says."""
    folder = tmp_path_factory.mktemp("next")
    walks = [" ".join([f"u{user}", *(f"i{(user + n) % 12:02d}" for n in range(6 + user % 3))]) for user in range(40)]
    (folder / "s.txt").write_text("\n".join(walks) + "\n")
    recommend.prepare(recommend.PrepareJob(sequences=folder / "s.txt", out=folder))
    (file,) = OF_JOB["examples"]
    recommend.examples(parse(recommend.ExamplesJob, ["--config", str(file), "--out", str(folder)]))
    return folder


def header(file: Path) -> str:
    """The comment that a recipe begins with."""
    return "".join(re.findall(r"^#.*\n", file.read_text(encoding="utf-8").partition("\n\n")[0], flags=re.MULTILINE))


def commands(file: Path) -> list[list[str]]:
    """The words of each command of a header, with a stand-in for what is the reader's own."""
    lines = re.findall(r"^#   python jobs/(.*)$", header(file), flags=re.MULTILINE)
    return [shlex.split(re.sub(r"<[^>]*>", "mine", line)) for line in lines]


def parsed(words: list[str]) -> JobConfig:
    """The configuration of the job and command that words name."""
    job = importlib.import_module(f"jobs.{words[0].removesuffix('.py')}")
    found = split_command(job.COMMANDS, words[1:])
    assert found, words
    return parse(job.COMMANDS[found[0]].options, found[1])


def option(file: Path, name: str) -> Any:
    """An option as a recipe has it, else its default."""
    return read_yaml(file).get(name, SHARED[name])


def test_recipes_are_there_for_every_job() -> None:
    assert {file.stem for file in RECIPES} == set(OF_JOB)
    assert all(OF_JOB.values())


@each
def test_recipe_begins_with_what_it_is_hardware_commands_and_hours(file: Path) -> None:
    text = header(file)
    assert file.read_text(encoding="utf-8").startswith(text)
    assert all(f"\n# {heading}" in text for heading in ("Hardware:", "Commands", "Expected:")), text
    expected = text.partition("\n# Expected:")[2]
    assert "hours" in expected or "not measured" in expected
    assert any(
        "--config" in words and Path(words[words.index("--config") + 1]) == file.relative_to(ROOT)
        for words in commands(file)
    )


@each
def test_recipe_commands_are_commands_of_the_jobs(file: Path) -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    for words in commands(file):
        if words[0] == "submit.py":
            _, job = words_after(words[1:])
            made = make_submission(job, jobs=all_jobs(), name=None, python="python", runtime_env={}, now=now)
            assert made.command.startswith("python jobs/")
            continue
        config = parsed(words)
        if config.config == file.relative_to(ROOT):
            assert set(read_yaml(file)) <= config.model_fields_set
    assert not {"out", "config"} & set(read_yaml(file))  # the commands say where


@pytest.mark.parametrize("folder", sorted({file.parent for file in RECIPES}), ids=lambda folder: folder.name)
def test_recipe_asks_an_adapter_as_it_was_trained(folder: Path) -> None:
    files = [file for file in folder.glob("*.yaml") if "base_model" in read_yaml(file)]
    assert len(files) >= 2
    for name in SHARED:
        assert len({option(file, name) for file in files}) == 1, name


def test_recipe_of_the_paper_has_its_values_and_the_others_another_rate() -> None:
    rates = {file.parent.name: read_yaml(file)["learning_rate"] for file in OF_JOB["train"]}
    assert rates.pop("llama3-8b-4xa800") == 5e-6 == SFTConfig(base_model="x").learning_rate
    assert all(1e-4 <= rate <= 5e-4 for rate in rates.values()), rates
    paper = read_yaml(ROOT / "recipes" / "llama3-8b-4xa800" / "train.yaml")
    named = ("lora_r", "optimizer", "per_device_train_batch_size", "gradient_accumulation_steps", "num_workers", "repeats")
    assert [paper[name] for name in named] == [8, "adam", 1, 2, 4, 5]  # Review-LLM, section 3.1


@of_job("train")
def test_train_recipe_inspects_samples(
    file: Path, small_base: Path, shop: Path, sequences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = sequences if read_yaml(file).get("task") == "recommend" else shop
    flags = ["--config", str(file), "--base-model", str(small_base), "--out", str(run), "--inspect", "1"]
    assert train.main(parse(train.TrainJob, flags)) == []
    shown = capsys.readouterr().out
    assert re.search(r"samples trained on +[1-9]", shown)
    assert re.search(r"refused +0\b", shown)


@of_job("evaluate")
def test_evaluate_recipe_finds_the_base_with_and_without_ratings(file: Path, small_base: Path, tmp_path: Path) -> None:
    config = parse(
        evaluate.EvaluateJob,
        ["--config", str(file), "--base-model", str(small_base), "--models", "base", "--out", str(tmp_path)],
    )
    found = find_contenders(config.lineup())
    assert [one.variant.prompt.rating for one in found if one.kind == "base"] == [True, False]


@of_job("backfill")
def test_backfill_recipe_plans_a_night(file: Path, small_base: Path, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--config", str(file), "--base-model", str(small_base), "--out", str(shop), "--plan"]
    config = parse(backfill.BackfillJob, flags).model_copy(update={"adapter": None, "bare_base": True})
    assert backfill.main(config) is None
    assert "4 = 4 to write" in capsys.readouterr().out


@of_job("rank")
def test_rank_recipe_finds_who_ranks(file: Path, small_base: Path, sequences: Path) -> None:
    flags = ["--config", str(file), "--base-model", str(small_base), "--out", str(sequences)]
    config = parse(recommend.RankJob, flags)
    assert config.recommendations == sequences / "recommendations" / "test" / "palr-v2"
    ranker = ranker_of(config.model_copy(update={"adapter": None}))
    assert ranker.answerer is not None
    assert ranker.answerer.variant.prompt.max_prompt_tokens == config.max_prompt_tokens
