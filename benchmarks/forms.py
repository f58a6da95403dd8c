"""Learning curves of the paper's prompts and of dialogues: the likelihood of held-out reviews by samples and by seconds.

    .venv/bin/python benchmarks/forms.py --json out/forms-shop.json                                the synthetic shop, three seeds
    .venv/bin/python benchmarks/forms.py --data reviews --base-model out/bases/smollm2-135m --seconds 300 --seeds 0

Both forms learn from one base, side by side in one process: whichever has had less time takes the next optimizer step, so that
what else the machine does falls on both. At every mark each is measured on the last review of users who are held out: mean
negative log-likelihood of the review's tokens (nats), the same tokens in both forms. Differences have 95 % bootstrap intervals by
users, over all seeds together.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs import prepare
from jobs.entry import run
from reviewllm.base_model import local_model_folder
from reviewllm.config import JobConfig, ModelWhere
from reviewllm.errors import ConfigError
from reviewllm.evaluation.bootstrap import bootstrap
from reviewllm.files import write_text
from reviewllm.prompts.config import PromptConfig, PromptForm
from reviewllm.prompts.renderer import PromptRenderer
from reviewllm.prompts.tasks.review import DIALOGUE
from reviewllm.prompts.tasks.task import ITEM_MARKER
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.config import SFTConfig, with_defaults
from reviewllm.sft.samples import SampleFile, write_samples
from reviewllm.sft.schedule import Schedule
from reviewllm.sft.sequences import Sample, pack
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base, user_documents

FORMS: tuple[PromptForm, ...] = ("paper", "dialogue")
ROOT = Path(__file__).resolve().parents[1]


class FormsJob(JobConfig):
    """Compare how fast adapters learn from both forms of prompts."""

    data: Literal["shop", "reviews"] = Field("shop", description="the synthetic shop with a tiny base each, or real reviews")
    reviews: Path = Field(
        ROOT / "../shared/data/amazon_2014/reviews_Musical_Instruments_5.json.gz", description="real reviews"
    )
    base_model: ModelWhere | None = Field(None, description="base for real reviews; of the shop one is made")
    seeds: list[int] = Field(
        [0, 1, 2], min_length=1, description="of the shop or of the users, the LoRA weights and the order"
    )
    seconds: float = Field(60, gt=0, description="of training for each form")
    marks: int = Field(4, ge=1, description="times that both are measured, at equal distances of seconds")
    held_out: float = Field(0.2, gt=0, lt=1, description="share of the users that are measured and not trained on")
    most_users: int = Field(60, ge=2, description="of them at most")
    samples_per_step: int = Field(8, ge=1, description="samples of an optimizer step in the paper's form")
    dialogue_samples_per_step: int = Field(24, ge=1, description="the same in dialogues, of which a sample costs less")
    learning_rate: float = Field(5e-4, gt=0, description="constant after --warmup-steps")
    warmup_steps: int = Field(3, ge=0, description="optimizer steps in which the learning rate rises from 0")
    max_prompt_tokens: int = Field(768, ge=64, description="token budget of a prompt")
    max_response_tokens: int = Field(256, ge=2, description="longer reviews are cut")
    threads: int = Field(2, ge=1, description="CPU threads")
    json_file: Path | None = Field(None, alias="json", description="write all figures here")


class Mark(NamedTuple):
    """What one form has learned when: its seconds, steps, samples, and for each held-out user (summed nats, tokens)."""

    form: PromptForm
    seed: int
    mark: int
    seconds: float
    steps: int
    samples: int
    losses: dict[str, tuple[float, int]]


def main(config: FormsJob) -> None:
    """Train, measure, print the curves and write the figures."""
    import torch

    if config.data == "reviews" and config.base_model is None:
        raise ConfigError("--data reviews needs --base-model, say out/bases/smollm2-135m (make base)")
    torch.set_num_threads(config.threads)
    marks: list[Mark] = []
    for seed in config.seeds:
        with tempfile.TemporaryDirectory(prefix="forms-") as folder:
            marks += curves(config, seed, Path(folder))
    rows, differences = table(marks), compare(marks)
    print(f"\n{rows}\n\nat equal seconds, dialogue less paper, nats a token:\n{differences}")
    if config.json_file is not None:
        told = [{**mark._asdict(), "losses": mean_loss(mark)} for mark in marks]
        record = {"config": config.model_dump(mode="json"), "marks": told, "differences": differences.to_dicts()}
        write_text(json.dumps(record, indent=1) + "\n", config.json_file)


def curves(config: FormsJob, seed: int, folder: Path) -> list[Mark]:
    """Train one adapter in each form from one base; returns what each had learned at every mark."""
    files = [] if config.data == "shop" else [config.reviews]
    prepare.main(
        prepare.PrepareJob(reviews=files, out=folder, targets="all", train_per_category=1, shop_seed=seed, seed=seed)
    )
    base = local_model_folder(config.base_model) if config.base_model else _tiny_base(folder, seed)
    learners = [Learner(config, form, base, folder, seed) for form in FORMS]
    marks = [learner.mark(0) for learner in learners]
    for mark in range(1, config.marks + 1):
        until = config.seconds * mark / config.marks
        while (next_one := min(learners, key=lambda learner: learner.seconds)).seconds < until:
            next_one.step()
        marks += [learner.mark(mark) for learner in learners]
        print(table(marks[-len(learners) :]), flush=True)
    return marks


def _tiny_base(folder: Path, seed: int) -> Path:
    """A base whose tokenizer has met the words of both forms."""
    documents = user_documents(read_table(folder / "examples" / "train", EXAMPLES))
    structure = [DIALOGUE, ITEM_MARKER]
    return make_tiny_base(documents, folder / "base", TinyBaseConfig(seed=seed), structure=structure)


class Learner:
    """One form's model in training."""

    def __init__(self, config: FormsJob, form: PromptForm, base: Path, folder: Path, seed: int) -> None:
        """Load the base, and tokenise the examples."""
        import torch

        from reviewllm.sft.model import add_lora, load_base
        from reviewllm.sft.step import make_optimizer

        self.form, self.seed, self.seconds, self.steps, self.samples = form, seed, 0.0, 0, 0
        tokenizer = load_tokenizer(str(base))
        chat = bool(getattr(tokenizer, "chat_template", None))
        prompt = PromptConfig(prompt_form=form, max_prompt_tokens=config.max_prompt_tokens, chat_template=chat)
        file = folder / f"{form}.arrow"
        write_samples(
            folder / "examples" / "train",
            file,
            PromptRenderer(tokenizer, prompt),
            max_response_tokens=config.max_response_tokens,
            validation_fraction=config.held_out,
        )
        options: dict[str, Any] = {"learning_rate": config.learning_rate, "warmup_steps": config.warmup_steps, "seed": seed}
        options |= {"max_response_tokens": config.max_response_tokens, "num_train_epochs": 1000}
        sft = SFTConfig(base_model=str(base), **options)
        self._sft = with_defaults(sft, max_prompt_tokens=config.max_prompt_tokens, dialogue=form == "dialogue")
        per_step = config.dialogue_samples_per_step if form == "dialogue" else config.samples_per_step
        self._schedule = Schedule(SampleFile(file), self._sft, samples_per_step=per_step, world_size=1)
        self._held_out = list(last_samples(SampleFile(file, validation=True)).values())[: config.most_users]
        self._device = torch.device("cpu")
        self._model = add_lora(load_base(str(base), dtype="auto", device=self._device), self._sft)
        self._optimizer, self._scheduler = make_optimizer(self._model, self._sft, steps=self._schedule.steps)

    def step(self) -> None:
        """One optimizer step."""
        from reviewllm.sft.step import optimizer_step

        started = time.monotonic()
        samples = self._schedule.samples(self.steps)
        share = self._schedule.share(self.steps, 0)
        optimizer_step(self._model, self._optimizer, share, max_grad_norm=self._sft.max_grad_norm, device=self._device)
        self._scheduler.step()
        self.seconds += time.monotonic() - started
        self.steps += 1
        self.samples += len(samples)

    def mark(self, number: int) -> Mark:
        """Measure what was learned so far."""
        import torch

        from reviewllm.sft.loss import response_loss

        self._model.eval()
        with torch.no_grad():
            losses = {
                sample.user_id: (
                    float(response_loss(self._model, pack([sample]), device=self._device)),
                    len(sample.token_ids) - sample.prompt_tokens,
                )
                for sample in self._held_out
            }
        self._model.train()
        return Mark(self.form, self.seed, number, self.seconds, self.steps, self.samples, losses)


