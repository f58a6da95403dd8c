"""The models of an evaluation: base, adapters, endpoints and baselines, each with the prompts that it is asked with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from reviewllm.attributes.serialise import Serialisation
from reviewllm.base_model import local_model_folder
from reviewllm.errors import ConfigError
from reviewllm.evaluation.baselines import BASELINES, REAL, Baseline
from reviewllm.evaluation.names import Pair
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.model import Variant, endpoint_variant, make_variant
from reviewllm.prompts.config import PromptConfig
from reviewllm.scoring.config import AS_THE_PAPER, ScoringConfig
from reviewllm.scoring.scorer import scorer_versions

Kind = Literal["base", "adapter", "endpoint", "baseline"]
_BASELINE_VERSION = "2"  # raise it with any change of what a baseline writes


class Contender(NamedTuple):
    """One model with one kind of prompt in one repetition; `baseline` is None but for baselines."""

    kind: Kind
    name: str
    variant: Variant
    baseline: Baseline | None = None

    @property
    def pair(self) -> Pair:
        """How its generations name it."""
        return self.variant.model, str(self.variant.adapter) if self.variant.adapter else None


class Lineup(NamedTuple):
    """What is asked for: `models` are base, adapter, names of baselines and names of endpoints.

    With `serialisations` the adapters are `<adapter>-<serialisation>`.
    """

    models: Sequence[str]
    base_model: str
    adapter: Path
    adapter_no_rating: Path
    adapter_name: str
    endpoints: Mapping[str, EndpointConfig]
    prompt: PromptConfig
    generation: GenerationConfig
    repeats: int
    live_adapters: bool = True  # whether the engine serves adapters beside the base, and not each merged into it
    scoring: ScoringConfig = AS_THE_PAPER
    serialisations: Sequence[Serialisation] = ()  # each model is asked once in each of them; none: in that of `prompt`
    suffix: str = ""  # of the names of base, adapter and endpoints


def find_contenders(asked: Lineup) -> list[Contender]:
    """Every model of the line-up, in its order, with and without ratings; the real reviews come last.

    A repetition is worth its time where something differs: adapters that were trained from other seeds
    (`<adapter>-seed<n>`), or the sampling, where it has a temperature. A model that would write the same again is in the
    first repetition alone.

    Raises:
        ConfigError: a model is not known, a name stands for two models, the base cannot be read.
        AdapterError: an adapter is not there, is incomplete or was trained for something else.
    """
    _check_names(asked)
    found: list[Contender] = []
    for model in asked.models:
        if model in BASELINES:
            found += [_by_rule(baseline, asked) for baseline in BASELINES[model]]
            continue
        for form in _forms(asked):
            if model == "base":
                found += _bases(form)
            elif model == "adapter":
                found += _adapted(form)
            else:
                found += _hosted(model, form)
    return [*found, _by_rule(REAL, asked)]


def names_of(contenders: Sequence[Contender]) -> dict[Pair, str]:
    """What each (model, adapter) is called."""
    return {contender.pair: contender.name for contender in contenders}


def adapters_by_repeat(adapter: Path, repeats: int) -> list[Path]:
    """The adapters of the repetitions: `<adapter>-seed<n>` in the order of n where there are any, else the one.

    Raises:
        ConfigError: there are fewer of them than repetitions.
    """
    seeds = {
        int(found[1]): path
        for path in adapter.parent.glob("*-seed*")
        if (found := re.fullmatch(rf"{re.escape(adapter.name)}-seed(\d+)", path.name))
    }
    if not seeds or (repeats == 1 and adapter.is_dir()):
        return [adapter]
    if len(seeds) < repeats:
        raise ConfigError(
            f"--repeats {repeats}: {adapter.parent} has {len(seeds)} adapter(s) {adapter.name}-seed<n>; train the others "
            f"(jobs/train.py --repeats {repeats}) or lower --repeats"
        )
    return [seeds[seed] for seed in sorted(seeds)][:repeats]


def _check_names(asked: Lineup) -> None:
    known = ["base", "adapter", *BASELINES, *asked.endpoints]
    for model in asked.models:
        if model not in known:
            raise ConfigError(f"--models {model}: is no model of this evaluation; known are {', '.join(known)}")
    twice = sorted({model for model in asked.models if list(asked.models).count(model) > 1})
    if twice:
        raise ConfigError(f"--models: {', '.join(twice)} is named more than once")
    taken = [Path(asked.base_model).name, asked.adapter_name, REAL.name]
    taken += [baseline.name for kind in BASELINES.values() for baseline in kind]
    for name in asked.endpoints:
        if name in ("base", "adapter", *BASELINES, *taken):
            raise ConfigError(f"--endpoints {name}: is the name of another model; choose another")
        if not re.fullmatch(r"[A-Za-z0-9][\w .+-]*", name):
            raise ConfigError(
                f"--endpoints {name}: names a file too; begin with a letter or digit, and use these and . + - _ only"
            )
    if Path(asked.base_model).name == asked.adapter_name:
        raise ConfigError(f"--adapter-name {asked.adapter_name} is the name of the base too; choose another")


def _forms(asked: Lineup) -> list[Lineup]:
    """The line-up in each serialisation that is asked for, its models named by it; as it stands where none is."""
    return [
        asked._replace(
            prompt=asked.prompt.model_copy(update={"serialisation": form}),
            adapter=asked.adapter.with_name(f"{asked.adapter.name}-{form}"),
            adapter_no_rating=asked.adapter_no_rating.with_name(f"{asked.adapter_no_rating.name}-{form}"),
            suffix=f", {form}",
        )
        for form in asked.serialisations
    ] or [asked]


def _prompts(asked: Lineup) -> tuple[PromptConfig, PromptConfig]:
    return asked.prompt.model_copy(update={"rating": True}), asked.prompt.model_copy(update={"rating": False})


def _samplings(asked: Lineup) -> range:
    return range(asked.repeats if asked.generation.temperature > 0 else 1)


def _bases(asked: Lineup) -> list[Contender]:
    return [
        Contender("base", Path(asked.base_model).name + asked.suffix, _variant(asked, None, prompt, repeat))
        for repeat in _samplings(asked)
        for prompt in _prompts(asked)
    ]


def _adapted(asked: Lineup) -> list[Contender]:
    """The adapter that was trained with ratings, and the one that was trained without, where it is there."""
    found = []
    for folder, prompt in zip((asked.adapter, asked.adapter_no_rating), _prompts(asked), strict=True):
        adapters = adapters_by_repeat(folder, asked.repeats)
        if not prompt.rating and not adapters[0].is_dir():
            continue
        if len(adapters) == 1:
            adapters *= len(_samplings(asked))
        found += [
            Contender("adapter", asked.adapter_name + asked.suffix, _variant(asked, adapter, prompt, repeat))
            for repeat, adapter in enumerate(adapters)
        ]
    return found


def _variant(asked: Lineup, adapter: Path | None, prompt: PromptConfig, repeat: int) -> Variant:
    variant = make_variant(
        base_model=asked.base_model,
        adapter=adapter,
        prompt=prompt,
        generation=asked.generation,
        live_adapter=asked.live_adapters,
        repeat=repeat,
        scoring=asked.scoring,
    )
    return variant.model_copy(update={"model": variant.model + asked.suffix})  # what tells the generations of a base apart


def _hosted(name: str, asked: Lineup) -> list[Contender]:
    variants = [
        endpoint_variant(
            asked.endpoints[name],
            base_model=asked.base_model,
            prompt=prompt,
            generation=asked.generation,
            repeat=repeat,
            scoring=asked.scoring,
        )
        for repeat in _samplings(asked)
        for prompt in _prompts(asked)
    ]
    name += asked.suffix
    return [Contender("endpoint", name, variant.model_copy(update={"model": name})) for variant in variants]


def _by_rule(baseline: Baseline, asked: Lineup) -> Contender:
    prompt = asked.prompt.model_copy(update={"rating": baseline.with_rating})
    decides = [baseline.name, baseline.with_rating, _BASELINE_VERSION, scorer_versions(asked.scoring)]
    digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
    base = local_model_folder(asked.base_model)
    variant = Variant(model=baseline.name, base=base, adapter=None, prompt=prompt, fingerprint=digest, scoring=asked.scoring)
    return Contender("baseline", baseline.name, variant, baseline)
