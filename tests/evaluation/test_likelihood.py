"""Likelihood by a reference model: vLLM's own engine against the same model's logits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.errors import ConfigError
from reviewllm.evaluation.likelihood import reference_model
from reviewllm.generation.config import GenerationConfig
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base


@pytest.mark.slow  # it starts an engine of its own
@pytest.mark.ray
def test_log_likelihood_is_that_of_the_models_logits(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    size = TinyBaseConfig(base_vocabulary=300, base_hidden=64, base_layers=1, base_steps=0)
    base = make_tiny_base(
        [["A fine rake. I love the grip.", "Broken lamp, never again."]], tmp_path / "base", size, context=1100
    )
    texts = ["A fine rake.", "again never lamp", "", "so " * 5000, "</s> <s> it is", "A fine rake."]
    with ray_session(ClusterConfig()), reference_model(str(base), GenerationConfig()) as log_likelihood:
        found = log_likelihood(texts)
        assert log_likelihood(["A fine rake."]) == found[:1]
    assert found[0] == found[5]
    assert found[2] is None
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    for text, told in zip(texts[:2], found[:2], strict=True):
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]])
        logs = model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])
        assert told == pytest.approx(logs.mean().item(), abs=0.02)
    assert all(value is None or (math.isfinite(value) and value < 0) for value in found)


def test_reference_model_that_is_not_there() -> None:
    with pytest.raises(ConfigError), reference_model("/nowhere/at/all", GenerationConfig()):
        pass