def last_samples(samples: SampleFile) -> dict[str, Sample]:
    """The last sample of each user."""
    return {sample.user_id: sample for sample in samples}


def mean_loss(mark: Mark) -> float:
    """Nats a token over all held-out reviews."""
    return sum(nats for nats, _ in mark.losses.values()) / sum(tokens for _, tokens in mark.losses.values())


def table(marks: list[Mark]) -> str:
    """The curves as text, a line for each mark."""
    lines = [f"{'form':10}{'seed':>5}{'seconds':>9}{'steps':>7}{'samples':>9}{'nats a token':>14}"]
    lines += [
        f"{mark.form:10}{mark.seed:5}{mark.seconds:9.0f}{mark.steps:7}{mark.samples:9}{mean_loss(mark):14.4f}"
        for mark in marks
    ]
    return "\n".join(lines)


def compare(marks: list[Mark]) -> pl.DataFrame:
    """For each mark the mean over users of the dialogue's nats a token less the paper's, with its interval.

    Returns:
        mark, difference, low, high, users.
    """
    found = []
    for number in sorted({mark.mark for mark in marks}):
        by_form = {
            form: {
                f"{mark.seed} {user}": nats / tokens
                for mark in marks
                if (mark.form, mark.mark) == (form, number)
                for user, (nats, tokens) in mark.losses.items()
            }
            for form in FORMS
        }
        users = sorted(set(by_form["paper"]) & set(by_form["dialogue"]))
        differences = np.array([by_form["dialogue"][user] - by_form["paper"][user] for user in users])
        rows = pl.DataFrame({"user_id": users, "difference": differences})
        (mean,), (low,), (high,), _ = bootstrap(rows, ["difference"])
        found.append({"mark": number, "difference": mean, "low": low, "high": high, "users": len(users)})
    return pl.DataFrame(found)


if __name__ == "__main__":
    run(main, FormsJob)
