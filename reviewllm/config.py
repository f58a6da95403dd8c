"""Typed configuration of the jobs: from YAML and flags, unknown keys refused, saved beside the output.

A stage declares its own options as a `StageConfig` beside the code that uses them. A job's configuration inherits the
options of its stages and `JobConfig`, so every option is one flag and one YAML key, whichever job takes it:

    class TrainJob(JobConfig, PromptConfig, SFTConfig): ...
    config = parse(TrainJob, argv)           # --config job.yaml, then flags, which win
    prompt = part(config, PromptConfig)      # the piece that a worker is sent
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsConfigDict, SettingsError

from reviewllm.errors import ConfigError


class StageConfig(BaseModel):
    """Options of one stage: immutable, cheap, picklable; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class JobConfig(StageConfig):
    """Options of one job; the environment is never read, so that a run depends on what was written down for it."""

    config: Path | None = Field(None, description="YAML file with any of these options; flags win over it")


def _iso_day(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError(f"expected YYYY-MM-DD, got {value!r}")
    if isinstance(value, (int, float)):
        raise ValueError(f"expected YYYY-MM-DD in quotes, got the number {value}")
    return value


Day = Annotated[datetime.date, BeforeValidator(_iso_day)]  # no count of seconds, which a date is for pydantic too


class Located(NamedTuple):
    """Marks the type of an option that names files; `everywhere` says of a value whether all nodes of a cluster find them by it."""

    everywhere: Callable[[str], bool]


def _path_everywhere(where: str) -> bool:
    return where.startswith("/") or "://" in where


def _model_everywhere(name: str) -> bool:
    is_hub_name = re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name) is not None
    return _path_everywhere(name) or (is_hub_name and not Path(name).exists())


def _named_everywhere(text: str) -> bool:
    return _path_everywhere(text) or _path_everywhere(text.partition("=")[2])


def _store_everywhere(uri: str) -> bool:
    return not uri.startswith("sqlite:///") or _path_everywhere(uri.removeprefix("sqlite:///"))


_PATH = Located(_path_everywhere)
Where = Annotated[str, BeforeValidator(str), _PATH]  # a path or a URI
ModelWhere = Annotated[str, Located(_model_everywhere)]  # a folder or a hub name
NamedPath = Annotated[str, Located(_named_everywhere)]  # a path, or name=path
MLflowWhere = Annotated[str, Located(_store_everywhere)]  # a server or a SQLite file

Job = TypeVar("Job", bound=JobConfig)
Stage = TypeVar("Stage", bound=StageConfig)


class Command(NamedTuple):
    """A command of a job: what it runs, the options that it takes, and how its words become flags where they are none."""

    run: Callable[[Any], object]
    options: type[JobConfig]
    flags: Callable[[Sequence[str]], Sequence[str]] = list


Commands = Mapping[str, Command]  # by the word that names one; "": that of a job without such a word


def split_command(commands: Commands, words: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """The name of the command that words begin with, and its flags; None where they begin with none."""
    name, rest = (words[0], words[1:]) if words and words[0] in commands else ("", words)
    return (name, commands[name].flags(rest)) if name in commands else None


def located(options: type[BaseModel]) -> dict[str, Located]:
    """The options that name files, but for --config, which is read before all others."""
    marks = {name: next(_marks([*field.metadata, field.annotation]), None) for name, field in options.model_fields.items()}
    return {name: mark for name, mark in marks.items() if mark and name != "config"}


def _marks(types: Sequence[Any]) -> Iterator[Located]:
    for one in types:
        if one is Path:
            yield _PATH
        elif isinstance(one, Located):
            yield one
        yield from _marks(get_args(one))


def parse(job: type[Job], argv: Sequence[str]) -> Job:
    """Build a job's configuration from its flags and the YAML file that `--config` names.

    Raises:
        ConfigError: the file cannot be read, or a key or a value is wrong; the message names each field and value.
        SystemExit: after `--help`, and for a flag that does not exist.
    """
    _refuse_odd_bytes(argv)
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", type=Path)
    path = finder.parse_known_args(argv)[0].config
    settings = read_yaml(path) if path else {}
    try:
        flags = _flags(job, argv)
        return job(**{**settings, **flags})
    except ValidationError as error:
        raise ConfigError(describe(error)) from error
    except SettingsError as error:
        raise ConfigError(str(error)) from error


def _refuse_odd_bytes(argv: Sequence[str]) -> None:
    """Names end in UTF-8 files: what is no text there would end a job when it has done its work."""
    for word in argv:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{word!r}: is not UTF-8 (at character {error.start + 1}); rename it, or name it otherwise"
            ) from None


