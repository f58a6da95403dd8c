import json
from pathlib import Path

import polars as pl
import pytest

from jobs import recommend_demo
from reviewllm.recommend.tables import CANDIDATES, RECOMMENDATIONS
from reviewllm.table_files import read_table


@pytest.mark.slow
@pytest.mark.ray
def test_recommend_demo_runs_every_step_through_vllm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = recommend_demo.RecommendDemoJob(
        out=tmp_path, shop_users=200, epochs=2, base_steps=30, max_steps=4, num_candidates=12, sample_users=15
    )
    recommend_demo.main(config)
    candidates = pl.DataFrame(read_table(tmp_path / "candidates" / "test" / "sasrec.parquet", CANDIDATES))
    shown = candidates.filter(pl.col("rank") <= 12).select("user_id", "item_id")
    for name in ("base", "palr-v2", "palr-v2-likelihood"):
        rows = pl.DataFrame(read_table(tmp_path / "recommendations" / "test" / name, RECOMMENDATIONS))
        assert rows["user_id"].n_unique() == 15
        # Under constrained decoding nothing is invented, and what the model leaves out follows.
        assert rows.join(shown, on=["user_id", "item_id"], how="anti").is_empty()
        assert rows.group_by("user_id").agg(pl.col("rank").sort())["rank"].to_list() == [list(range(1, 13))] * 15
        assert set(rows["source"]) == ({"model"} if name == "palr-v2-likelihood" else {"model", "retriever"})
        counts = json.loads((tmp_path / "recommendations" / "test" / name / "_manifest.json").read_text())["counts"]
        assert counts.get("outside the candidates", 0) == counts.get("unreadable", 0) == 0
    metrics = json.loads((tmp_path / "recommend-metrics" / "metrics.json").read_text())
    assert list(metrics["systems"]) == ["planned", "sasrec", "base", "palr-v1", "palr-v2-likelihood", "palr-v2"]
    assert metrics["users"] == 15
    assert "palr-v2 against palr-v1, HR@10" in capsys.readouterr().out
