"""Losses of a packed pass are those of transformers' own code, sample by sample, in every architecture that is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sample
from small_bases import NAMES, VOCABULARY, WINDOW, random_model, save_small_base, small_base
from torch.nn.attention.flex_attention import create_mask
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from reviewllm.errors import ConfigError
from reviewllm.sft import attention
from reviewllm.sft.attention import TREE_ATTENTION, Tree, visible
from reviewllm.sft.loss import response_loss
from reviewllm.sft.model import load_base
from reviewllm.sft.probe import check_trainable
from reviewllm.sft.samples import Sample
from reviewllm.sft.sequences import pack

OWN_ATTENTION = ("bloom", "falcon", "gptj")
STATE = ("mamba", "lfm2", "recurrent-gemma")
TRAINED = [name for name in NAMES if name not in OWN_ATTENTION + STATE]


def random_samples(seed: int, *, longest: int = 60) -> list[Sample]:
    """Samples of users whose histories grow, longer than a window and shorter."""
    random = np.random.default_rng(seed)
    samples = []
    for user in range(3):
        history = random.integers(3, VOCABULARY, random.integers(1, longest)).tolist()
        for number in range(random.integers(1, 4)):
            rest = random.integers(3, VOCABULARY, random.integers(4, 20)).tolist()
            samples.append(sample(f"u{user}-{number}", [1, *history, *rest, 2], len(history) + 3))
            history += random.integers(3, VOCABULARY, random.integers(1, 20)).tolist()
    dialogue = [1]
    for number in range(4):  # each sample is how the next one begins
        dialogue += random.integers(3, VOCABULARY, random.integers(4, 20)).tolist()
        prompt = len(dialogue)
        dialogue += [*random.integers(3, VOCABULARY, random.integers(1, 12)).tolist(), 2]
        samples.append(sample(f"d-{number}", list(dialogue), prompt))
    return samples


def own_loss(model: Any, one: Sample) -> torch.Tensor:
    """Summed loss of a sample's response by transformers alone."""
    ids = torch.from_numpy(one.token_ids.astype(np.int64))
    logits = model(input_ids=ids[None], use_cache=False).logits[0]
    return cross_entropy(logits[one.prompt_tokens - 1 : -1].float(), ids[one.prompt_tokens :], reduction="sum")


@pytest.mark.parametrize("name", TRAINED)
def test_loss_and_gradients_of_every_base_are_those_of_transformers_alone(name: str, tmp_path: Path) -> None:
    folder = save_small_base(name, tmp_path)
    ours = load_base(str(folder), dtype="float32", device="cpu").eval()
    eager: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    samples = random_samples(0)
    assert max(len(one.token_ids) for one in samples) > 2 * WINDOW
    for one in samples:
        tokens = len(one.token_ids) - one.prompt_tokens
        alone = float(own_loss(eager, one).detach())
        assert float(response_loss(ours, pack([one]), device="cpu").detach()) == pytest.approx(alone, abs=1e-5 * tokens)
    expected = sum((own_loss(eager, one) for one in samples), torch.tensor(0.0))
    packed = response_loss(ours, pack(samples), device="cpu")
    tokens = sum(len(one.token_ids) - one.prompt_tokens for one in samples)
    assert float(packed.detach()) == pytest.approx(float(expected.detach()), abs=1e-5 * tokens)
    expected.backward()  # type: ignore[no-untyped-call]
    packed.backward()  # type: ignore[no-untyped-call]
    for (weight, own), (_, other) in zip(ours.named_parameters(), eager.named_parameters(), strict=True):
        assert torch.allclose(own.grad, other.grad, rtol=1e-3, atol=1e-4 * float(other.grad.abs().max() + 1)), weight


@pytest.mark.parametrize("name", TRAINED)
def test_probe_lets_every_base_pass_that_is_trained_exactly(name: str, tmp_path: Path) -> None:
    small_base(name).save_pretrained(tmp_path)
    check_trainable(tmp_path, packing=True)


