"""A base as a folder: found, whole, and fit for what a job is going to ask of it.

Judged by its JSON and the headers of its weights, before any model is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from reviewllm.errors import ConfigError
from reviewllm.prompts.chat import prompt_frame
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.tokenizer import check_tokenizer

CONFIG_FILE = "config.json"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_CONTEXT = ("max_position_embeddings", "n_positions")  # Llama's name, and GPT-2's
_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")


def local_model_folder(model: str, *, flag: str = "--base-model") -> Path:
    """The folder that holds a model: the folder itself, or the hub's snapshot of a name.

    Raises:
        ConfigError: neither a model folder nor a name that can be resolved, or files of it are missing or damaged.
    """
    folder = Path(model)
    if folder.exists():
        folder = folder.resolve()
        if not (folder / CONFIG_FILE).is_file() or not list(folder.glob("*.safetensors")):
            raise ConfigError(
                f"{flag} {model}: expected a Hugging Face model folder with config.json and *.safetensors (weights "
                f"in other formats are not loaded; convert them with save_pretrained){_instead(folder)}"
            )
    else:
        folder = _snapshot(model, flag)
    model_config(folder)
    for file in _weight_files(folder, flag):
        try:
            with safe_open(file, framework="numpy"):
                pass  # reads the header and compares it with the file's size
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"{flag} {model}: {file.name} cannot be read: {error}; fetch the model again") from error
    return folder


def _instead(folder: Path) -> str:
    """What a folder is, or holds, that is no base."""
    if (folder / "adapter_config.json").is_file():
        return "; it is an adapter: name its base here, and it with --adapter"
    inside = sorted(file.parent.name for file in folder.glob(f"*/{CONFIG_FILE}"))
    return f"; {', '.join(inside[:5])} in it may be meant" if inside else ""


def _snapshot(model: str, flag: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        patterns = ["*.json", "*.safetensors", "*.model", "*.jinja"]
        return Path(snapshot_download(model, allow_patterns=patterns))
    except (OSError, ValueError, HFValidationError) as error:
        raise ConfigError(f"{flag} {model}: neither a folder nor a hub name that can be reached: {error}") from error


def _weight_files(folder: Path, flag: str) -> list[Path]:
    """The files of the weights, as transformers looks for them."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if not (folder / _INDEX).is_file():
        raise ConfigError(
            f"{flag} {folder}: has neither {_WEIGHTS} nor {_INDEX}, which says in which files the weights are; fetch the model "
            "again, or write it with save_pretrained"
        )
    try:
        names = sorted({*json.loads((folder / _INDEX).read_bytes())["weight_map"].values()})
        files = [folder / name for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{folder / _INDEX}: cannot be read: {error}; fetch the model again") from error
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise ConfigError(
            f"{flag} {folder}: {_INDEX} names {len(files)} file(s) of weights, of which {len(missing)} are missing"
            f"{': ' if missing else ''}{', '.join(missing[:5])}; fetch the model again"
        )
    return files


def model_config(folder: Path) -> dict[str, Any]:
    """What `config.json` says of the model that reads text: of a model that sees images too, that of its text part.

    Raises:
        ConfigError: it cannot be read, or is no JSON object.
    """
    try:
        found = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        return {**found, **(found.get("text_config") or {})}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{folder / CONFIG_FILE}: cannot be read: {error}; expected a JSON object") from error


def check_model(base: Path, tokenizer: Any, prompt: PromptConfig, *, response_tokens: int) -> None:
    """Refuse a base that cannot take a job's prompts and responses, by its context, its vocabulary or its chat template.

    Raises:
        ConfigError: what does not fit, with the numbers, and what to do.
    """
    check_tokenizer(tokenizer)
    check_context(base, prompt.max_prompt_tokens + response_tokens)
    frame = prompt_frame(tokenizer, prompt)
    check_vocabulary(base, tokenizer, template=frame.text if frame else "")


def context_of(base: Path) -> int | None:
    """Positions that a base has; None where its configuration does not say.

    Raises:
        ConfigError: the configuration cannot be read.
    """
    config = model_config(base)
    return next((limit for name in _CONTEXT if isinstance(limit := config.get(name), int)), None)


def check_context(base: Path, tokens: int) -> None:
    """Refuse prompts and responses that the base has no positions for: such requests have hung engines for ever.

    Raises:
        ConfigError: with the numbers and what to lower.
    """
    limit = context_of(base)
    if limit is not None and tokens > limit:
        raise ConfigError(
            f"prompt and response may come to {tokens} tokens, but the base {base.name} has a context of {limit}; lower "
            "--max-prompt-tokens, or --max-new-tokens (generation) or --max-response-tokens (training)"
        )


def check_vocabulary(base: Path, tokenizer: Any, *, template: str = "", flag: str = "--base-model") -> None:
    """Refuse a tokenizer with ids that the base's embedding has no row for: a model fails on the first of them.

    Special tokens without a row are no fault as long as no prompt has them, as Gemma's of images in a base that sees none:
    those of user text are plain characters to us.

    Args:
        template: the chat template around prompts; "" for none.
        flag: the option that names the base.

    Raises:
        ConfigError: with the first such token, and what to do.
    """
    rows = _embedding_rows(base, flag)
    if rows is None:
        return
    added = tokenizer.added_tokens_decoder
    ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    beyond = sorted(
        (number, token)
        for token, number in tokenizer.get_vocab().items()
        if number >= rows
        and (number not in added or not added[number].special or number in ends or added[number].content in template)
    )
    if beyond:
        number, token = beyond[0]
        raise ConfigError(
            f"{flag} {base}: its tokenizer has {len(beyond)} token(s) that its embedding of {rows} rows has none for, as "
            f"{token!r} with id {number}; take the tokenizer that belongs to the base, or let the base grow with "
            "resize_token_embeddings and save both"
        )


def _embedding_rows(base: Path, flag: str) -> int | None:
    """Rows of the embedding; None where that cannot be told.

    Raises:
        ConfigError: `config.json` and the weights say different numbers, so that nothing loads them.
    """
    said = model_config(base).get("vocab_size")
    found: set[int] = set()
    for file in _weight_files(base, flag):
        with safe_open(file, framework="numpy") as weights:
            found |= {weights.get_slice(name).get_shape()[0] for name in weights.keys() if name.endswith(_EMBEDDINGS)}  # noqa: SIM118
    if len(found) != 1:  # another name, or several embeddings of which there is no telling
        return said if isinstance(said, int) else None
    (rows,) = found
    if isinstance(said, int) and said != rows:
        raise ConfigError(
            f"{flag} {base}: config.json says vocab_size {said}, but the embedding in the weights has {rows} rows, so "
            "it cannot be loaded; fetch the base again, or save it with save_pretrained"
        )
    return rows


def refuse_quantized(base: Path) -> None:
    """Refuse a base with quantized weights, on which an adapter is neither trained nor merged here.

    Raises:
        ConfigError: names the method.
    """
    quantized = model_config(base).get("quantization_config")
    if quantized is not None:
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        raise ConfigError(
            f"--base-model {base}: config.json has a quantization_config (method {method}), and adapters are trained on and merged "
            "into plain weights only; name the base that it was made from"
        )
