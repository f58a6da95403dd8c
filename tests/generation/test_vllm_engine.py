"""One real engine: names under a row's schema, and likelihoods as transformers computes them, with a live adapter too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import WORDS, entry, example
from generation.one_engine import Asked, Told, ask_one_engine, load_in_one_engine, write_drafts_in_one_engine
from peft import get_peft_model
from safetensors.torch import load_file, save_file
from small_bases import WINDOW, save_small_base, small_base
from transformers import AutoModelForCausalLM

from reviewllm.generation.engine import Request, shared_beginning
from reviewllm.generation.vllm_engine import as_transformers
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tasks import TASKS
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.config import SFTConfig
from reviewllm.sft.layers import lora_config
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

pytestmark = [pytest.mark.slow, pytest.mark.ray]

LONG = "a very long name that fills whole blocks of the cache before it ends in " * 4
CANDIDATES = [["Rake", "Rake XL", "Gel pens, 12''", "Crème brûlée ☕ 日本"], [f"{LONG}red", f"{LONG}blue", "Lamp"]]
BLOCK = 128  # positions of a block of vLLM's cache on a CPU
REVIEWS = ["A fine rake, and I love the grip.", "Broken.", "It is what it is. " * 60]


class Asking(NamedTuple):
    """The base and what its engine was asked, and what it told."""

    base: Path
    asked: Asked
    told: Told


def row(candidates: list[str], count: int) -> dict[str, Any]:
    attributes = json.dumps({"candidates": candidates, "count": count})
    return example(history=[entry(1, title="Hose", review="")] * 3, attributes=attributes)


ROWS = [row(CANDIDATES[0], 3), row(CANDIDATES[1], 2), row(CANDIDATES[0], 1)]


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Asking:
    folder = tmp_path_factory.mktemp("engine")
    size = TinyBaseConfig(base_vocabulary=300, base_hidden=64, base_layers=2, base_steps=0)
    base = make_tiny_base([WORDS], folder / "base", size, context=4096)
    adapter = random_adapter(base, folder / "adapter")
    renderer = PromptRenderer(load_tokenizer(str(base)), PromptConfig(task="recommend", max_prompt_tokens=2500))
    prompts = [made.token_ids for made in renderer.render(ROWS) if isinstance(made, Prompt)]
    schema = TASKS["recommend"].answer_schema
    assert schema is not None
    written = [Request({}, ids, 0, None, answer_schema=schema(one)) for ids, one in zip(prompts, ROWS, strict=True)]
    choices = [
        Request({}, ids, 0, None, choices=some) for ids, some in zip(prompts, renderer.render_choices(ROWS), strict=True)
    ]
    references = reference_requests(base, str(adapter))
    # The last review is then in the cache as a whole, as the end of another prompt.
    cached = [one._replace(prompt_ids=[*one.prompt_ids, *one.reference_ids], greedy=True) for one in references[2::3]]
    asked = Asked([*written, *cached], choices, references, [adapter])
    return Asking(base, asked, ask_one_engine(base, asked))


def random_adapter(base: Path, folder: Path) -> Path:
    """A LoRA adapter on every linear layer that moves the base by much."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    lora = LoraConfig(r=8, lora_alpha=64, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, lora).save_pretrained(folder)
    return folder


