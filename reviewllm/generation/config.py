"""Engine, sampling and resources of a generation run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from reviewllm.config import StageConfig

RuleFault = Literal["error", "flaky", "refuse", "death", "hang", "stall", "garbage", "empty", "loop", "slow", "invent"]


class GenerationConfig(StageConfig):
    """How texts are generated; `engine_kwargs` are vLLM's own."""

    engine: Literal["vllm", "rule"] = Field("vllm", description="vLLM, or a rule for dry runs without any model")
    max_new_tokens: int = Field(256, ge=1, description="tokens of a review at most")
    temperature: float = Field(0.0, ge=0, le=2, description="0 writes greedily")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus of the sampling")
    sampling_seed: int = Field(0, ge=0, description="each row samples from this and its own id")
    drafts: int = Field(
        1, ge=1, description="texts that a row is asked for, among which checks and their nearness to each other choose one"
    )
    if_no_draft_passes: Literal["least-bad", "dead-letter"] = Field(
        "least-bad", description="of a row none of whose drafts passes every check: take the one that fails fewest, or none"
    )
    engine_kwargs: dict[str, Any] = Field({}, description="passed on to vLLM's engine, as JSON")
    num_engines: int = Field(1, ge=1, description="engines: one for each GPU on a cluster")
    cpus_per_engine: float = Field(1, gt=0, description="CPUs that an engine's actor reserves")
    gpus_per_engine: float = Field(0, ge=0, description="GPUs that an engine's actor reserves")
    shards_in_flight: int = Field(2, ge=1, description="shards that an engine works on at once")
    num_renderers: int = Field(1, ge=1, description="actors that read shards and make prompts")
    cpus_per_renderer: float = Field(0.25, gt=0, description="CPUs that each of them reserves")
    num_scorers: int = Field(1, ge=1, description="actors that score and write shards")
    cpus_per_scorer: float = Field(0.25, gt=0, description="CPUs that each of them reserves")
    row_attempts: int = Field(3, ge=1, description="how often the engine is asked for a row on which it fails")
    watchdog_seconds: float = Field(300, gt=0, description="an engine that gives no token for so long is ended and replaced")
    max_engine_deaths: int = Field(
        20, ge=0, description="deaths of engines without a finished shard between them after which the job stops"
    )
    rule_delay_s: float = Field(0.0, ge=0, description="rule engine: seconds that a row takes")
    rule_concurrency: int = Field(256, ge=1, description="rule engine: rows that it has under way at once")
    rule_faults: dict[str, RuleFault] = Field(
        {}, description="rule engine: example id (or *) to what goes wrong on it, as JSON"
    )

    @model_validator(mode="after")
    def _check_drafts(self) -> GenerationConfig:
        if self.drafts > 1 and not self.temperature:
            raise ValueError(
                f"--drafts {self.drafts}: written greedily (--temperature 0) all drafts are the same text; set a --temperature "
                "above 0, as 0.8, or leave --drafts out"
            )
        if self.drafts == 1 and self.if_no_draft_passes != "least-bad":
            raise ValueError(
                f"--if-no-draft-passes {self.if_no_draft_passes}: a row's only text is not checked; set --drafts above 1"
            )
        return self

    def sampling(self) -> dict[str, Any]:
        """What of this decides the text, for the fingerprint: drafts only where there are some, so that others keep theirs."""
        deciding = ["engine", "max_new_tokens", "temperature", "top_p", "sampling_seed", "engine_kwargs"]
        deciding += ["drafts", "if_no_draft_passes"] if self.drafts > 1 else []
        return {name: getattr(self, name) for name in deciding}
