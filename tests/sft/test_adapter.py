"""The adapter folder: complete, described, refused where it does not belong, and merged."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from reviewllm.errors import AdapterError
from reviewllm.prompts.config import PROMPT_VERSION, PromptConfig
from reviewllm.sft.adapter import (
    CURVE_FILE,
    AdapterDescription,
    Canary,
    check_base,
    check_fits,
    complete_adapter,
    merge_adapter,
    model_digest,
    read_description,
)
from reviewllm.sft.canary import check_canaries, record_canaries
from reviewllm.sft.config import SFTConfig, TrainingConfig


@pytest.fixture(scope="module")
def tuned(random_base: Path) -> Any:
    """A PEFT model whose adapter changes what it writes."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(random_base)
    model = get_peft_model(
        base, LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=1.0)
    return model.eval()


@pytest.fixture(scope="module")
def adapter(tuned: Any, random_base: Path, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "adapter"
    description = AdapterDescription(
        base_model="tiny",
        base_digest=model_digest(random_base),
        examples_digest="e" * 64,
        samples_digest="f" * 64,
        with_rating=True,
        instruction=PromptConfig().instruction(),
        max_prompt_tokens=512,
        samples=3,
        optimizer_steps=2,
        first_loss=5.0,
        last_loss=4.0,
        best_step=1,
        validation_loss=4.25,
        sft=SFTConfig(base_model="tiny", seed=7),
        training=TrainingConfig(num_workers=3),
        canaries=record_canaries(tuned, [[1, 5, 6, 7], [1, 8, 9]], end_token=2),
    )
    tuned.save_pretrained(folder, safe_serialization=True)
    complete_adapter(folder, tokenizer, description, [{"step": 1, "loss": 5.0}, {"step": 2, "loss": 4.0}])
    return folder


def test_complete_adapter_is_loaded_by_peft_and_writes_the_same(adapter: Path, tuned: Any, random_base: Path) -> None:
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(random_base), adapter).eval()
    ids = torch.tensor([[1, 5, 6, 7]])
    torch.testing.assert_close(loaded(ids).logits, tuned(ids).logits)
    assert not list(adapter.glob("*.bin"))
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"
    assert [json.loads(line)["loss"] for line in (adapter / CURVE_FILE).read_text().splitlines()] == [5.0, 4.0]


