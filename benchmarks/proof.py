"""The standard proof: a real base on real reviews, from raw files to one table that later work is measured by.

    make proof                                                docs/measured.md keeps its table
    .venv/bin/python benchmarks/proof.py --choose             validation losses at several learning rates: how one was chosen
    .venv/bin/python benchmarks/proof.py --quick --base-model <folder> --out out/quick          does it run?

For each data set of `--data`: prepare, train with and without ratings, evaluate base, both adapters and every text copied by
rule on the simple and the hard set, report; beside these, on the same examples, an adapter for the dialogue form, and on one
data set (`--paper-dataset`, for the cost) an adapter at the paper's learning rate. Writes `<out>/<data set>/` (a run folder of
the jobs), `<out>/<data set>-<other way to train>/`, `<out>/proof.md` and `<out>/proof.json`.

A step that is finished is not run again, and one that was ended goes on where its job's own recovery takes it up. What a step is
made with (settings, data, base, the code under jobs/ and reviewllm/, versions of libraries, and all of that of the steps before
it) is noted when it begins; where that has changed, what it left is removed and it runs anew, as does all that follows.

The sizes fit two cores. Evaluated users have at least five reviews, not eleven: with the paper's bound, four hard rows would be
left of Musical Instruments, too few to tell anything. One training target a category takes nothing from training, for
`--targets all` trains on every review of all other users. Learning rate and number of steps are to be chosen with `--choose`, on
users held out of the training examples, never on the evaluated ones (docs/measured.md says whether they were).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.proof_steps import Step, run_steps
from benchmarks.proof_table import Measured, Rate, measured, rates_table, read_rates, write_proof
from jobs import evaluate, prepare, report, train
from jobs.entry import run
from reviewllm.base_model import local_model_folder
from reviewllm.config import JobConfig, ModelWhere, StageConfig
from reviewllm.errors import ConfigError, InputError
from reviewllm.evaluation.staging import alone
from reviewllm.files import write_text
from reviewllm.prompts.config import EvidencePlace, PromptConfig, PromptForm
from reviewllm.prompts.selection import Selection
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.tables import EvidenceKind

DatasetName = Literal["musical-2014", "amazon-2023"]
STANDARD_BASE = "out/bases/smollm2-135m"
PAPER_RATE = 5e-6  # Review-LLM, section 3.1; constant, without a warm-up
_WORKERS = 2
# GiB of the engine's cache of keys and values on a CPU. Two shards are under way, 125 rows of up to 1,152 tokens, 23 kB each for
# SmolLM2: 3.3 GB. With less, rows would be thrown out half written, and prompts be computed again for their likelihoods.
_CACHE_GIB = "4"


class Dataset(NamedTuple):
    """A folder of `--data`; simple and hard targets of a category, and the share of training users that `--choose` holds out."""

    title: str
    folder: str
    with_items: bool
    simple: int
    hard: int
    held_out: float


# In the 24 small categories of 2023 a handful of targets each leaves enough users to train on.
_DATASETS = {
    "musical-2014": Dataset("Musical Instruments 2014", "amazon_2014", False, simple=80, hard=200, held_out=0.005),
    "amazon-2023": Dataset("24 categories of Amazon 2023", "amazon_2023", True, simple=3, hard=200, held_out=0.04),
}


class ArmOptions(StageConfig):
    """Another way to write, by what of it differs from the standard way."""

    prompt_form: PromptForm = "paper"
    evidence: EvidenceKind = "none"
    evidence_place: EvidencePlace = "after-history"
    history_selection: Selection = "latest"
    user_facts: bool = False
    drafts: int = 1
    temperature: float = 0.0
    adapter_of: str | None = Field(None, description="arm whose adapter writes; empty: the standard way's; none: its own")


class Arm(NamedTuple):
    """A way to train and write that is measured; its run folder is `<data set>-<name>`, that of the standard way `<data set>`."""

    name: str
    title: str
    rate: float
    options: ArmOptions = ArmOptions()


_OURS = ("base", "adapter")
_METRICS = ("metrics", ".metrics-*.tmp")
_QUICK = {
    "steps": 2,
    "choose_steps": 2,
    "dialogue_steps": 2,
    "samples_per_step": 4,
    "dialogue_samples_per_step": 4,
    "max_prompt_tokens": 256,
    "max_new_tokens": 8,
    "max_response_tokens": 32,
    "most_rows": 2,
}


class ProofJob(JobConfig):
    """Measure what the project does on real reviews with a real base."""

    base_model: ModelWhere = Field(STANDARD_BASE, description="base: a Hugging Face folder or hub name")
    data: Path = Field(Path("../shared/data"), description="folder with amazon_2014/ and amazon_2023/")
    out: Path = Field(Path("out/proof"), description="folder that receives all output")
    dataset: list[DatasetName] = Field(["musical-2014", "amazon-2023"], min_length=1, description="data sets to measure on")
    paper_dataset: DatasetName | Literal["none"] = Field(
        "amazon-2023", description="the one on which an adapter at the paper's rate is trained too, or none"
    )
    steps: int = Field(24, ge=1, description="optimizer steps of an adapter")
    samples_per_step: int = Field(8, ge=_WORKERS, multiple_of=_WORKERS, description="samples of an optimizer step")
    ablation: bool = Field(True, description="train and measure an adapter without ratings too")
    dialogue: bool = Field(True, description="train and measure the dialogue form too")
    arms: dict[str, ArmOptions] = Field(
        {},
        description='further ways to measure, name to options as JSON: {"evidence": {"evidence": "item"}, "drafts": '
        '{"drafts": 8, "temperature": 0.8, "adapter_of": ""}}',
    )
    dialogue_steps: int = Field(13, ge=1, description="optimizer steps in the dialogue form: as many as take as long")
    dialogue_samples_per_step: int = Field(
        24, ge=_WORKERS, multiple_of=_WORKERS, description="samples of one: with more, more of a user's share a pass"
    )
    learning_rate: float = Field(
        2e-3, gt=0, description="the chosen one: warmed up over a tenth of the steps, then falling to 0"
    )
    max_prompt_tokens: int = Field(768, ge=64, description="token budget of a prompt")
    max_new_tokens: int = Field(128, ge=1, description="tokens of a generated review at most")
    max_response_tokens: int = Field(256, ge=2, description="longer reviews are cut for training, without an end token")
    most_rows: int | None = Field(None, ge=1, description="evaluated rows of a category and set at most; drawn by seed")
    seed: int = Field(0, ge=0, description="of every random choice")
    choose: bool = Field(False, description="only train short runs at --choose-rates, and print their validation losses")
    choose_rates: list[float] = Field(
        [2e-4, 5e-4, 1e-3], description=f"learning rates of --choose, beside the paper's {PAPER_RATE:g} in the paper's form"
    )
    choose_steps: int = Field(10, ge=1, description="optimizer steps of each of them")
    quick: bool = Field(False, description="the smallest sizes that run every step")


def main(config: ProofJob) -> str:
    """Run the steps that are not finished; returns the table, which is written too."""
    config = config.model_copy(update=_QUICK if config.quick else {})
    _check(config)
    with alone(config.out):
        text = _choose(config) if config.choose else _prove(config)
    print(f"\n{text}")
    return text


def _check(config: ProofJob) -> None:
    """Refuse what a step would end with an hour later."""
    if config.base_model == STANDARD_BASE and not Path(STANDARD_BASE).exists():
        raise ConfigError(f"--base-model {STANDARD_BASE}: is not there; make it with: make base")
    local_model_folder(config.base_model)
    own = {"", *(arm.name for arm in _trained(config))}
    for arm in _further(config):
        if arm.options.adapter_of is not None and arm.options.adapter_of not in own:
            raise ConfigError(
                f"--arms {arm.name}: adapter_of {arm.options.adapter_of!r} is no way with an adapter of its own; those are: "
                f"{', '.join(sorted(own - {''})) or 'none'}, and the standard way as an empty text"
            )
    for name in config.dataset:
        folder = config.data / _DATASETS[name].folder
        if not folder.is_dir():
            raise InputError(f"--data {config.data}: has no {folder.name}/, which the data set {name} is read from")


def _prove(config: ProofJob) -> str:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", _CACHE_GIB)
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{_WORKERS - 1}")  # alone vLLM would leave one of them idle
    taken = run_steps(plan(config), config.base_model, config.out / "steps")
    found = [_measured(config, name) for name in config.dataset]
    return write_proof(found, taken, config, config.out)


def _choose(config: ProofJob) -> str:
    taken = run_steps(plan_choice(config), config.base_model, config.out / "steps")
    found = {
        f"{_DATASETS[name].title}, {arm.name or 'paper form'}": {
            rate: Rate(taken[_choice(name, arm, rate)].seconds or 0, read_rates(_rate_folder(config, name, arm, rate)))
            for rate in _choose_rates(config, arm)
        }
        for name in config.dataset
        for arm in _trained(config)
    }
    text = rates_table(found)
    write_text(text, config.out / "choose.md")
    return text


def _standard(config: ProofJob) -> Arm:
    return Arm("", f"adapter at {config.learning_rate:g}", config.learning_rate)


def _further(config: ProofJob) -> list[Arm]:
    """The dialogue form, and the ways that are asked for."""
    asked = {**({"dialogue": ArmOptions(prompt_form="dialogue")} if config.dialogue else {}), **config.arms}
    return [
        Arm(name, f"{name}, adapter at {config.learning_rate:g}", config.learning_rate, options)
        for name, options in asked.items()
    ]


def _arms(config: ProofJob, name: str) -> list[Arm]:
    """What is measured on a data set beside the standard way."""
    paper = Arm("paper", f"adapter at {PAPER_RATE:g}, the paper's", PAPER_RATE)
    return [*_further(config), *([paper] if name == config.paper_dataset else [])]


def _trained(config: ProofJob) -> list[Arm]:
    """The ways that have an adapter of their own."""
    return [_standard(config), *(arm for arm in _further(config) if arm.options.adapter_of is None)]


def _folder(config: ProofJob, name: str, arm: Arm) -> Path:
    return config.out / (f"{name}-{arm.name}" if arm.name else name)


def plan(config: ProofJob) -> list[Step]:
    """Every step of the proof, in order."""
    steps: list[Step] = []
    for name in config.dataset:
        standard = _standard(config)
        steps.append(prepare_step(config, name, standard))
        steps += [train_step(config, name, standard, rating=rating) for rating in _ratings(config)]
        steps += [evaluate_step(config, name), report_step(config, name)]
        for arm in _arms(config, name):
            steps.append(prepare_step(config, name, arm))
            steps += [train_step(config, name, arm)] if arm.options.adapter_of is None else []
            steps.append(arm_step(config, name, arm))
    return steps


def _ratings(config: ProofJob) -> tuple[bool, ...]:
    """Whether prompts show ratings, for each adapter of the standard way."""
    return (True, False) if config.ablation else (True,)


def plan_choice(config: ProofJob) -> list[Step]:
    """Short runs at every learning rate, on training users alone."""
    steps = []
    for name in config.dataset:
        for arm in _trained(config):
            prepared = prepare_step(config, name, arm)
            steps.append(prepared)
            for rate in _choose_rates(config, arm):
                held_out = {"validation_fraction": _DATASETS[name].held_out, "eval_steps": -(-config.choose_steps // 2)}
                options = {**_sft(config, arm._replace(rate=rate), config.choose_steps), **held_out}
                options["adapter"] = _rate_folder(config, name, arm, rate)
                steps.append(_training(_choice(name, arm, rate), config, prepared, arm, options))
    return steps


def _choose_rates(config: ProofJob, arm: Arm) -> list[float]:
    return [*([] if arm.name else [PAPER_RATE]), *config.choose_rates]


def _choice(name: str, arm: Arm, rate: float) -> str:
    return f"{name}/choose-{arm.name or 'paper-form'}-{rate:g}"


def _rate_folder(config: ProofJob, name: str, arm: Arm, rate: float) -> Path:
    return _folder(config, name, arm) / "choose" / f"rate-{rate:g}"


def prepare_step(config: ProofJob, name: str, arm: Arm) -> Step:
    """Examples of a data set: the same for every arm."""
    drawn, folder = _DATASETS[name], _folder(config, name, arm)
    most = config.most_rows or max(drawn.simple, drawn.hard)
    files = [str(config.data / drawn.folder)]
    job = prepare.PrepareJob(
        reviews=files,
        items=files if drawn.with_items else [],
        out=folder,
        targets="all",
        evidence="both",
        more_than_reviews=4,
        train_per_category=1,
        simple_per_category=min(drawn.simple, most),
        hard_per_category=min(drawn.hard, most),
        seed=config.seed,
    )
    return Step(f"{folder.name}/prepare", prepare.main, job, folder, makes=["examples"], reads=[Path(files[0])])


def train_step(config: ProofJob, name: str, arm: Arm, *, rating: bool = True) -> Step:
    """An adapter of an arm."""
    steps = config.dialogue_steps if arm.options.prompt_form == "dialogue" else config.steps
    options = {**_sft(config, arm, steps), "rating": rating}
    suffix = "" if rating else "-no-rating"
    prepared = prepare_step(config, name, arm)
    return _training(f"{prepared.folder.name}/train{suffix}", config, prepared, arm, options)


def _training(name: str, config: ProofJob, prepared: Step, arm: Arm, options: dict[str, Any]) -> Step:
    folder = prepared.folder
    job = train.TrainJob(base_model=config.base_model, out=folder, track=False, **_prompt(config, arm), **options)
    adapter = job.adapter_folder()
    made = [str(adapter.relative_to(folder)), f"checkpoints/{adapter.name}"]
    return Step(name, train.main, job, folder, makes=made, after=[prepared.name])


def evaluate_step(config: ProofJob, name: str) -> Step:
    """Base, both adapters and all texts copied by rule, on both sets."""
    arm = _standard(config)
    job = _evaluation(config, name, arm, [*_OURS, *evaluate.BASELINES])
    folder = _folder(config, name, arm)
    after = [f"{name}/prepare", *(train_step(config, name, arm, rating=rating).name for rating in _ratings(config))]
    return Step(f"{name}/evaluate", evaluate.evaluate, job, folder, makes=_METRICS, after=after)


def arm_step(config: ProofJob, name: str, arm: Arm) -> Step:
    """An arm's adapter alone."""
    folder = _folder(config, name, arm)
    after = [f"{folder.name}/prepare", f"{_adapter_folder(config, name, arm).name}/train"]
    job = _evaluation(config, name, arm, ["adapter"])
    return Step(f"{folder.name}/evaluate", evaluate.evaluate, job, folder, makes=_METRICS, after=after)


