"""Flags win over YAML, the environment counts for nothing, and what is wrong is named."""

from __future__ import annotations

import datetime as dt
import pickle
from pathlib import Path

import pytest

from jobs.prepare import PrepareJob
from jobs.train import TrainJob
from reviewllm.config import Day, JobConfig, parse, part, save
from reviewllm.errors import ConfigError
from reviewllm.sft.config import SFTConfig


class ListJob(JobConfig):
    user: list[str] = []
    files: list[Path] = []


class DayJob(JobConfig):
    date: Day


def test_parse_defaults_flags_and_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_R", "99")
    file = tmp_path / "job.yaml"
    file.write_text("base-model: a\nlora_r: 4\nnum-workers: 3\n")
    config = parse(TrainJob, ["--config", str(file), "--num-workers", "5", "--no-rating"])
    assert (config.base_model, config.lora_r, config.num_workers, config.rating) == ("a", 4, 5, False)
    assert (config.learning_rate, config.gradient_accumulation_steps, config.per_device_train_batch_size) == (5e-6, 2, 1)


def test_parse_lists_and_paths() -> None:
    config = parse(PrepareJob, ["--reviews", "a.jsonl", "--reviews", "b", "--hide-fraction", "0.1"])
    assert config.reviews == ["a.jsonl", "b"]


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--base-model", "x", "--lora-r", "0"], "--lora-r: .*greater than or equal to 1.*got"),
        (["--base-model", "x", "--learning-rate", "fast"], "--learning-rate: .*got 'fast'"),
        ([], "--base-model: Field required"),
    ],
)
def test_parse_wrong_values_are_named(argv: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse(TrainJob, argv)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("lora_rank: 8", "--lora-rank: Extra inputs"),
        ("- a", "found a list"),
        ("a: [", "cannot be read as YAML"),
        (None, "cannot"),
    ],
)
def test_parse_bad_yaml_is_refused(tmp_path: Path, content: str | None, problem: str) -> None:
    file = tmp_path / "job.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=problem):
        parse(TrainJob, ["--config", str(file), "--base-model", "x"])


def test_parse_unknown_flag_ends_with_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(TrainJob, ["--base-model", "x", "--lora-rank", "8"])
    assert ended.value.code == 2
    assert "--lora-rank" in capsys.readouterr().err


def test_save_is_read_again_by_config(tmp_path: Path) -> None:
    config = parse(TrainJob, ["--base-model", "x", "--lora-r", "4", "--target-modules", "q_proj"])
    save(config, tmp_path / "c" / "train.yaml")
    again = parse(TrainJob, ["--config", str(tmp_path / "c" / "train.yaml")])
    assert again.model_copy(update={"config": None}) == config


def test_part_is_small_and_picklable() -> None:
    piece = part(parse(TrainJob, ["--base-model", "x"]), SFTConfig)
    assert type(piece) is SFTConfig
    assert pickle.loads(pickle.dumps(piece)) == piece  # noqa: S301  (our own bytes)


def test_parse_repeated_text_flags_are_taken_as_they_stand() -> None:
    config = parse(ListJob, ["--user", "Smith,John", "--user=[1]", "--user", 'q"t', "--files", "a,b.json"])
    assert config.user == ["Smith,John", "[1]", 'q"t']
    assert config.files == [Path("a,b.json")]


def test_parse_names_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'--files=a/\\udcfc': is not UTF-8 \(at character 11\)"):
        parse(ListJob, ["--files=a/" + b"\xfc".decode(errors="surrogateescape")])


@pytest.mark.parametrize("text", ["0", "1763683200", "20261121", "2026-11", "tomorrow"])
def test_parse_a_day_is_written_as_year_month_day(text: str) -> None:
    assert parse(DayJob, ["--date", "2026-11-21"]).date == dt.date(2026, 11, 21)
    with pytest.raises(ConfigError, match=r"--date: .*expected YYYY-MM-DD"):
        parse(DayJob, ["--date", text])