@pytest.mark.parametrize("name", OWN_ATTENTION)
def test_probe_refuses_attention_that_cannot_be_replaced(name: str, tmp_path: Path) -> None:
    small_base(name).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"of transformers cannot be trained .*: it takes no attention but its own"):
        check_trainable(tmp_path, packing=False)


@pytest.mark.parametrize("name", STATE)
def test_probe_refuses_to_pack_samples_where_layers_hold_a_state(name: str, tmp_path: Path) -> None:
    small_base(name).save_pretrained(tmp_path)
    check_trainable(tmp_path, packing=False)
    with pytest.raises(ConfigError, match=r"hold a state that goes from sample to sample .* set --no-packing"):
        check_trainable(tmp_path, packing=True)


@pytest.mark.parametrize(
    ("name", "forgotten"),
    [
        ("mistral-window", "sliding_window"),
        ("gemma3", "sliding_window"),
        ("gemma2", "softcap"),
        ("gpt-oss", "s_aux"),
        ("llama", "tree"),
    ],
)
def test_probe_refuses_a_base_whose_layers_would_be_trained_otherwise(
    name: str, forgotten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(*inputs: Any, **asked: Any) -> Any:
        return attention.tree_attention(*inputs, **{**asked, forgotten: None})

    monkeypatch.setattr("reviewllm.sft.model.tree_attention", forgetful)
    small_base(name).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"nats a token where its own code gives|needs the tree"):
        check_trainable(tmp_path, packing=True)


def test_probe_keeps_one_layer_of_each_kind_and_the_width_of_the_base(tmp_path: Path) -> None:
    from reviewllm.sft.probe import small

    config = small(small_base("gemma3", num_hidden_layers=6, layer_types=["sliding_attention"] * 5 + ["full_attention"]))
    assert config.layer_types == ["sliding_attention", "full_attention"]
    assert (config.num_hidden_layers, config.hidden_size, config.sliding_window) == (2, 64, 8)
    assert small(small_base("llama", num_hidden_layers=30)).num_hidden_layers == 2


def test_base_is_trained_without_dropout_of_its_own(tmp_path: Path) -> None:
    random_model(small_base("gpt2")).save_pretrained(tmp_path)
    model = load_base(str(tmp_path), dtype="float32", device="cpu").train()
    assert (model.config.attn_pdrop, model.config.resid_pdrop, model.config.embd_pdrop) == (0.0, 0.0, 0.0)
    assert model.config._attn_implementation == TREE_ATTENTION
    one = sample("a", list(range(3, 40)), 5)
    assert len({float(response_loss(model, pack([one]), device="cpu").detach()) for _ in range(3)}) == 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("window", [None, 1, 7, 1000])
def test_masks_of_gpu_and_cpu_are_those_of_until_and_depth(seed: int, window: int | None) -> None:
    packed = pack(random_samples(seed, longest=15))
    length, depth = len(packed.until), packed.position_ids
    expected = torch.tensor(
        [
            [j <= i < packed.until[j] and depth[i] - depth[j] < (window or length) for j in range(length)]
            for i in range(length)
        ]
    )
    predicate = visible(torch.from_numpy(packed.until), torch.from_numpy(depth), window)
    assert torch.equal(create_mask(predicate, 1, 1, length, length, device="cpu")[0, 0], expected)
    tree = Tree(packed, "cpu")
    ours = torch.zeros(length, length, dtype=torch.bool)
    for keys, (start, end, _), own in zip(
        tree.keys.split(tree.seen), packed.segments, tree.segment_masks(window), strict=True
    ):
        ours[start:end, keys] = torch.ones(end - start, end - start, dtype=torch.bool).tril() if own is None else own
    assert torch.equal(ours, expected)


def test_block_mask_of_a_gpu_gives_padding_to_itself_alone() -> None:
    packed = pack(random_samples(0, longest=15))
    length, padding = len(packed.until), 9
    until, depth = Tree(packed, "cpu", padding=padding)._predicate
    seen = create_mask(visible(until, depth, None), 1, 1, length + padding, length + padding, device="cpu")[0, 0]
    assert torch.equal(seen[length:], torch.eye(length + padding, dtype=torch.bool)[length:])
    assert not seen[:length, length:].any()
