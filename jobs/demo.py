"""The whole flow on embedded defaults, for real: the page to read first.

    python jobs/demo.py                                             # a synthetic shop and a tiny base made on the spot
    python jobs/demo.py --task attributes --serialisations json,markdown,tsv,html,text  # reviews that fit the items' attributes
    python jobs/demo.py --reviews <files> --items <files> --base-model <folder>

raw files -> interactions, items -> examples -> adapters (with and without ratings) -> evaluation -> the reviews of
rating-only purchases -> one HTML report, on a local Ray, on both cores of a small machine without a GPU or a network.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

if __package__ in (None, ""):  # run as a file: `python jobs/demo.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs import backfill, evaluate, prepare, report, train
from jobs.entry import run_job
from reviewllm.attributes.serialise import Serialisation
from reviewllm.cluster import ClusterConfig, log_folder, ray_session
from reviewllm.config import Command, Commands, JobConfig, ModelWhere, part
from reviewllm.errors import InputError
from reviewllm.progress import step
from reviewllm.prompts.config import PromptForm, check_serialisations
from reviewllm.summary import record_step
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base, user_documents

_FACTS = 0.5  # of the sentences in the shop's reviews, where prompts show facts
_REMEDIES = {
    "train": "no user outside the evaluation has two reviews",
    "backfill": "every purchase has a review; hide some with --hide-fraction 0.1",
}


class DemoJob(JobConfig, ClusterConfig, TinyBaseConfig):
    """Run every step of the main job in order."""

    out: Path = Field(Path("out/demo"), description="folder that receives all output")
    reviews: list[Path] = Field([], description="review files or folders; none: a synthetic shop")
    items: list[Path] = Field([], description="metadata files or folders; may be left out")
    base_model: ModelWhere | None = Field(
        None, description="base: a Hugging Face folder or hub name; none: a tiny one is made"
    )
    shop_users: int = Field(300, ge=20, description="users of the synthetic shop")
    hide_fraction: float = Field(
        0.0, ge=0, lt=1, description="share of reviews hidden to be backfilled; default 0 for the shop, 0.05 for your files"
    )
    task: Literal["review", "attributes"] = Field(
        "review", description="what of the new item a prompt shows: its title, or its attributes"
    )
    prompt_form: PromptForm = Field(
        "paper",
        description="paper: the history is one list; dialogue: one purchase after the other, each with its review behind it",
    )
    serialisations: list[Serialisation] = Field(
        [], description="forms of the attributes to train and compare; default json; the first writes the missing reviews"
    )
    max_steps: int = Field(300, ge=1, description="optimizer steps of each adapter")
    learning_rate: float = Field(4e-3, gt=0, description="fit for a tiny base; the paper's 5e-6 is for 8B parameters")
    max_prompt_tokens: int = Field(
        384,
        ge=64,
        description="token budget of a prompt; default 384 for the shop, 768 for your files, 256 more for --task attributes",
    )
    max_new_tokens: int = Field(
        64, ge=1, description="tokens of a review at most; default 64 for the shop, 160 for your files"
    )

    @model_validator(mode="before")
    @classmethod
    def _fit_defaults_to_the_input(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Real reviews are longer than the shop's, and nearly all purchases in public files have one."""
        hidden, prompt, new = (0.05, 768, 160) if given.get("reviews") else (0.0, 384, 64)
        prompt += 256 * (given.get("task") == "attributes")
        return {"hide_fraction": hidden, "max_prompt_tokens": prompt, "max_new_tokens": new} | given

    @model_validator(mode="after")
    def _check_serialisations(self) -> DemoJob:
        check_serialisations(self.serialisations, task=self.task)
        return self

    def prompts(self) -> dict[str, Any]:
        """What every step is told of prompts."""
        form = self.serialisations[0] if self.serialisations else "json"
        return {
            "task": self.task,
            "prompt_form": self.prompt_form,
            "serialisation": form,
            "max_prompt_tokens": self.max_prompt_tokens,
        }