def _flags(job: type[JobConfig], argv: Sequence[str]) -> dict[str, Any]:
    """The options that were given as flags, by field name."""
    style = SettingsConfigDict(cli_kebab_case=True, cli_implicit_flags=True, cli_hide_none_type=True)
    settings = type(job.__name__, (job, BaseSettings), {"model_config": style, "__doc__": job.__doc__})
    texts, rest = _repeated_texts(job, argv)
    return CliSettingsSource[Any](settings, cli_parse_args=rest, cli_prog_name=Path(sys.argv[0]).name or None)() | texts


def _repeated_texts(job: type[JobConfig], argv: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The values of repeated text and path flags as they stand, with their commas and brackets; and the other arguments."""
    names = {"--" + name.replace("_", "-"): name for name, field in job.model_fields.items() if _is_texts(field.annotation)}
    found: dict[str, list[str]] = {}
    others: list[str] = []
    rest = iter(argv)
    for argument in rest:
        flag, sign, value = argument.partition("=")
        given = value if sign else next(rest, None) if flag in names else None
        if flag not in names or given is None:
            others.append(argument)
        else:
            found.setdefault(names[flag], []).append(given)
    return found, others


def _is_texts(annotation: Any) -> bool:
    (item,) = get_args(annotation)[:1] if get_origin(annotation) is list else (None,)
    return (get_args(item)[0] if get_origin(item) is Annotated else item) in (str, Path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file, with `-` in keys read as `_`.

    Raises:
        ConfigError: the file is missing, is not YAML or does not hold a mapping.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:  # without the line itself, which may hold a key
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"--config {path}: cannot be read as YAML: {error.problem}{where}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"--config {path}: cannot be read as YAML: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"--config {path}: expected 'option: value' lines, found a {type(loaded).__name__}")
    return {str(key).replace("-", "_"): value for key, value in loaded.items()}


def describe(error: ValidationError) -> str:
    """Say for each wrong field which flag it is, what it holds and what is allowed.

    What stands at an option that does not exist, or at an endpoint, is not shown: it may be a key.
    """
    lines = []
    for problem in error.errors():
        place = [str(part) for part in problem["loc"]]
        flag = "--" + ".".join(place).replace("_", "-") if place else "options"
        hidden = problem["type"] in ("missing", "value_error", "extra_forbidden") or place[:1] == ["endpoints"]
        found = "" if hidden else f" (got {problem['input']!r})"
        lines.append(f"{flag}: {problem['msg']}{found}")
    return without_keys("\n".join(lines))


def without_keys(text: str) -> str:
    """Cut what looks like an API key out of a message.

    >>> without_keys("--endpoints.sk-abc123def456: is the name of another model")
    '--endpoints.[a key]: is the name of another model'
    """
    return re.sub(r"\b(?:sk|pk|hf|gsk|xai|AKIA)[-_]?[A-Za-z0-9][\w-]{7,}", "[a key]", text)


def part(config: BaseModel, stage: type[Stage]) -> Stage:
    """Cut one stage's options out of a job's configuration."""
    return stage(**{name: getattr(config, name) for name in stage.model_fields})


def save(config: BaseModel, path: Path) -> None:
    """Write the resolved configuration as YAML that `--config` reads again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude={"config"}), sort_keys=False), encoding="utf-8")
