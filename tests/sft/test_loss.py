"""The loss at response positions equals the one over all positions with the prompt masked."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from reviewllm.sft.loss import response_loss
from reviewllm.sft.samples import Sample, collate

SAMPLES = [Sample("a", [1, 5, 6, 7, 8, 2], 3), Sample("b", [1, 9, 10, 2], 2), Sample("c", [1, 11, 12, 13, 14, 15, 16, 2], 7)]


def test_response_loss_equals_masked_loss_over_all_positions(random_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(random_base)
    loss, tokens = response_loss(model, collate(SAMPLES, pad_token_id=2))
    expected = 0.0
    for sample in SAMPLES:  # one by one, without padding, by transformers' own loss: -100 is not in the loss
        ids = torch.tensor([sample.token_ids])
        labels = ids.clone()
        labels[0, : sample.prompt_tokens] = -100
        in_loss = len(sample.token_ids) - sample.prompt_tokens
        expected += float(model(input_ids=ids, labels=labels).loss.detach()) * in_loss
    assert tokens == 3 + 2 + 1
    torch.testing.assert_close(float(loss.detach()), expected, rtol=1e-5, atol=1e-5)


def test_response_loss_runs_the_output_layer_at_response_positions_only(random_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(random_base)
    seen: list[torch.Size] = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    response_loss(model, collate([Sample("a", [1] * 50 + [7, 2], 50)], pad_token_id=2))
    assert [tuple(shape[:2]) for shape in seen] == [(1, 2)]
