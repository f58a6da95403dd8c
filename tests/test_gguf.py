from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from jobs.base import BaseJob, main
from reviewllm.errors import ConfigError
from reviewllm.prompts.tokenizer import load_tokenizer

HIDDEN, LAYERS, TEMPLATE = 64, 2, "{% for message in messages %}{{ message['content'] }}{% endfor %}"
BASE = Path(__file__).resolve().parents[1] / "out/bases/smollm2-135m"


def write_gguf(file: Path, *, architecture: str = "llama", seed: int = 0) -> Path:
    """A small random model with a byte-level tokenizer of a few merges."""
    rng = np.random.default_rng(seed)
    symbols = [chr(code) for code in range(33, 127)]
    tokens = ["<unk>", "<s>", "</s>", *symbols, "Ġ", "ab", "abc"]
    writer = gguf.GGUFWriter(str(file), architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(128)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_token_merges(["a b", "ab c"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)

    def tensor(name: str, *shape: int) -> None:
        writer.add_tensor(name, rng.normal(0, 0.1, shape).astype(np.float32))

    tensor("token_embd.weight", len(tokens), HIDDEN)
    tensor("output_norm.weight", HIDDEN)
    for layer in range(LAYERS):
        for name, rows, columns in (("attn_q", 64, 64), ("attn_k", 32, 64), ("attn_v", 32, 64), ("attn_output", 64, 64)):
            tensor(f"blk.{layer}.{name}.weight", rows, columns)
        for name, rows, columns in (("ffn_gate", 128, 64), ("ffn_up", 128, 64), ("ffn_down", 64, 128)):
            tensor(f"blk.{layer}.{name}.weight", rows, columns)
        tensor(f"blk.{layer}.attn_norm.weight", HIDDEN)
        tensor(f"blk.{layer}.ffn_norm.weight", HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_base_of_a_gguf_file_is_a_plain_folder_that_everything_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_gguf(tmp_path / "small.gguf")
    folder = main(BaseJob(gguf=file, out=tmp_path / "bases/small"))
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.config.num_hidden_layers == LAYERS
    assert not hasattr(model.config, "quantization_config")
    written = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    for name, kept in (
        ("token_embd.weight", model.get_input_embeddings().weight),
        ("blk.1.ffn_down.weight", model.model.layers[1].mlp.down_proj.weight),
    ):
        expected = torch.tensor(written[name].data.copy()).reshape(kept.shape).bfloat16()
        assert torch.equal(kept, expected), name
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.convert_ids_to_tokens(tokenizer("abcab", add_special_tokens=False)["input_ids"]) == ["abc", "ab"]
    assert (tokenizer.eos_token, tokenizer.chat_template) == ("</s>", TEMPLATE)
    assert tokenizer.model_max_length == 256
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert main(BaseJob(gguf=file, out=folder)) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert capsys.readouterr().out.endswith("is there already, made of the same file\n")


def test_base_what_is_there_already_is_not_replaced(tmp_path: Path) -> None:
    one, other = write_gguf(tmp_path / "one.gguf"), write_gguf(tmp_path / "other.gguf", seed=1)
    folder = main(BaseJob(gguf=one, out=tmp_path / "base"))
    with pytest.raises(ConfigError, match=r"--out .*base: was made of another GGUF file"):
        main(BaseJob(gguf=other, out=folder))
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match=r"--out .*mine: is there and was not made of a GGUF file"):
        main(BaseJob(gguf=one, out=tmp_path / "mine"))


def test_base_files_that_are_none_are_named_and_leave_nothing(tmp_path: Path) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("no model")
    half = tmp_path / "half.gguf"
    half.write_bytes(write_gguf(tmp_path / "whole.gguf").read_bytes()[:5000])
    cases = [
        (tmp_path / "absent.gguf", "absent.gguf: cannot be read: .*No such file"),
        (text, "text.gguf: is no GGUF file: it does not begin with GGUF"),
        (half, "half.gguf: transformers cannot read it"),
        (write_gguf(tmp_path / "odd.gguf", architecture="nonesuch"), "odd.gguf: transformers cannot read it: .*nonesuch"),
    ]
    for file, message in cases:
        with pytest.raises(ConfigError, match=f"--gguf .*{message}"):
            main(BaseJob(gguf=file, out=tmp_path / "bases/x"))
    assert not list(tmp_path.glob("bases/*"))


@pytest.mark.skipif(not BASE.exists(), reason="`make base` has not been run")
def test_standard_base_answers_in_english() -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(BASE)
    tokenizer = load_tokenizer(str(BASE))
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    written = model.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :]
    assert tokenizer.decode(written) == "The capital of France is Paris.<|im_end|>"
