"""One pass over many samples gives the loss and the gradients of one pass each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sample
from transformers import AutoModelForCausalLM

from reviewllm.errors import PackingError
from reviewllm.prompts.config import PromptConfig, PromptForm
from reviewllm.prompts.renderer import PromptRenderer
from reviewllm.sft.attention import Tree
from reviewllm.sft.config import SFTConfig, TrainingConfig
from reviewllm.sft.loss import response_loss
from reviewllm.sft.model import add_lora, distribute, load_base, trainable
from reviewllm.sft.samples import Sample, SampleFile, write_samples
from reviewllm.sft.sequences import EMPTY, pack
from reviewllm.sft.step import check_packing
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES, EvidenceKind
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

WORDS = [["A fine rake. I love the grip.", "Broken lamp, never again.", "The price of the kettle is good."]]
SAMPLES = [sample("a", [1, 5, 6, 7, 8, 2], 3), sample("b", [1, 9, 10, 2], 2), sample("c", [1, 11, 12, 13, 14, 15, 2], 6)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with four heads, two of keys (grouped-query attention), three layers."""
    folder = tmp_path_factory.mktemp("base")
    return make_tiny_base(
        WORDS, folder, TinyBaseConfig(base_vocabulary=300, base_hidden=64, base_layers=3, base_steps=0), context=2048
    )


@pytest.fixture
def model(base: Path) -> Any:
    """The base with LoRA weights that act: as they are made, half of them are 0."""
    made = add_lora(load_base(str(base), dtype="float32", device="cpu"), SFTConfig(base_model="x"))
    torch.manual_seed(1)
    for name, weight in trainable(made).items():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return made


def gradients(model: Any) -> torch.Tensor:
    found = torch.cat([weight.grad.flatten() for weight in trainable(model).values()])
    model.zero_grad(set_to_none=True)
    return found


def user_samples(
    tokenizer: Any, folder: Path, seed: int, form: PromptForm, *, max_prompt_tokens: int = 700, **options: Any
) -> list[Sample]:
    """All targets of three random users whose histories grow, with cut and whole histories, tokenised for real."""
    import pyarrow as pa
    from conftest import entry, example

    random = np.random.default_rng(seed)
    rows = []
    for user in range(3):
        bought = [
            entry(
                day,
                title=f"Item {random.integers(99)}",
                review=" ".join(random.choice(["good", "bad", "so"], random.integers(1, 12))),
            )
            for day in range(int(random.integers(2, 9)))
        ]
        rows += [
            example(
                example_id=f"{user}-{last}",
                user_id=f"u{user}",
                history=bought[:last],
                item_evidence=[
                    {**bought[number], "user_id": "other", "review": f"{number} good so bad"}
                    for number in range(last % 3)  # some have none
                ],
                title=bought[last]["title"],
                rating=bought[last]["rating"],
                reference=bought[last]["review"],
            )
            for last in range(len(bought))
        ]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "examples" / "a.parquet", EXAMPLES)
    renderer = PromptRenderer(tokenizer, PromptConfig(max_prompt_tokens=max_prompt_tokens, prompt_form=form, **options))
    write_samples(folder / "examples", folder / "samples", renderer, max_response_tokens=60, validation_fraction=0)
    return list(SampleFile(folder / "samples"))


def test_response_loss_equals_transformers_own_masked_loss(model: Any, base: Path) -> None:
    loss = response_loss(model, pack(SAMPLES), device="cpu")
    loss.backward()
    ours = gradients(model)
    expected = torch.zeros(())
    plain = add_lora(AutoModelForCausalLM.from_pretrained(base), SFTConfig(base_model="x"))
    plain.load_state_dict(model.state_dict())
    for one in SAMPLES:  # one by one, by transformers' own attention and loss: -100 is not in the loss
        ids = torch.from_numpy(one.token_ids.astype(np.int64))[None]
        labels = ids.clone()
        labels[0, : one.prompt_tokens] = -100
        expected = expected + plain(input_ids=ids, labels=labels).loss * (len(one.token_ids) - one.prompt_tokens)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, gradients(plain), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["paper", "dialogue"])
@pytest.mark.parametrize(("seed", "others"), [(0, "none"), (1, "none"), (2, "none"), (1, "item")])
def test_one_pass_per_user_equals_separate_samples(
    model: Any, tokenizer: Any, tmp_path: Path, seed: int, others: EvidenceKind, form: PromptForm
) -> None:
    """With reviews by others too, behind which a dialogue goes on without them: there its samples fork."""
    samples = user_samples(tokenizer, tmp_path, seed, form, evidence=others, max_evidence_tokens=100)
    assert any(one.evidence_tokens for one in samples) == (others == "item")
    packed = pack(samples)
    assert len(packed.input_ids) < 0.7 * sum(len(one.token_ids) for one in samples)
    together = response_loss(model, packed, device="cpu")
    together.backward()
    of_tree = gradients(model)
    separate = torch.zeros(())
    for one in samples:
        loss = response_loss(model, pack([one]), device="cpu")
        loss.backward()
        separate += loss.detach()
    tokens = len(packed.labels)
    assert abs(float(together.detach() - separate)) / tokens < 1e-5
    assert float((of_tree - gradients(model)).abs().max()) / tokens < 1e-5


