"""Figures that need a model beside those that are evaluated: what is asked for, and the models while they are at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from pydantic import Field

from reviewllm.config import ModelWhere, StageConfig
from reviewllm.evaluation.likelihood import check_reference, reference_model
from reviewllm.evaluation.nli import check_nli_model, read_nli_model
from reviewllm.generation.config import GenerationConfig
from reviewllm.scoring.scorer import Product

Pairs = Sequence[tuple[str, Product]]
Figures = list[float | None]


class MeasureConfig(StageConfig):
    """Models that measure; each figure stays empty where its model is not named."""

    reference_model: ModelWhere | None = Field(
        None, description="folder or hub name of a model that says how likely every text is: the figure log_likelihood"
    )
    nli_model: ModelWhere | None = Field(
        None,
        description="folder or hub name of an NLI cross-encoder that finds contradictions: the figure hallucination_nli",
    )
    judge: str | None = Field(
        None, description="name of one of --endpoints that judges a sample of the texts: the figure hallucination_judge"
    )
    judge_rows: int = Field(200, ge=1, description="texts that the judge is asked about, of all models together")


class Measures(NamedTuple):
    """What is at hand; None where it was not asked for. Each takes texts (or texts with their products) in any order."""

    log_likelihood: Callable[[Sequence[str]], Figures] | None = None
    nli: Callable[[Pairs], Figures] | None = None
    judge: Callable[[Pairs], Figures] | None = None
    judge_rows: int = 0


def check_measures(config: MeasureConfig, generation: GenerationConfig) -> None:
    """Find out whether the models that are asked for can be used, before the texts are written that they will measure.

    Raises:
        ConfigError: a model cannot be read or computed with, or has no label for a contradiction.
    """
    if config.nli_model:
        check_nli_model(config.nli_model)
    if config.reference_model:
        check_reference(config.reference_model, generation)


@contextmanager
def open_measures(
    config: MeasureConfig,
    generation: GenerationConfig,
    *,
    cluster: Callable[[], AbstractContextManager[None]],
    judge: Callable[[Pairs], Figures] | None = None,
) -> Iterator[Measures]:
    """Hold the models that are asked for.

    Args:
        generation: resources and `engine_kwargs` of the reference model's engine.
        cluster: connects to Ray; only entered for a reference model.
        judge: of `endpoint_judge`, where there is one.

    Raises:
        ConfigError: a model cannot be read, or has no label for a contradiction.
        EngineError: the reference model cannot start.
    """
    nli = read_nli_model(config.nli_model) if config.nli_model else None
    found = Measures(nli=nli, judge=judge, judge_rows=config.judge_rows)
    if config.reference_model is None:
        yield found
        return
    with cluster(), reference_model(config.reference_model, generation) as log_likelihood:
        yield found._replace(log_likelihood=log_likelihood)