def main(config: DemoJob) -> None:
    """Prepare, make a base, train two adapters, evaluate, backfill, report."""
    out = config.out
    prepare.main(
        prepare.PrepareJob(
            reviews=config.reviews,
            items=config.items,
            out=out,
            targets="all",
            hide_fraction=config.hide_fraction,
            history_attributes=config.task == "attributes" and config.prompt_form == "dialogue",
            shop_users=config.shop_users,
            shop_facts=_FACTS if config.task == "attributes" else 0.0,
            shop_seed=config.seed,
            seed=config.seed,
        )
    )
    for split in ("train", "backfill"):
        if not (out / "examples" / split).is_dir():
            raise InputError(f"the files give no {split} example: {_REMEDIES[split]}")
    if not any((out / "examples" / split).is_dir() for split in ("simple", "hard")):
        raise InputError("the files give no evaluation example: no user has more than 10 and fewer than 30 reviews")
    base_model = config.base_model or str(_tiny_base(config))
    several = config.serialisations if len(config.serialisations) > 1 else []
    with ray_session(part(config, ClusterConfig)):
        print(f"Ray: engines and workers write their logs under {log_folder()}")
        _train(config, base_model, several)
        tables = evaluate.evaluate(
            evaluate.EvaluateJob(
                base_model=base_model,
                out=out,
                max_new_tokens=config.max_new_tokens,
                serialisations=several,
                **config.prompts(),
            )
        )
        for folder in ("generations", "dead_letters", "ledger"):  # of earlier demos: their nights would count as done
            shutil.rmtree(out / folder, ignore_errors=True)
        night = backfill.main(
            backfill.BackfillJob(
                base_model=base_model,
                out=out,
                adapter=str(out / f"adapter-{several[0]}") if several else None,
                max_new_tokens=config.max_new_tokens,
                **config.prompts(),
            )
        )
    assert night is not None  # neither planned nor probed
    page = report.main(report.ReportJob(out=out))
    print(
        f"\n{tables}\n\ngenerated reviews  {out / 'generations' / f'dt={night.date}'}\n"
        f"report             {page}\nsummary            {out / 'summary.json'}"
    )


def _train(config: DemoJob, base_model: str, several: list[Serialisation]) -> None:
    """Train an adapter that is shown ratings and one that is not, in each of several forms of the attributes."""
    for rating in (True, False):
        train.main(
            train.TrainJob(
                base_model=base_model,
                out=config.out,
                rating=rating,
                seed=config.seed,
                learning_rate=config.learning_rate,
                max_steps=config.max_steps,
                num_train_epochs=100,  # max_steps ends it
                per_device_train_batch_size=4,
                gradient_accumulation_steps=1,
                serialisations=several,
                **config.prompts(),
                on_existing_run="restart",
            )
        )


def _tiny_base(config: DemoJob) -> Path:
    """Make the base from the reviews of users who are not evaluated; it has never seen the others."""
    with step("tiny base") as running:
        folder = config.out / "tiny-base"
        forms = (config.serialisations or ["json"]) if config.task == "attributes" else []
        documents = user_documents(read_table(config.out / "examples" / "train", EXAMPLES), forms)
        make_tiny_base(
            documents,
            folder,
            part(config, TinyBaseConfig),
            task=config.task,
            form=config.prompt_form,
            on_step=lambda done, total, loss: running.show(done, total, f"loss {loss:.3f}"),
        )
        reviews = sum(map(len, documents))
        counts = {"users": len(documents), "steps": config.base_steps}
        record_step(config.out, "base", config, rows_in=reviews, rows_out=reviews, seconds=running.seconds, counts=counts)
        running.result = f"{reviews} reviews of {len(documents)} users -> {folder}"
    return folder


COMMANDS: Commands = {"": Command(main, DemoJob)}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
