"""The adapter folder: PEFT's own layout, plus `reviewllm.json`, which says what it was trained on and for."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from reviewllm import __version__
from reviewllm.attributes.serialise import Serialisation
from reviewllm.config import StageConfig
from reviewllm.errors import AdapterError, ConfigError, LeakageError
from reviewllm.files import follow_umask
from reviewllm.prompts.chat import prompt_frame
from reviewllm.prompts.config import PROMPT_VERSION, EvidencePlace, PromptConfig, PromptForm
from reviewllm.prompts.selection import Selection
from reviewllm.prompts.tasks import TaskName
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.config import SFTConfig, TrainingConfig, samples_per_step
from reviewllm.table_files import replace_folder, table_files
from reviewllm.tables import EXAMPLES, EvidenceKind

DESCRIPTION_FILE = "reviewllm.json"
CURVE_FILE = "curve.jsonl"  # one row per optimizer step
_MERGED_MARK = "MERGED"  # tells a merged model, which may be replaced, from a base
_PEFT_CONFIG = "adapter_config.json"
_SAMPLED_BYTES = 1 << 20
_READ_WHOLE_BYTES = 64 << 20


class Canary(StageConfig):
    """A fixed prompt with the ids that base and adapter write after it, greedily."""

    prompt: list[int]
    base: list[int]
    adapter: list[int]


class AdapterDescription(StageConfig):
    """What an adapter was trained on and for; generation refuses to use it otherwise.

    Losses are means over response tokens, in nats; `validation_loss` and `best_step` are None where none was measured.
    `identity` is what decides a training's outcome, by name (`fit.identity`). `serialisation` is None for a task that shows no
    attributes, `evidence_place` for prompts without reviews by others; `chat_template` is the template around its prompts
    (`ChatFrame.text`), None for none. `layers` are the ends of the names of the layers that it adapts.
    """

    base_model: str
    base_digest: str
    examples_digest: str
    samples_digest: str
    with_rating: bool
    task: TaskName = "review"
    serialisation: Serialisation | None = None
    prompt_form: PromptForm = "paper"
    evidence: EvidenceKind = "none"
    evidence_place: EvidencePlace | None = None
    history_selection: Selection = "latest"
    user_facts: bool = False
    chat_template: str | None = None
    instruction: str
    max_prompt_tokens: int
    prompt_version: str = PROMPT_VERSION
    code_version: str = __version__
    samples: int
    optimizer_steps: int
    first_loss: float
    last_loss: float
    best_step: int | None = None
    validation_loss: float | None = None
    layers: list[str] = []
    sft: SFTConfig
    training: TrainingConfig
    canaries: list[Canary] = []


def examples_digest(shards: Sequence[Path]) -> str:
    """sha256 over the names of example shards, which carry the hash of their content."""
    return hashlib.sha256("\n".join(sorted(shard.name for shard in shards)).encode()).hexdigest()


def refuse_other_examples(adapters: Iterable[Path | None], trained: Path, *, measured: str) -> None:
    """Refuse adapters that were trained on other examples than those of a run, which may be what the run measures on.

    Args:
        adapters: their folders; None for a bare base.
        trained: folder of the run's training examples.
        measured: what an evaluation measures on, for the message.

    Raises:
        LeakageError: naming the first such adapter.
    """
    here = examples_digest(table_files(trained, EXAMPLES) if trained.is_dir() else [])
    for adapter in adapters:
        if adapter and read_description(adapter).examples_digest != here:
            raise LeakageError(
                f"adapter {adapter} was trained on other examples than {trained}, perhaps on {measured} here; train it anew, or "
                "pass --allow-other-examples if you know that it was not"
            )


def model_digest(folder: Path) -> str:
    """sha256 over the files of a model folder that decide what it writes.

    Files up to 64 MiB count whole; of larger ones the size and 1 MiB each of the start (the safetensors header is there),
    the middle and the end, so that an 8B base costs milliseconds and not a minute.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".model", ".jinja")):
        if path.name == DESCRIPTION_FILE:
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with open(path, "rb") as file:
            if size <= _READ_WHOLE_BYTES:
                digest.update(file.read())
            else:
                for start in (0, size // 2, size - _SAMPLED_BYTES):
                    file.seek(start)
                    digest.update(file.read(_SAMPLED_BYTES))
    return digest.hexdigest()


def complete_adapter(
    folder: Path, tokenizer: Any, description: AdapterDescription, curve: Sequence[Mapping[str, float]]
) -> None:
    """Add to PEFT's two files the tokenizer, the description, the loss curve and a model card.

    The base is named as the user named it, not by the folder where a worker found it.
    """
    config = json.loads((folder / _PEFT_CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = description.base_model
    config["target_modules"] = sorted(config["target_modules"])  # PEFT writes a set, in another order in every process
    (folder / _PEFT_CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(folder)
    (folder / DESCRIPTION_FILE).write_text(description.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / CURVE_FILE).write_text("".join(json.dumps(row) + "\n" for row in curve), encoding="utf-8")
    (folder / "README.md").write_text(model_card(description), encoding="utf-8")


def model_card(description: AdapterDescription) -> str:
    """The adapter's model card, with the metadata block that hubs and PEFT read."""
    ratings = "with ratings" if description.with_rating else "without ratings"
    form = ", ".join(
        [f"task {description.task}{f' as {description.serialisation}' if description.serialisation else ''}", ratings]
        + ["as a dialogue"] * (description.prompt_form == "dialogue")
        + [f"with reviews by others ({description.evidence})"] * (description.evidence != "none")
        + [f"{description.history_selection} entries of the history"] * (description.history_selection != "latest")
        + ["with the user's facts"] * description.user_facts
        + ["in the base's chat template"] * (description.chat_template is not None)
    )
    sft, training = description.sft, description.training
    validation = (
        f"| validation loss (nats per response token), best at step {description.best_step} "
        f"| {description.validation_loss:.4f} |\n"
        if description.validation_loss is not None
        else ""
    )
    return f"""---
base_model: {json.dumps(description.base_model)}
library_name: peft
pipeline_tag: text-generation
tags: [lora, review-generation, reviewllm]
---

# Review-writing adapter ({ratings})

Writes the review that a user would write of a purchase, from a prompt of reviewllm's form (version
{description.prompt_version}, {form}, at most {description.max_prompt_tokens} tokens).

| | |
|---|---|
| base | `{description.base_model}` (sha256 {description.base_digest[:16]}) |
| data | {description.samples} samples (sha256 {description.samples_digest[:16]}) |
| LoRA | rank {sft.lora_r}, alpha {sft.lora_alpha}, dropout {sft.lora_dropout:g}, on {", ".join(description.layers)} |
| optimizer | {sft.optimizer}, learning rate {sft.learning_rate:g}, {sft.lr_scheduler_type}, seed {sft.seed} |
| steps, samples of a step | {description.optimizer_steps}, {samples_per_step(sft, training)} |
| training loss (nats per response token), first and last step | {description.first_loss:.4f}, {description.last_loss:.4f} |
{validation}| made by | reviewllm {description.code_version} |

All settings are in `{DESCRIPTION_FILE}`, the losses of every step in `{CURVE_FILE}`.

Intended use: drafts for the user concerned, and analytics. Its texts are generated and marked as such; they must never be
published as a customer's own words without that customer. It has learned from real users' reviews and may repeat pieces
of them: keep it where those reviews may be kept. Do not load it on another base than the one above.
"""


def read_description(adapter: Path) -> AdapterDescription:
    """Read what an adapter was trained on and for.

    Raises:
        AdapterError: the folder is no adapter of reviewllm, or an incomplete one.
    """
    needed = (_PEFT_CONFIG, "adapter_model.safetensors", DESCRIPTION_FILE)
    missing = [name for name in needed if not (adapter / name).is_file()]
    if missing:
        inside = sorted(file.parent.name for file in adapter.glob(f"*/{DESCRIPTION_FILE}"))
        raise AdapterError(
            f"{adapter}: not a complete adapter folder, {', '.join(missing)} missing; train it with jobs/train.py"
            + (f", or name one that is in it: {', '.join(inside[:5])}" if inside else "")
        )
    try:
        json.loads((adapter / _PEFT_CONFIG).read_bytes())
        with safe_open(adapter / "adapter_model.safetensors", framework="numpy"):
            pass  # reads the header and compares it with the file's size
        return AdapterDescription.model_validate_json((adapter / DESCRIPTION_FILE).read_bytes())
    except (SafetensorError, ValueError) as error:  # ValidationError and JSONDecodeError are ValueErrors
        raise AdapterError(f"{adapter}: a file of the adapter cannot be read: {error}; train it anew") from error


def check_base(adapter: Path, base: Path) -> AdapterDescription:
    """Read an adapter's description and refuse it for another base.

    Raises:
        AdapterError: the adapter is incomplete or was trained on another base.
    """
    description = read_description(adapter)
    if description.base_digest != model_digest(base):
        raise AdapterError(
            f"adapter {adapter} was trained on base {description.base_model} (sha256 {description.base_digest[:12]}), but "
            f"{base} has sha256 {model_digest(base)[:12]}; set --base-model to the first or pick another adapter"
        )
    return description


def check_fits(adapter: Path, base: Path, prompt: PromptConfig) -> AdapterDescription:
    """Read an adapter's description and refuse it for another base or another kind of prompt.

    Raises:
        AdapterError: what differs, and what to set.
    """
    description = check_base(adapter, base)
    if description.prompt_version != PROMPT_VERSION:
        raise AdapterError(
            f"adapter {adapter} knows prompts of version {description.prompt_version}, this code renders version "
            f"{PROMPT_VERSION}; train it anew"
        )
    if description.with_rating != prompt.rating:
        seen, asked = ("with", "without") if description.with_rating else ("without", "with")
        raise AdapterError(f"adapter {adapter} was trained {seen} ratings, but the prompts are rendered {asked} them")
    same = (description.task, description.prompt_form, description.evidence) == (prompt.task, prompt.form, prompt.evidence)
    if same and description.instruction != prompt.instruction():
        raise AdapterError(f"adapter {adapter} was trained with another instruction; pass its --instruction-file")
    _check_form(adapter, description, base, prompt)
    return description


def _check_form(adapter: Path, description: AdapterDescription, base: Path, prompt: PromptConfig) -> None:
    """Refuse an adapter for another task, form of prompt or attributes, other evidence, or another template around the prompt."""
    if description.task != prompt.task:
        raise AdapterError(f"adapter {adapter} was trained for --task {description.task}, not for --task {prompt.task}")
    if description.prompt_form != prompt.form:
        raise AdapterError(
            f"adapter {adapter} was trained with --prompt-form {description.prompt_form}, not with {prompt.form}; set the first"
        )
    if description.evidence != prompt.evidence:
        raise AdapterError(
            f"adapter {adapter} was trained with --evidence {description.evidence}, not with {prompt.evidence}; set the first"
        )
    if description.evidence_place not in (None, prompt.evidence_place):
        raise AdapterError(
            f"adapter {adapter} was trained with --evidence-place {description.evidence_place}, not with {prompt.evidence_place}; "
            "set the first"
        )
    if description.history_selection != prompt.selection:
        raise AdapterError(
            f"adapter {adapter} was trained with --history-selection {description.history_selection}, not with {prompt.selection}; "
            "set the first"
        )
    if description.user_facts != prompt.has_user_facts:
        seen, advice = ("with", "set") if description.user_facts else ("without", "leave out")
        raise AdapterError(f"adapter {adapter} was trained {seen} what sets the user apart; {advice} --user-facts")
    if prompt.task == "attributes" and description.serialisation != prompt.serialisation:
        raise AdapterError(
            f"adapter {adapter} was trained with --serialisation {description.serialisation}, not with {prompt.serialisation}"
        )
    if (description.chat_template is None) == prompt.chat_template:
        seen, advice = ("without", "leave out") if description.chat_template is None else ("with", "set")
        raise AdapterError(f"adapter {adapter} was trained {seen} a chat template; {advice} --chat-template")
    frame = prompt_frame(load_tokenizer(str(base)), prompt) if prompt.chat_template else None
    if frame and frame.text != description.chat_template:
        raise AdapterError(
            f"adapter {adapter} was trained with another chat template than the one of {base}; train it anew (its own is in "
            f"{DESCRIPTION_FILE})"
        )


def merged_folder(adapter: Path) -> Path:
    """Where the merged model of an adapter goes unless told otherwise.

    >>> merged_folder(Path("out/adapter-no-rating")), merged_folder(Path("out/mine"))
    (PosixPath('out/merged-no-rating'), PosixPath('out/mine-merged'))
    """
    name = adapter.name
    return adapter.with_name(name.replace("adapter", "merged", 1) if "adapter" in name else f"{name}-merged")


def check_merge_target(folder: Path, *, base: Path, adapter: Path) -> None:
    """Refuse to put a merged model where anything else than an earlier merged model is.

    Raises:
        ConfigError: names the folder.
    """
    is_input = folder.resolve() in (base.resolve(), adapter.resolve())
    if is_input or (folder.exists() and not (folder / _MERGED_MARK).is_file()):
        raise ConfigError(
            f"{folder}: is there and is no merged model of reviewllm; name a folder that may be made or replaced"
        )


def merge_adapter(base: Path, adapter: Path, folder: Path) -> Path:
    """Write base plus adapter as one Hugging Face model to `folder`, aside and renamed, in place of an earlier one.

    The engine then runs at the base's speed: its live LoRA costs throughput.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, trust_remote_code=False, use_safetensors=True)
    merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        merged.save_pretrained(aside, safe_serialization=True)
        AutoTokenizer.from_pretrained(base, trust_remote_code=False).save_pretrained(aside)
        (aside / _MERGED_MARK).write_text("Base and adapter, merged by reviewllm.\n", encoding="utf-8")
        follow_umask(aside)
        replace_folder(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder
