"""The paper's figures."""

from __future__ import annotations

from reviewllm.recommend.published import BEAUTY, MOVIELENS_1M, published_for


def test_published_for_needs_the_exact_counts() -> None:
    assert published_for(22_363, 12_101, 198_502) is BEAUTY
    assert published_for(22_363, 12_101, 198_503) is None
    assert all(0 < row.ndcg10 < row.hr10 for row in (*BEAUTY.rows, *MOVIELENS_1M.rows))
