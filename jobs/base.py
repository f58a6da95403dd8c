"""A GGUF file -> a base: a Hugging Face folder with bfloat16 weights, tokenizer and chat template.

    make base                                                      SmolLM2-135M-Instruct, the base of docs/measured.md
    python jobs/base.py --gguf <file.gguf> --out out/bases/<name>    any other file of an architecture that transformers reads

Reads the file that the package of requirements/bases.txt brings, or the one named; writes the folder in some ten seconds.
A folder that was made of the same file is left as it is. Needs memory for the weights twice, and no GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/base.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from reviewllm.base_model import local_model_folder
from reviewllm.config import Command, Commands, JobConfig
from reviewllm.gguf import STANDARD, convert, is_made, sha256, standard_gguf
from reviewllm.progress import step
from reviewllm.prompts.tokenizer import check_tokenizer, load_tokenizer


class BaseJob(JobConfig):
    """Make a base of a GGUF file."""

    gguf: Path | None = Field(None, description="the file; default: that of the package in requirements/bases.txt")
    out: Path | None = Field(None, description=f"folder of the base; default out/bases/<file>, or out/bases/{STANDARD}")


def main(config: BaseJob) -> Path:
    """Make the base, or find it made; returns its folder.

    Raises:
        ConfigError: the file cannot be read, or something else is where the base should go.
    """
    file = config.gguf or standard_gguf()
    folder = config.out or Path("out/bases") / (config.gguf.stem if config.gguf else STANDARD)
    digest = sha256(file)
    if is_made(folder, digest):
        print(f"{folder} is there already, made of the same file")
        return folder
    with step("base") as running:
        convert(file, folder, digest)
        check_tokenizer(load_tokenizer(str(local_model_folder(str(folder)))))
        size = sum(weights.stat().st_size for weights in folder.glob("*.safetensors"))
        running.result = f"{file.name} -> {folder} ({size / 1e6:.0f} MB)"
    return folder


COMMANDS: Commands = {"": Command(main, BaseJob)}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