def test_model_card_says_base_data_configuration_losses_and_use(adapter: Path) -> None:
    card = (adapter / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["base_model"] == "tiny"
    for fact in (
        f"{PROMPT_VERSION}, task review, with ratings, at most 512 tokens)",
        "3 samples (sha256 ffffffffffffffff)",
        "rank 8, alpha 16",
        "seed 7",
        "| 2, 6 |",
        "best at step 1 | 4.2500 |",
    ):
        assert fact in card
    assert "never be\npublished" in card


def test_check_base_of_another_base_is_refused(adapter: Path, random_base: Path, tmp_path: Path) -> None:
    assert check_base(adapter, random_base).sft.seed == 7
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(AdapterError, match="was trained on base tiny"):
        check_base(adapter, tmp_path)


def test_check_fits_its_own_base_and_prompt(adapter: Path, random_base: Path) -> None:
    assert check_fits(adapter, random_base, PromptConfig()).samples == 3


def test_check_fits_other_base_is_refused(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(AdapterError, match=r"was trained on base tiny .* set --base-model"):
        check_fits(adapter, tmp_path, PromptConfig())


def test_check_fits_other_ratings_or_instruction_is_refused(adapter: Path, random_base: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="trained with ratings, but the prompts are rendered without"):
        check_fits(adapter, random_base, PromptConfig(rating=False))
    file = tmp_path / "instruction.txt"
    file.write_text("Another one.")
    with pytest.raises(AdapterError, match="another instruction"):
        check_fits(adapter, random_base, PromptConfig(instruction_file=file))


def test_check_fits_other_task_serialisation_or_template_is_refused(
    adapter: Path, random_base: Path, tokenizer: Any, tmp_path: Path
) -> None:
    base = shutil.copytree(random_base, tmp_path / "base")
    chat = copy.deepcopy(tokenizer)
    chat.chat_template = (
        "{% for one in messages %}{{ one.role }}: {{ one.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    chat.save_pretrained(base)
    template = "user: {prompt}</s>assistant: {response}</s>"

    def described(**changed: Any) -> Path:
        folder = shutil.copytree(adapter, tmp_path / "adapter", dirs_exist_ok=True)
        description = read_description(adapter).model_copy(update={"base_digest": model_digest(base), **changed})
        (folder / "reviewllm.json").write_text(description.model_dump_json())
        return folder

    html = PromptConfig(task="attributes", serialisation="html")
    texts = {"task": "attributes", "serialisation": "html", "instruction": html.instruction()}
    assert check_fits(described(**texts), base, html).serialisation == "html"
    assert check_fits(described(chat_template=template), base, PromptConfig(chat_template=True)).samples == 3
    dialogue = PromptConfig(prompt_form="dialogue")
    talks = {"prompt_form": "dialogue", "instruction": dialogue.instruction()}
    assert check_fits(described(**talks), base, dialogue).prompt_form == "dialogue"
    extract = PromptConfig(task="extract", prompt_form="dialogue")  # of a task with one form
    assert check_fits(described(task="extract", instruction=extract.instruction()), base, extract).samples == 3
    others = PromptConfig(evidence="item")
    shown = {"evidence": "item", "evidence_place": "after-history", "instruction": others.instruction()}
    assert check_fits(described(**shown), base, others).evidence == "item"
    refused = [
        ({}, others, "was trained with --evidence none, not with item"),
        (shown, PromptConfig(), "was trained with --evidence item, not with none"),
        (shown, PromptConfig(evidence="both"), "was trained with --evidence item, not with both"),
        (
            shown,
            PromptConfig(evidence="item", evidence_place="first"),
            "was trained with --evidence-place after-history, not with first",
        ),
        ({}, dialogue, "was trained with --prompt-form paper, not with dialogue"),
        ({}, PromptConfig(history_selection="similar"), "was trained with --history-selection latest, not with similar"),
        ({}, PromptConfig(user_facts=True), "was trained without what sets the user apart; leave out --user-facts"),
        ({"user_facts": True}, PromptConfig(), "was trained with what sets the user apart; set --user-facts"),
        ({"history_selection": "spread"}, PromptConfig(), "was trained with --history-selection spread, not with latest"),
        (talks, PromptConfig(), "was trained with --prompt-form dialogue, not with paper"),
        (
            {**talks, "chat_template": template},  # without what stands between two turns
            PromptConfig(prompt_form="dialogue", chat_template=True),
            "with another chat template than the one of",
        ),
        ({}, html, "trained for --task review, not for --task attributes"),
        (texts, PromptConfig(), "trained for --task attributes, not for --task review"),
        (texts, PromptConfig(task="attributes"), "trained with --serialisation html, not with json"),
        ({}, PromptConfig(chat_template=True), "trained without a chat template; leave out --chat-template"),
        ({"chat_template": template}, PromptConfig(), "trained with a chat template; set --chat-template"),
        (
            {"chat_template": "[INST] {prompt}"},
            PromptConfig(chat_template=True),
            "with another chat template than the one of",
        ),
    ]
    for changed, prompt, message in refused:
        with pytest.raises(AdapterError, match=message):
            check_fits(described(**changed), base, prompt)


def test_read_description_of_a_run_names_the_adapters_in_it(adapter: Path) -> None:
    with pytest.raises(AdapterError, match=r"not a complete adapter folder, .*, or name one that is in it: adapter$"):
        read_description(adapter.parent)


def test_read_description_incomplete_folder_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(AdapterError, match=r"adapter_model.safetensors, reviewllm.json missing"):
        read_description(tmp_path)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "reviewllm.json"])
def test_read_description_damaged_file_is_refused(adapter: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(adapter, tmp_path / "copy")
    (copy / name).write_bytes((copy / name).read_bytes()[:-10])
    with pytest.raises(AdapterError, match="cannot be read"):
        read_description(copy)


def test_merge_adapter_equals_base_with_adapter(adapter: Path, tuned: Any, random_base: Path, tmp_path: Path) -> None:
    merged = merge_adapter(random_base, adapter, tmp_path / "merged")
    ids = torch.tensor([[1, 5, 6, 7]])
    torch.testing.assert_close(
        AutoModelForCausalLM.from_pretrained(merged)(ids).logits, tuned(ids).logits, rtol=1e-4, atol=1e-4
    )
    assert [path.name for path in tmp_path.iterdir()] == [merged.name]


def test_model_digest_changes_with_the_weights_and_not_with_the_card(adapter: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(adapter, copy)
    (copy / "README.md").write_text("other")
    assert model_digest(copy) == model_digest(adapter)
    weights = bytearray((copy / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "adapter_model.safetensors").write_bytes(weights)
    assert model_digest(copy) != model_digest(adapter)


CANARY = Canary(prompt=[1], base=[5, 6, 7, 8], adapter=[5, 9, 9, 9])


def test_check_canaries_follows_the_adapter_far_enough() -> None:
    check_canaries([CANARY], [[5, 9, 9, 1]], adapter="a")
    check_canaries([], [], adapter="a")


@pytest.mark.parametrize("written", [[5, 6, 7, 8], [5, 6, 9], [5]])
def test_check_canaries_the_bases_text_is_refused(written: list[int]) -> None:
    with pytest.raises(AdapterError, match="adapter a does not act"):
        check_canaries([CANARY], [written], adapter="a")


def test_record_canaries_keeps_those_that_tell(adapter: Path) -> None:
    canaries = read_description(adapter).canaries
    assert canaries
    assert all(canary.base != canary.adapter for canary in canaries)
