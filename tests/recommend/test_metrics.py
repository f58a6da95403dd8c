"""HR and NDCG against scikit-learn's, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, top_k_accuracy_score

from reviewllm.recommend.metrics import CUTOFFS, MEASURES, by_user, hit_ratio, ndcg


@pytest.mark.parametrize("k", CUTOFFS)
def test_hit_ratio_and_ndcg_equal_those_of_scikit_learn(k: int) -> None:
    draw = np.random.default_rng(k)
    scores, targets = draw.normal(size=(200, 80)), draw.integers(80, size=200)
    ranks = 1 + (scores > np.take_along_axis(scores, targets[:, None], axis=1)).sum(axis=1)
    wanted = np.eye(80)[targets]
    assert hit_ratio(ranks, k).mean() == pytest.approx(top_k_accuracy_score(targets, scores, k=k, labels=range(80)))
    assert ndcg(ranks, k).mean() == pytest.approx(ndcg_score(wanted, scores, k=k))


def test_by_user_by_hand() -> None:
    found = by_user(np.array([1, 6, 0, 51]))
    assert found.columns == list(MEASURES)
    assert found["HR@5"].to_list() == [1.0, 0.0, 0.0, 0.0]
    assert found["HR@10"].to_list() == [1.0, 1.0, 0.0, 0.0]
    assert found["NDCG@10"].to_list() == [1.0, 1 / math.log2(7), 0.0, 0.0]
    assert found["HR@50"].sum() == 2.0
