"""How every job starts and ends: flags in, one clear message and a non-zero exit status where it fails."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from reviewllm.cluster import quiet_environment
from reviewllm.config import Commands, JobConfig, parse, split_command
from reviewllm.errors import PreemptedError, ReviewLLMError

Config = TypeVar("Config", bound=JobConfig)


def run_job(commands: Commands, about: str | None) -> None:
    """Run the command that the command line names; where it names none, say what the job is about."""
    words = sys.argv[1:]
    found = split_command(commands, words)
    if found is None:
        asked = words[:1] in (["-h"], ["--help"])
        print(about, file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    name, flags = found
    run(commands[name].run, commands[name].options, flags)


def run(main: Callable[[Config], object], job: type[Config], arguments: Sequence[str] | None = None) -> None:
    """Run a job from the command line; exit status 2 for what the user can mend, 130 after Ctrl-C, 143 after SIGTERM."""
    quiet_environment()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that the screen does not have ends no job
    try:
        main(parse(job, sys.argv[1:] if arguments is None else arguments))
    except PreemptedError as error:
        print(f"\n{error}", file=sys.stderr)
        sys.exit(143)
    except ReviewLLMError as error:
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a folder that cannot be written, a full disk
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "\ninterrupted; the same command goes on with a backfill, a training, an evaluation, a ranking, profiles or reasons, "
            "the other jobs begin again",
            file=sys.stderr,
        )
        sys.exit(130)
