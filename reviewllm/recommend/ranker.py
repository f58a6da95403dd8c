"""Who ranks, and how."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from reviewllm.config import StageConfig
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import Variant
from reviewllm.generation.tasks import Answers
from reviewllm.recommend.answering import Answerer
from reviewllm.recommend.names import NameConfig, Names
from reviewllm.recommend.profiles import Profiles
from reviewllm.recommend.tuning import Palr

Method = Literal["generate", "likelihood"]


class RankConfig(StageConfig):
    """How candidates are ranked."""

    method: Method = Field(
        "generate", description="write the names of the best, or compare how likely each candidate is as the first answer"
    )
    palr: Palr = Field("v2", description="v1 shows no candidates, and takes any item of the catalogue that the model names")
    constrained: bool = Field(
        True, description="let the engine write nothing but candidates; --no-constrained counts what a model invents"
    )
    count: int = Field(10, ge=1, le=100, description="items that the model is asked for")
    num_candidates: int = Field(50, ge=1, le=1000, description="candidates of a user, the retriever's first")
    fall_back: bool | None = Field(
        None, description="put the retriever's order behind what the model names; default: with v2, not with v1"
    )
    ranking_seed: int = Field(
        0, ge=0, description="of the order in which a prompt shows the candidates, and of --sample-users"
    )

    @model_validator(mode="after")
    def _check(self) -> RankConfig:
        if self.method == "likelihood" and self.palr == "v1":
            raise ValueError("--method likelihood compares candidates, and --palr v1 shows none; use --palr v2")
        return self

    @property
    def falls_back(self) -> bool:
        """Whether the retriever's order stands behind what the model names."""
        return self.palr == "v2" if self.fall_back is None else self.fall_back

    @property
    def answers(self) -> Answers:
        """What the engine is to do for a row."""
        if self.method == "likelihood":
            return "likelihood"
        return "constrained" if self.constrained and self.palr == "v2" else "text"


class Ranker(NamedTuple):
    """Who ranks, and how."""

    config: RankConfig
    variant: Variant
    generation: GenerationConfig
    naming: NameConfig
    names: Names
    profiles: Profiles
    merged: Path

    @property
    def answerer(self) -> Answerer:
        """Who answers what is asked."""
        return Answerer(self.variant, self.generation, self.config.answers, self.merged)

    @property
    def fingerprint(self) -> str:
        """sha256 of all that decides the ranking beside the tables."""
        options = [self.config.model_dump(mode="json"), self.naming.model_dump(mode="json"), self.profiles.shown]
        decides = [self.variant.fingerprint, *options]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
