"""A base that cannot do what a job will ask of it is refused by its files, before anything is loaded."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken

from reviewllm.base_model import (
    check_context,
    check_model,
    check_vocabulary,
    local_model_folder,
    model_config,
    refuse_quantized,
)
from reviewllm.errors import ConfigError
from reviewllm.prompts.config import PromptConfig

ROWS = 300  # of the base's embedding
INDEX = "model.safetensors.index.json"


@pytest.fixture
def base(random_base: Path, tmp_path: Path) -> Path:
    """A base of its own for each test."""
    return shutil.copytree(random_base, tmp_path / "base")


def configure(base: Path, **changed: Any) -> Path:
    """The base with other values in its configuration."""
    file = base / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    return base


def shard(base: Path) -> list[str]:
    """Put the weights into two files, as those of a large base are; returns their names."""
    weights = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    halves = [sorted(weights)[0::2], sorted(weights)[1::2]]
    files = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for names, file in zip(halves, files, strict=True):
        save_file({name: weights[name] for name in names}, base / file)
    places = {name: file for names, file in zip(halves, files, strict=True) for name in names}
    (base / INDEX).write_text(json.dumps({"weight_map": places}))
    return files


def test_local_model_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a Hugging Face model folder"):
        local_model_folder(str(tmp_path))
    with pytest.raises(ConfigError, match=r"--reference-model .*: neither a folder nor a hub name"):
        local_model_folder(str(tmp_path / "absent"), flag="--reference-model")


def test_local_model_folder_above_a_base_or_of_an_adapter_names_what_is_meant(base: Path) -> None:
    with pytest.raises(ConfigError, match="; base in it may be meant"):
        local_model_folder(str(base.parent))
    (base / "config.json").rename(base / "adapter_config.json")
    with pytest.raises(ConfigError, match="; it is an adapter: name its base here, and it with --adapter"):
        local_model_folder(str(base))


def test_local_model_folder_of_several_files_is_whole_or_refused(base: Path) -> None:
    first, second = shard(base)
    assert local_model_folder(str(base)) == base.resolve()
    content = (base / second).read_bytes()
    (base / second).write_bytes(content[:-10])
    with pytest.raises(ConfigError, match=f"{second} cannot be read: .*; fetch the model again"):
        local_model_folder(str(base))
    (base / second).unlink()
    with pytest.raises(ConfigError, match=rf"{INDEX} names 2 file\(s\) of weights, of which 1 are missing: {second}"):
        local_model_folder(str(base))
    (base / INDEX).write_text('{"weight_map": []}')
    with pytest.raises(ConfigError, match=f"{INDEX}: cannot be read"):
        local_model_folder(str(base))
    (base / INDEX).unlink()
    with pytest.raises(ConfigError, match=f"has neither model.safetensors nor {INDEX}"):
        local_model_folder(str(base))
    assert (base / first).is_file()


@pytest.mark.parametrize("content", ["{", "[1]", '"text"', '{"text_config": 3}'])
def test_local_model_folder_whose_config_is_no_object_is_refused(base: Path, content: str) -> None:
    (base / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=r"config\.json: cannot be read: .*; expected a JSON object"):
        local_model_folder(str(base))


def test_model_config_is_that_of_the_text_part(base: Path) -> None:
    configure(base, text_config={"vocab_size": 7})
    assert (model_config(base)["vocab_size"], model_config(base)["model_type"]) == (7, "llama")


def test_check_context_over_the_limit_is_refused(base: Path) -> None:
    check_context(base, 1024)
    with pytest.raises(ConfigError, match=r"1025 tokens, but the base .* has a context of 1024"):
        check_context(base, 1025)
    configure(base, max_position_embeddings=None, n_positions=512)
    with pytest.raises(ConfigError, match=r"513 tokens, but the base .* has a context of 512"):
        check_context(base, 513)
    configure(base, n_positions=None)
    check_context(base, 10**6)


def _plain(tokenizer: Any) -> None:
    tokenizer.add_tokens(["<rake>", "<hose>"])


def _end(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"eos_token": "<end>"})


def _unused(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})


def _templated(tokenizer: Any) -> None:
    tokenizer.add_tokens([AddedToken("<turn>", special=True)])
    tokenizer.chat_template = "<turn>{% for one in messages %}{{ one.content }}{{ eos_token }}{% endfor %}"


@pytest.mark.parametrize(
    ("grow", "refused"),
    [
        (_plain, rf"2 token\(s\) that its embedding of {ROWS} rows has none for, as '<rake>' with id {ROWS}"),
        (_end, rf"1 token\(s\) that its embedding of {ROWS} rows has none for, as '<end>' with id {ROWS}"),
        (_templated, rf"as '<turn>' with id {ROWS}"),
        (_unused, None),  # no prompt of ours can have it
    ],
)
def test_check_model_tokenizer_that_outgrows_the_embedding_is_refused(
    base: Path, tokenizer: Any, grow: Callable[[Any], None], refused: str | None
) -> None:
    prompt = PromptConfig(max_prompt_tokens=256, chat_template=grow is _templated)
    grown = copy.deepcopy(tokenizer)
    check_model(base, grown, PromptConfig(max_prompt_tokens=256), response_tokens=64)
    grow(grown)
    if refused is None:
        check_model(base, grown, prompt, response_tokens=64)
        return
    with pytest.raises(ConfigError, match=refused):
        check_model(base, grown, prompt, response_tokens=64)


def test_check_vocabulary_config_and_weights_that_disagree_are_refused(base: Path, tokenizer: Any) -> None:
    configure(base, vocab_size=ROWS + 20)
    with pytest.raises(ConfigError, match=rf"vocab_size {ROWS + 20}, but the embedding in the weights has {ROWS} rows"):
        check_vocabulary(base, tokenizer)


def test_check_vocabulary_of_an_embedding_by_another_name_goes_by_the_config(base: Path, tokenizer: Any) -> None:
    weights = load_file(base / "model.safetensors")
    weights["words"] = weights.pop("model.embed_tokens.weight")
    save_file(weights, base / "model.safetensors")
    check_vocabulary(base, tokenizer)
    configure(base, vocab_size=ROWS - 1)
    with pytest.raises(ConfigError, match=rf"embedding of {ROWS - 1} rows has none for, as .* with id {ROWS - 1}"):
        check_vocabulary(base, tokenizer)


def test_check_model_tokenizer_that_cannot_end_a_text_is_refused(base: Path, tokenizer: Any) -> None:
    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None
    with pytest.raises(ConfigError, match="no end-of-sequence token"):
        check_model(base, endless, PromptConfig(max_prompt_tokens=256), response_tokens=64)


def test_refuse_quantized_names_the_method(base: Path) -> None:
    refuse_quantized(base)
    with pytest.raises(ConfigError, match=r"quantization_config \(method gptq\).*name the base that it was made from"):
        refuse_quantized(configure(base, quantization_config={"quant_method": "gptq", "bits": 4}))
