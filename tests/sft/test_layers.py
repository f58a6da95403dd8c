"""Which layers LoRA adapts: as PEFT means `all-linear`, in every architecture, and what is no layer is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import _maybe_include_all_linear_layers
from small_bases import NAMES, small_base
from transformers import AutoModelForCausalLM, Gemma3Config

from reviewllm.errors import ConfigError
from reviewllm.sft.config import SFTConfig
from reviewllm.sft.layers import ALL_LINEAR, adapted_layers, lora_config

LLAMA = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
KINDS = {
    "phi3": ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"],
    "gpt-neox": ["dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value"],
    "gpt2": ["c_attn", "c_fc", "c_proj"],
    "gpt-oss": ["k_proj", "o_proj", "q_proj", "v_proj"],
    "mamba": ["dt_proj", "in_proj", "x_proj"],  # out_proj's weight is read past the layer; PEFT refuses it
}


def on_meta(config: Any) -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("name", NAMES)
def test_all_linear_is_what_peft_means_by_it(name: str) -> None:
    model = on_meta(small_base(name))
    theirs = _maybe_include_all_linear_layers(LoraConfig(target_modules=ALL_LINEAR), model).target_modules
    layers = adapted_layers(model, [ALL_LINEAR], name=name)
    assert sorted(layers.adapted) == sorted(one for one in theirs if name != "mamba" or not one.endswith("out_proj"))
    assert layers.kinds() == KINDS.get(name, layers.kinds())

    config = lora_config(model, SFTConfig(base_model="x"))
    assert sorted(config.target_modules) == layers.kinds()  # short, and the same for a base of any depth
    tuned = get_peft_model(model, config)  # without a warning about weights that lie the other way, as GPT-2's do
    adapted = [one for one, module in tuned.get_base_model().named_modules() if isinstance(module, LoraLayer)]
    assert adapted == layers.adapted


def test_adapted_layers_by_the_ends_of_their_names() -> None:
    layers = adapted_layers(on_meta(small_base("llama")), ["v_proj", "q_proj"], name="b")
    assert layers.adapted == [f"model.layers.{layer}.self_attn.{kind}_proj" for layer in (0, 1) for kind in "qv"]
    assert not layers.left_out


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            [],
            r"--target-modules \(none\): the base b has no such linear layer; it has q_proj, k_proj, v_proj, o_proj, and all",
        ),
        (["q_proj", "lm_head"], "--target-modules lm_head: "),
        ([ALL_LINEAR, "q_proj"], "all-linear: .* all-linear alone stands for all of them"),
        (["down_proj"], r"\(experts.down_proj: weights without a layer of their own, which LoRA does not adapt here\)"),
    ],
)
def test_adapted_layers_what_is_no_linear_layer_is_refused(asked: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adapted_layers(on_meta(small_base("gpt-oss")), asked, name="b")


def test_adapted_layers_of_experts_and_routers_are_left_out_by_name() -> None:
    left_out = adapted_layers(on_meta(small_base("gpt-oss")), [ALL_LINEAR], name="b").left_out
    assert left_out == ["experts.down_proj", "experts.gate_up_proj", "router.weight"]


def test_adapted_layers_of_a_base_that_sees_images_are_those_of_its_text() -> None:
    text = small_base("gemma3").to_dict()
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 28}
    model = on_meta(Gemma3Config(text_config=text, vision_config=vision))
    layers = adapted_layers(model, [ALL_LINEAR], name="b")
    assert layers.kinds() == LLAMA
    assert all("vision" not in name for name in layers.adapted)
    config = lora_config(model, SFTConfig(base_model="x"))
    tuned = get_peft_model(model, config).get_base_model()
    assert [one for one, module in tuned.named_modules() if isinstance(module, LoraLayer)] == layers.adapted
