"""Table 2 of PALR (arXiv 2305.07622): HR@10 and NDCG@10 by full ranking over all items."""

from __future__ import annotations

from typing import NamedTuple

_LLAMA = "LLaMA 7B, tuned on 20 % of users"


class Published(NamedTuple):
    """One row of the table; `base` is the language model that ranks, '-' where none does."""

    system: str
    hr10: float
    ndcg10: float
    base: str


class Dataset(NamedTuple):
    """A data set of the table, told by its counts after the protocol (table 1 of the paper)."""

    name: str
    users: int
    items: int
    interactions: int
    rows: tuple[Published, ...]


BEAUTY = Dataset(
    "Amazon Beauty 2014",
    22_363,
    12_101,
    198_502,
    (
        Published("BPR-MF", 0.0299, 0.0122, "-"),
        Published("NCF", 0.0293, 0.0130, "-"),
        Published("GRU4Rec", 0.0194, 0.0091, "-"),
        Published("Caser", 0.0282, 0.0136, "-"),
        Published("SASRec", 0.0617, 0.0283, "-"),
        Published("PALR v1", 0.0181, 0.0101, _LLAMA),
        Published("PALR v2", 0.0721, 0.0446, _LLAMA),
    ),
)

MOVIELENS_1M = Dataset(
    "MovieLens-1M",
    6_040,
    3_416,
    999_611,
    (
        Published("BPR-MF", 0.0354, 0.0158, "-"),
        Published("NCF", 0.0313, 0.0143, "-"),
        Published("GRU4Rec", 0.1017, 0.0468, "-"),
        Published("Caser", 0.1338, 0.0614, "-"),
        Published("SASRec", 0.1978, 0.1192, "-"),
        Published("PALR v1", 0.1216, 0.0569, _LLAMA),
        Published("PALR v2", 0.2110, 0.1276, _LLAMA),
    ),
)


def published_for(users: int, items: int, interactions: int) -> Dataset | None:
    """The data set that has exactly these counts; None where the paper did not measure it.

    >>> published_for(22_363, 12_101, 198_502).name
    'Amazon Beauty 2014'
    """
    counts = (users, items, interactions)
    return next((one for one in (BEAUTY, MOVIELENS_1M) if (one.users, one.items, one.interactions) == counts), None)