def reference_requests(base: Path, adapter: str) -> list[Request]:
    """Each review behind a prompt of blocks and a bit, and of whole blocks: of the base, then of the adapter."""
    renderer = PromptRenderer(load_tokenizer(str(base)), PromptConfig(max_prompt_tokens=2500))
    reviews = renderer.render_responses(REVIEWS, max_tokens=512)
    (prompt,) = renderer.render([example(history=[entry(1, review="Good rake. " * 40)])])
    assert isinstance(prompt, Prompt)
    ids = prompt.token_ids
    lengths = (len(ids) - (len(ids) % BLOCK == 0), len(ids) // BLOCK * BLOCK, len(ids) // BLOCK * BLOCK)
    return [
        Request({}, ids[:length], 0, path, reference_ids=review)
        for path in (None, adapter)
        for length, review in zip(lengths, reviews, strict=True)
    ]


def log_softmax_of(base: Path, adapter: str | None = None) -> Any:
    """A function of ids: the log-softmax that transformers gives behind each of them, in float32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter).eval()

    def logs(ids: list[int]) -> Any:
        with torch.no_grad():
            return torch.log_softmax(model(torch.tensor([ids])).logits[0], dim=-1)

    return logs


def log_likelihood(logs_of: Any, ids: list[int], begins: int) -> float:
    logs = logs_of(ids)
    return sum(float(logs[place - 1, ids[place]]) for place in range(begins, len(ids)))


def test_vllm_names_candidates_alone(asking: Asking) -> None:
    for answer, one in zip(asking.told.written, ROWS, strict=False):
        wanted_of = json.loads(one["attributes"])
        names = json.loads(answer.text)
        assert len(names) == wanted_of["count"]
        assert set(names) <= set(wanted_of["candidates"])


def test_vllm_tells_the_likelihoods_of_choices(asking: Asking) -> None:
    logs_of = log_softmax_of(asking.base)
    for request, *found in zip(asking.asked.choices, *asking.told.choices, strict=True):
        prompt = list(request.prompt_ids)
        begins = len(prompt) + shared_beginning(request.choices)
        wanted = [log_likelihood(logs_of, [*prompt, *choice], begins) for choice in request.choices]
        for told in found:
            assert told == pytest.approx(wanted, rel=1e-4, abs=1e-3)


def test_vllm_tells_the_likelihood_of_a_review_by_base_and_adapter(asking: Asking) -> None:
    for request, *found in zip(asking.asked.references, *asking.told.references, strict=True):
        ids = [*request.prompt_ids, *request.reference_ids]
        wanted = log_likelihood(log_softmax_of(asking.base, request.adapter), ids, len(request.prompt_ids))
        for told in found:
            assert told / len(request.reference_ids) == pytest.approx(wanted / len(request.reference_ids), abs=1e-4)
    each = asking.told.references[0]
    assert min(abs(one - other) for one, other in zip(each[:3], each[3:], strict=True)) > 0.1  # the adapter acts


def test_vllm_is_asked_whether_it_serves_every_layer_of_an_adapter(tmp_path: Path) -> None:
    base, whole, other = save_small_base("llama", tmp_path / "base"), tmp_path / "whole", tmp_path / "other"
    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, lora_config(model, SFTConfig(base_model=str(base)))).save_pretrained(whole)
    assert load_in_one_engine(base, [whole]) == ""

    shutil.copytree(whole, other)
    weights = load_file(whole / "adapter_model.safetensors")
    moved = {name.replace("layers.1.mlp.down_proj", "layers.7.mlp.down_proj"): weight for name, weight in weights.items()}
    save_file(moved, other / "adapter_model.safetensors")
    told = load_in_one_engine(base, [whole, other])
    assert told.startswith(
        f"adapter {other}: vLLM would leave out 1 of its layers (model.layers.7.mlp.down_proj); merged into"
    )


def test_vllm_writes_drafts_that_differ_and_follow_from_the_rows_seed(tmp_path: Path) -> None:
    size = TinyBaseConfig(base_vocabulary=300, base_hidden=64, base_layers=2, base_steps=0)
    base = make_tiny_base([WORDS], tmp_path / "base", size, context=512)
    tokenizer = load_tokenizer(str(base))
    prompts = [tokenizer.encode("A fine rake."), tokenizer.encode("A fine rake, and a long hose beside it.")]
    prompts += [
        tokenizer.encode(f"{number} fine rakes. " * 200)[:480] for number in range(6)
    ]  # more than vLLM computes in a step
    requests = [Request({}, ids, seed, None) for ids in prompts for seed in (7, 2**31 - 1)]
    told = write_drafts_in_one_engine(base, requests, 8)
    assert told.at_once == told.one_by_one
    assert [drafts[0] for drafts in told.at_once] == told.alone
    for drafts in told.at_once:
        assert len({tuple(ids) for ids in drafts}) == 8
    assert not {tuple(ids) for ids in told.at_once[0]} & {tuple(ids) for ids in told.at_once[1]}  # of one prompt


def test_as_transformers_cohere_sees_a_token_less_than_vllm_lets_it(tmp_path: Path) -> None:
    small_base("cohere2").save_pretrained(tmp_path)
    assert as_transformers(tmp_path) == {"sliding_window": WINDOW - 1}
    small_base("gemma2").save_pretrained(tmp_path)
    assert as_transformers(tmp_path) == {}