def _adapter_folder(config: ProofJob, name: str, arm: Arm) -> Path:
    """The run folder of the adapter that an arm writes with."""
    other = arm.options.adapter_of
    return _folder(config, name, arm if other is None else arm._replace(name=other))


def report_step(config: ProofJob, name: str) -> Step:
    """The page of a data set's run."""
    folder = _folder(config, name, _standard(config))
    job = report.ReportJob(out=folder)
    return Step(f"{name}/report", report.main, job, folder, makes=["report"], after=[f"{name}/evaluate"])


def _evaluation(config: ProofJob, name: str, arm: Arm, models: list[str]) -> evaluate.EvaluateJob:
    return evaluate.EvaluateJob(
        base_model=config.base_model,
        out=_folder(config, name, arm),
        models=models,
        adapter=_adapter_folder(config, name, arm) / "adapter",
        adapter_name=arm.title,
        drafts=arm.options.drafts,
        temperature=arm.options.temperature,
        live_adapters=arm.rate == PAPER_RATE,  # so few steps at it change weights by less than bfloat16 tells apart
        max_new_tokens=config.max_new_tokens,
        engine_kwargs={
            "enforce_eager": True
        },  # compiled, an engine takes a minute longer to start than it saves on so few rows
        track=False,
        **_prompt(config, arm),
    )