def test_a_dialogue_in_one_pass_equals_transformers_own_causal_loss(
    model: Any, base: Path, tokenizer: Any, tmp_path: Path
) -> None:
    """All reviews of a user, each token once, in a plain forward pass of the base as it is published."""
    samples = user_samples(tokenizer, tmp_path, 1, "dialogue", max_prompt_tokens=1500)
    one_user = [one for one in samples if one.user_id == "u0"]
    packed = pack(one_user)
    whole = one_user[-1].token_ids.astype(np.int64)
    assert packed.input_ids.tolist() == whole.tolist()  # the last sample, of which all others are beginnings
    assert packed.position_ids.tolist() == list(range(len(whole)))
    assert [(start, end, len(before)) for start, end, before in packed.segments] == [(0, len(whole), 0)]
    ours = response_loss(model, packed, device="cpu")
    ours.backward()
    of_pass = gradients(model)
    labels = np.full(len(whole), -100)
    for one in one_user:
        labels[one.prompt_tokens : len(one.token_ids)] = one.token_ids[one.prompt_tokens :]
    plain = add_lora(AutoModelForCausalLM.from_pretrained(base), SFTConfig(base_model="x"))
    plain.load_state_dict(model.state_dict())
    theirs = plain(input_ids=torch.from_numpy(whole)[None], labels=torch.from_numpy(labels)[None]).loss
    (theirs * len(packed.labels)).backward()
    tokens = len(packed.labels)
    assert tokens == (labels != -100).sum()
    assert abs(float(ours.detach()) / tokens - float(theirs.detach())) < 1e-5
    assert float((of_pass - gradients(plain)).abs().max()) / tokens < 1e-5


def test_packed_samples_do_not_see_each_other(model: Any) -> None:
    """Changing one sample of a sequence changes no other sample's loss, to the last bit."""

    def losses(last: list[int]) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        hook = model.get_output_embeddings().register_forward_hook(lambda _, __, logits: seen.append(logits.detach()))
        response_loss(model, pack([*SAMPLES[:2], sample("c", last, 2)]), device="cpu")
        hook.remove()
        return seen[0][0, : 3 + 2]  # predictions of the first two samples

    assert torch.equal(losses([1, 20, 21, 2]), losses([1, 30, 31, 2]))


def test_response_loss_runs_the_output_layer_at_response_positions_only(model: Any) -> None:
    seen: list[torch.Size] = []
    model.get_output_embeddings().register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    response_loss(model, pack([sample("a", [1] * 50 + [7, 2], 50)]), device="cpu")
    assert [tuple(shape[:2]) for shape in seen] == [(1, 2)]


def test_response_loss_of_nothing_is_zero_with_gradients_of_zero(model: Any) -> None:
    loss = response_loss(model, EMPTY, device="cpu")
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert float(gradients(model).abs().max()) == 0.0


def test_response_loss_padding_changes_nothing(model: Any) -> None:
    """On a GPU sequences are padded; a token of padding must see and be seen by nobody. Here: by the explicit mask."""
    packed = pack(SAMPLES)
    length = len(packed.input_ids)
    until = np.concatenate([packed.until, np.arange(length, length + 4) + 1])
    mask = torch.tensor([[j <= i < until[j] for j in range(length + 4)] for i in range(length + 4)])
    model.get_base_model().set_attn_implementation("sdpa")
    logits = model(
        input_ids=torch.from_numpy(np.pad(packed.input_ids, (0, 4)))[None],
        position_ids=torch.from_numpy(np.pad(packed.position_ids, (0, 4)))[None],
        attention_mask=mask[None, None],
        logits_to_keep=torch.from_numpy(packed.predicts),
    ).logits[0]
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(packed.labels), reduction="sum")
    model.get_base_model().set_attn_implementation("reviewllm_tree")
    torch.testing.assert_close(loss, response_loss(model, packed, device="cpu"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("checkpointing", ["selective", "full"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_checkpointing_changes_no_loss_and_no_gradient(base: Path, checkpointing: Any, dtype: str) -> None:
    found = []
    for kind in ("none", checkpointing):
        made = add_lora(load_base(str(base), dtype=dtype, device="cpu"), SFTConfig(base_model="x"))
        torch.manual_seed(1)
        for name, weight in trainable(made).items():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        distribute(made, TrainingConfig(gradient_checkpointing=kind), device="cpu", world_size=1)
        loss = response_loss(made, pack(SAMPLES), device="cpu")
        loss.backward()  # type: ignore[no-untyped-call]
        found.append((float(loss.detach()), gradients(made)))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


def test_bfloat16_base_lora_learns_in_float32_and_keeps_no_copy_of_inputs(base: Path) -> None:
    made = add_lora(load_base(str(base), dtype="bfloat16", device="cpu"), SFTConfig(base_model="x"))
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = response_loss(made, pack(SAMPLES), device="cpu")
    loss.backward()  # type: ignore[no-untyped-call]
    assert {weight.grad.dtype for weight in trainable(made).values()} == {torch.float32}
    wide = made.config.intermediate_size  # of the inputs of the down projection
    assert {tensor.dtype for tensor in kept if tensor.shape[-1:] == (wide,)} == {torch.bfloat16}


def test_check_packing_tells_samples_that_see_each_other(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    check_packing(model, SAMPLES, device="cpu")
    monkeypatch.setattr(Tree, "segment_masks", lambda tree, window: [None] * len(tree.queries))
    monkeypatch.setattr(Tree, "keys", property(lambda tree: torch.arange(sum(tree.queries)).repeat(9)[: sum(tree.seen)]))
    with pytest.raises(PackingError, match=r"before the first step: samples that share .* set --no-packing"):
        check_packing(model, SAMPLES, device="cpu")
