"""Recommendation on embedded defaults, for real: a planned shop, its retriever, and a tiny language model that ranks.

    python jobs/recommend_demo.py
    python jobs/recommend_demo.py --shop-users 500 --epochs 2 --max-steps 5 --base-steps 20 --sample-users 20    # a trial

sequences -> SASRec's candidates -> fine-tuning examples -> adapters (PALR v1 and v2) -> rankings by the bare base and both
adapters, on a local Ray and through vLLM -> one table, beside the retriever that knows the plan of the shop, which nothing beats.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/recommend_demo.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs import recommend, train
from jobs.entry import run_job
from jobs.recommend_learn import ExamplesJob, examples
from jobs.recommend_rank import RankJob, rank_candidates
from reviewllm.cluster import ClusterConfig, log_folder, ray_session
from reviewllm.config import Command, Commands, JobConfig, part
from reviewllm.progress import step
from reviewllm.prompts.tasks import recommend as prompts
from reviewllm.recommend.histories import catalogue
from reviewllm.recommend.prepare import read_all_sequences
from reviewllm.recommend.ranker import Method
from reviewllm.recommend.retrieve import retrieve
from reviewllm.recommend.shop import Planned, PlannedShopConfig, catalogue_pages, write_planned_shop
from reviewllm.recommend.tuning import Palr
from reviewllm.summary import record_step
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

_PAGES = 3000
_STRUCTURE = [  # of the prompts that the tokenizer is to know
    f'{prompts.PURCHASES_MARKER} "x", "x".{prompts.CANDIDATES_MARKER} "x".\nRecommend 10 of the candidates.',
    f'{prompts.PURCHASES_MARKER} "x".\nRecommend 10 other items.',
]


class RecommendDemoJob(JobConfig, ClusterConfig, PlannedShopConfig):
    """Run every step of recommendation in order, on a planned shop."""

    out: Path = Field(Path("out/recommend-demo"), description="folder that receives all output")
    epochs: int = Field(80, ge=1, description="of SASRec, at most")
    base_steps: int = Field(500, ge=1, description="optimizer steps of the tiny base's own training")
    max_steps: int = Field(1200, ge=1, description="optimizer steps of each adapter")
    users_fraction: float = Field(0.2, gt=0, le=1, description="share of the users that the adapters learn from")
    num_candidates: int = Field(30, ge=2, description="candidates that are ranked")
    sample_users: int = Field(400, ge=1, description="users for whom candidates are ranked")
    seed: int = Field(0, ge=0, description="of every random choice but the shop's")


def main(config: RecommendDemoJob) -> None:
    """Shop, retriever, base, adapters, rankings, table."""
    out = config.out
    _retrieve(config)
    base = _tiny_base(config)
    with ray_session(part(config, ClusterConfig)):
        print(f"Ray: engines and workers write their logs under {log_folder()}")
        versions: tuple[Palr, ...] = ("v1", "v2")
        for palr in versions:
            _fine_tune(config, base, palr)
        _rank(config, base, "base", palr="v2", adapter=None)
        for palr in versions:
            _rank(config, base, f"palr-{palr}", palr=palr, adapter=out / f"adapter-{palr}")
        _rank(config, base, "palr-v2-likelihood", palr="v2", adapter=out / "adapter-v2", method="likelihood")
    retrieved, ranked = out / "candidates" / "test", out / "recommendations" / "test"
    systems = [retrieved / "planned.parquet", retrieved / "sasrec.parquet"]
    systems += [ranked / name for name in ("base", "palr-v1", "palr-v2-likelihood", "palr-v2")]
    recommend.evaluate(
        recommend.EvaluateJob(
            out=out,
            systems=[f"{path.stem}={path}" for path in systems],
            users=ranked / "palr-v2",
            candidate="palr-v2",
            run_name="recommend-demo",
        )
    )


def _retrieve(config: RecommendDemoJob) -> None:
    """The shop's sequences, SASRec's candidates, and those of the retriever that knows the plan."""
    out, shop = config.out, part(config, PlannedShopConfig)
    sequences, names = write_planned_shop(out / "shop", shop)
    recommend.prepare(recommend.PrepareJob(sequences=sequences, item_names=names, core=1, out=out))
    recommend.train(
        recommend.TrainSasrecJob(
            out=out,
            epochs=config.epochs,
            loss="softmax",  # few items: over all of them it is as fast
            batch_places=2048,
            learning_rate=2e-3,
            dropout=0.3,
            evaluate_every=3,
            patience=5,
            seed=config.seed,
        )
    )
    recommend.retrieve_candidates(recommend.RetrieveJob(out=out))
    read = read_all_sequences(out)
    file = out / "candidates" / "test" / "planned.parquet"
    retrieve(Planned(shop, catalogue(read)), read, file, target="test", k=100)


def _tiny_base(config: RecommendDemoJob) -> Path:
    """A base that can read the catalogue and knows nothing of purchases."""
    with step("tiny base") as running:
        folder = config.out / "tiny-base"
        make_tiny_base(
            catalogue_pages(_PAGES, config.seed),
            folder,
            TinyBaseConfig(
                base_vocabulary=640,
                base_layers=3,
                base_steps=config.base_steps,
                base_learning_rate=3e-3,  # at 6e-3 it never learns that names which stand together are alike
                seed=config.seed,
            ),
            task="recommend",
            structure=_STRUCTURE,
            on_step=lambda done, total, loss: running.show(done, total, f"loss {loss:.3f}"),
        )
        record_step(config.out, "base", config, rows_in=_PAGES, rows_out=_PAGES, seconds=running.seconds, counts={})
        running.result = f"{_PAGES} pages of the catalogue -> {folder}"
    return folder


def _fine_tune(config: RecommendDemoJob, base: Path, palr: Palr) -> None:
    """Examples of a fifth of the users, and an adapter that learns them."""
    examples(
        ExamplesJob(
            out=config.out,
            palr=palr,
            users_fraction=config.users_fraction,
            cuts=8,
            enrich_to=0,  # of a plan that is followed closely the 3-hop affinity would hide the order
            swap_rate=0.0,
            num_candidates=config.num_candidates,
            tuning_seed=config.seed,
        )
    )
    train.main(
        train.TrainJob(
            base_model=str(base),
            out=config.out,
            adapter=config.out / f"adapter-{palr}",
            lora_r=32,
            lora_alpha=64,
            learning_rate=4e-3,  # of a tiny base; the default is for 8B parameters
            lr_scheduler_type="cosine",
            warmup_steps=40,
            max_steps=config.max_steps,
            num_train_epochs=100,  # max_steps ends it
            per_device_train_batch_size=4,
            gradient_accumulation_steps=1,
            seed=config.seed,
            on_existing_run="restart",
            **_prompts(),
        )
    )


def _rank(
    config: RecommendDemoJob, base: Path, name: str, *, palr: Palr, adapter: Path | None, method: Method = "generate"
) -> None:
    """One ranking of the sample's candidates, as `name`."""
    rank_candidates(
        RankJob(
            out=config.out,
            base_model=str(base),
            adapter=adapter,
            palr=palr,
            method=method,
            num_candidates=config.num_candidates,
            sample_users=config.sample_users,
            run_name=name,
            temperature=0.0,
            max_new_tokens=128,
            **_prompts(),
        )
    )


def _prompts() -> dict[str, Any]:
    """What training and ranking are told of prompts."""
    return {"task": "recommend", "max_prompt_tokens": 512}


COMMANDS: Commands = {"": Command(main, RecommendDemoJob)}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