def _prompt(config: ProofJob, arm: Arm) -> dict[str, Any]:
    """Prompts in the base's own chat template where it has one: the base is to do its best too. Evidence has room of its own."""
    tokenizer = load_tokenizer(str(local_model_folder(config.base_model)))
    template = bool(getattr(tokenizer, "chat_template", None))
    options = arm.options.model_dump(exclude={"drafts", "temperature", "adapter_of"})
    room = 0 if arm.options.evidence == "none" else PromptConfig.model_fields["max_evidence_tokens"].default
    return {"max_prompt_tokens": config.max_prompt_tokens + room, "chat_template": template, **options}


def _sft(config: ProofJob, arm: Arm, steps: int) -> dict[str, Any]:
    schedule = {} if arm.rate == PAPER_RATE else {"lr_scheduler_type": "linear", "warmup_steps": steps // 10}
    is_dialogue = arm.options.prompt_form == "dialogue"
    samples = config.dialogue_samples_per_step if is_dialogue else config.samples_per_step
    return {
        "learning_rate": arm.rate,
        "max_steps": steps,
        "num_train_epochs": 100,  # max_steps ends it
        "per_device_train_batch_size": samples // _WORKERS,
        "gradient_accumulation_steps": 1,
        "num_workers": _WORKERS,
        "max_response_tokens": config.max_response_tokens,
        "save_steps": 10,
        "seed": config.seed,
        **schedule,
    }


def _measured(config: ProofJob, name: str) -> Measured:
    standard = _folder(config, name, _standard(config))
    return measured(_DATASETS[name].title, standard, [_folder(config, name, arm) for arm in _arms(config, name)])


if __name__ == "__main__":
    run(main, ProofJob)
