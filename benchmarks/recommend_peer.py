"""A published recommender as RecBole trains it, on our sequences; its lists come out as a table of candidates.

    make .venv-peers/.installed
    .venv-peers/bin/python benchmarks/recommend_peer.py --sequences RUN/sequences --model bpr --out RUN/candidates/test

Reads SEQUENCES, writes the 100 best items of each user as CANDIDATES to `OUT/<model>.parquet` (target `test`: the last
item is held out, what the user has bought before is excluded) and prints one line of JSON: HR and NDCG by RecBole's own
evaluation, over the same lists and over all items as RecBole counts them by default (sequential models may then repeat
what the user has), epochs, seconds. A firm's own retriever hands in its lists the same way.

The protocol is leave-one-out: trained without the last two items of each user, stopped early by NDCG@10 of the validation
item over all items; the best epoch's weights are used, also where `--time-limit-s` ends the training first. On one thread
seconds are the processor's, so that other work on the machine counts little.

RecBole 1.2.1 runs beside torch 2.13, numpy 2 and scipy 1.17 with pandas 2 (requirements/recommend-peers.txt) and what
`mend` sets at run time. Its packages are never changed.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.config import JobConfig
from reviewllm.errors import InputError
from reviewllm.recommend.tables import CANDIDATES, SEQUENCES
from reviewllm.table_files import read_table, write_table

if TYPE_CHECKING:
    import torch

Figures = dict[str, Any]
Model = Literal["bpr", "neumf", "gru4rec", "caser", "bert4rec", "lightgcn", "sasrec"]

# RecBole's own defaults, save where a line says why not.
MODELS: dict[Model, tuple[str, dict[str, Any]]] = {
    "bpr": ("BPR", {}),
    # Layers of 64 and 32 in place of 128 and 64: an evaluation scores 270 million pairs of Beauty in a third of the time.
    "neumf": ("NeuMF", {"mlp_hidden_size": [64, 32], "eval_step": 5, "stopping_step": 3}),
    # Batches of 512 in place of 2,048: four times the steps in an epoch, each of which takes minutes on one core.
    "gru4rec": ("GRU4Rec", {"max_length": 20, "train_batch_size": 512}),
    "caser": ("Caser", {"max_length": 10, "train_batch_size": 512}),  # the length that RecBole's docstring advises
    "bert4rec": ("BERT4Rec", {"max_length": 20, "train_batch_size": 512}),
    # Every step runs over the whole graph: a quarter of the steps.
    "lightgcn": ("LightGCN", {"train_batch_size": 8192, "learning_rate": 0.004}),
    "sasrec": ("SASRec", {}),
}
KEPT = 100
CUTOFFS = [1, 5, 10, 20, 50]


class PeerJob(JobConfig):
    """Train one of RecBole's models and write its candidates."""

    sequences: Path = Field(description="a folder or file of SEQUENCES")
    model: Model = Field(description="the model; also the retriever's name in the candidates")
    out: Path = Field(description="folder for <model>.parquet")
    time_limit_s: float = Field(
        600, gt=0, description="no epoch begins later, validations counted; the best epoch so far is kept"
    )
    epochs: int = Field(300, ge=1, description="at most; training ends earlier when validation stops improving")
    max_length: int = Field(50, ge=1, description="items of a history that SASRec reads; the other models have their own")
    threads: int = Field(1, ge=1, description="CPU threads")
    seed: int = Field(0, ge=0, description="of weights, negatives and batches")
    json_file: Path | None = Field(None, alias="json", description="append the line of JSON to this file as well")


def main(config: PeerJob) -> None:
    """Train, write the candidates, print the figures."""
    import torch

    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    torch.set_num_threads(config.threads)
    table = read_table(config.sequences, SEQUENCES)
    check_lengths(table)
    name, settings = MODELS[config.model]
    settings = {"max_length": config.max_length, "epochs": config.epochs, "seed": config.seed, **settings}
    with recbole_folder() as folder:
        peer = Peer(name, table, folder, settings, now=time.process_time if config.threads == 1 else time.perf_counter)
        figures = peer.fit(time_limit_s=config.time_limit_s)
        found, lists = peer.test()
    write_table(candidates(table, lists, config.model), config.out / f"{config.model}.parquet", CANDIDATES)
    line = json.dumps({"model": config.model, **figures, **found, "settings": settings, "threads": config.threads})
    print(line)
    if config.json_file is not None:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        with open(config.json_file, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def check_lengths(sequences: pa.Table) -> None:
    """Refuse sequences that nothing is left of once two items are held out.

    Raises:
        InputError: a user has fewer than 3 items; RecBole would leave them out without a word.
    """
    for user_id, item_ids in zip(sequences["user_id"].to_pylist(), sequences["item_ids"].to_pylist(), strict=True):
        if len(item_ids) < 3:
            raise InputError(
                f"user {user_id!r} has {len(item_ids)} item(s) in the sequences, and 3 are needed: one to learn from, one "
                "each for validation and test; make them with `jobs/recommend.py prepare`"
            )


class Peer:
    """One of RecBole's models with its data: `fit`, then `test`.

    Users and items are numbered by their place in the sequences, from 0, as RecBole's tokens; its own ids start with 1.
    """

    def __init__(
        self,
        name: str,
        sequences: pa.Table,
        folder: Path,
        settings: dict[str, Any],
        *,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare model `name` of RecBole in an empty folder; seconds are taken from `now`."""
        self.now = now
        mend()
        import torch
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.utils import get_model, init_seed

        users, items = write_interactions(sequences, folder / "shop" / "shop.inter")
        config = Config(model=name, dataset="shop", config_dict=recbole_settings(name, folder, items, settings))
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        self.seen = seen_items(dataset, sequences)
        self.train, self.valid, self.tested = data_preparation(config, dataset)
        model = get_model(name)(config, self.train.dataset)
        torch.autograd.set_detect_anomaly(False)  # one of RecBole's models switches it on for all when it is imported
        self.trainer = make_trainer(config, model, self.seen, now)
        self.user_ids = dataset.token2id("user_id", [str(user) for user in range(users)])
        self.tokens = np.array([-1, *map(int, dataset.field2id_token["item_id"][1:])])

    def fit(self, *, time_limit_s: float) -> Figures:
        """Train until validation stops improving or the time is up; the best weights are in the model afterwards.

        Returns `epochs`, `best_epoch` (from 1), `best_validation_ndcg@10`, `seconds_per_epoch` and
        `seconds_per_validation` (means), `train_s` (training alone) and `stopped_by`.
        """
        trainer = self.trainer
        trainer.deadline = self.now() + time_limit_s
        trainer.held_out = 2
        stopped_by = "validation"
        try:
            trainer.fit(
                self.train, self.valid, verbose=False, saved=True, show_progress=False, callback_fn=trainer.check_time
            )
        except TimeUp:
            stopped_by = "time"
        trainer.model.load_state_dict(trainer.best_state)
        return {
            "epochs": len(trainer.epoch_s),
            "best_epoch": trainer.best_epoch,
            "best_validation_ndcg@10": float(trainer.best_valid_score),
            "seconds_per_epoch": float(np.mean(trainer.epoch_s)),
            "seconds_per_validation": float(np.mean(trainer.validation_s)),
            "train_s": float(np.sum(trainer.epoch_s)),
            "stopped_by": stopped_by,
        }

    def test(self) -> tuple[Figures, tuple[np.ndarray, np.ndarray]]:
        """Evaluate on the last items; returns the figures, and items and scores, both of (users, kept).

        Figures are `hit@k` and `ndcg@k` with what the user has bought excluded, `recbole_hit@10` and `recbole_ndcg@10`
        as RecBole counts by default, and `evaluation_s` of the latter.
        """
        trainer = self.trainer
        trainer.held_out = None
        start = self.now()
        default = trainer.evaluate(self.tested, load_best_model=False)
        seconds = self.now() - start
        trainer.held_out, trainer.lists = 1, {}
        found = trainer.evaluate(self.tested, load_best_model=False)
        items, scores = zip(*(trainer.lists[user] for user in self.user_ids), strict=True)
        figures = {**found, **{f"recbole_{name}": default[name] for name in ("hit@10", "ndcg@10")}, "evaluation_s": seconds}
        return figures, (self.tokens[np.array(items)], np.array(scores))


class TimeUp(Exception):  # noqa: N818
    """The time of a training is up; an exception because RecBole's loop has no other way out."""


def make_trainer(config: Any, model: torch.nn.Module, seen: list[np.ndarray], now: Callable[[], float]) -> Any:
    """RecBole's trainer that keeps the best weights in memory, times itself and excludes what a user has."""
    import torch
    from recbole.trainer import Trainer

    class TimedTrainer(Trainer):  # type: ignore[misc]
        deadline = float("inf")
        held_out: int | None = None  # how many of each user's last items are not history; None: exclude nothing
        lists: dict[int, tuple[np.ndarray, np.ndarray]] | None = None  # of a user's number in RecBole: items and scores

        def _train_epoch(self, *arguments: Any, **options: Any) -> Any:
            start = now()
            loss = super()._train_epoch(*arguments, **options)
            self.epoch_s.append(now() - start)
            return loss

        def _valid_epoch(self, *arguments: Any, **options: Any) -> Any:
            start = now()
            found = super()._valid_epoch(*arguments, **options)
            self.validation_s.append(now() - start)
            return found

        def _save_checkpoint(self, epoch: int, *_: Any, **__: Any) -> None:
            self.best_epoch, self.best_state = epoch + 1, copy.deepcopy(self.model.state_dict())

        def check_time(self, epoch: int, score: float) -> None:
            print(f"epoch {epoch + 1}: {self.epoch_s[-1]:.1f} s, validation {score:.5f}", file=sys.stderr)
            if now() > self.deadline:
                raise TimeUp

        def _full_sort_batch_eval(self, batch: Any) -> Any:
            interaction, scores, positive_u, positive_i = super()._full_sort_batch_eval(batch)
            users = interaction["user_id"].tolist()
            if self.held_out is not None:
                scores[exclusions([seen[user][: -self.held_out] for user in users])] = -np.inf
            if self.lists is not None:
                best, items = torch.topk(scores, min(KEPT, scores.shape[1]), dim=1)
                self.lists.update(zip(users, zip(items.numpy(), best.numpy(), strict=True), strict=True))
            return interaction, scores, positive_u, positive_i

    trainer = TimedTrainer(config, model)
    trainer.epoch_s, trainer.validation_s = [], []
    return trainer


def exclusions(items: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of the items of each row."""
    import torch

    rows = np.repeat(np.arange(len(items)), [len(row) for row in items])
    return torch.from_numpy(rows), torch.from_numpy(np.concatenate(items))


def seen_items(dataset: Any, sequences: pa.Table) -> list[np.ndarray]:
    """Each user's items in order, as RecBole numbers users and items; place 0 is its padding."""
    codes = item_codes(sequences)
    items = dataset.token2id("item_id", [str(code) for code in range(int(codes.max()) + 1)])[codes]
    ends = np.cumsum(np.diff(sequences["item_ids"].combine_chunks().offsets.to_numpy()))
    parts = np.split(items, ends[:-1])
    seen = [np.empty(0, dtype=np.int64)] * (len(parts) + 1)
    for user, own in zip(dataset.token2id("user_id", [str(user) for user in range(len(parts))]), parts, strict=True):
        seen[user] = own
    return seen


def item_codes(sequences: pa.Table) -> np.ndarray:
    """The items of all sequences, one after the other, each as its place among the ids in order."""
    flat = sequences["item_ids"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    codes: np.ndarray = np.unique(flat, return_inverse=True)[1]
    return codes


def write_interactions(sequences: pa.Table, file: Path) -> tuple[int, int]:
    """Write the sequences as RecBole reads them; returns the numbers of users and items.

    Ids of the shop are replaced by numbers, for they may hold tabs or spaces; the place in the sequence stands for the time.
    """
    codes = item_codes(sequences)
    lengths = np.diff(sequences["item_ids"].combine_chunks().offsets.to_numpy())
    users = np.repeat(np.arange(len(lengths)), lengths)
    places = np.concatenate([np.arange(length) for length in lengths])
    file.parent.mkdir(parents=True)
    with open(file, "w", encoding="utf-8") as lines:
        lines.write("user_id:token\titem_id:token\ttimestamp:float\n")
        lines.writelines(f"{user}\t{item}\t{place}\n" for user, item, place in zip(users, codes, places, strict=True))
    return len(lengths), int(codes.max()) + 1


def recbole_settings(name: str, folder: Path, items: int, settings: dict[str, Any]) -> dict[str, Any]:
    """RecBole's configuration: leave-one-out in the order of the sequences, ranking over all items, on the CPU."""
    general = name in ("BPR", "NeuMF", "LightGCN")
    batch = 16 if name == "NeuMF" else 512  # users of an evaluation's batch; general models count them in scores
    fixed = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
        "metrics": ["Hit", "NDCG"],
        "topk": CUTOFFS,
        "valid_metric": "NDCG@10",
        "metric_decimal_place": 8,
        "eval_batch_size": batch * (items + 1) if general else batch,
        "use_gpu": False,
        "state": "ERROR",
        "show_progress": False,
    }
    if not general and settings.get("loss_type", "CE") == "CE":
        fixed["train_neg_sample_args"] = None  # RecBole refuses negatives beside a softmax over all items
    options = {name: value for name, value in settings.items() if name != "max_length"}
    return {**fixed, "MAX_ITEM_LIST_LENGTH": settings["max_length"], **options}


def candidates(sequences: pa.Table, lists: tuple[np.ndarray, np.ndarray], retriever: str) -> pa.Table:
    """The lists as CANDIDATES, in the order of the sequences; places that no item is left for are absent."""
    flat = sequences["item_ids"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    names = np.unique(flat)
    items, scores = lists
    rows, places = np.nonzero(np.isfinite(scores))
    return pa.table(
        {
            "user_id": sequences["user_id"].combine_chunks().take(pa.array(rows)),
            "item_id": pa.array(names[items[rows, places]], pa.string()),
            "rank": pa.array(places + 1, pa.int32()),
            "score": pa.array(scores[rows, places].astype(np.float64)),
            "retriever": pa.array([retriever] * len(rows)),
        },
        schema=CANDIDATES.schema,
    )


@contextmanager
def recbole_folder() -> Iterator[Path]:
    """A folder of its own to work in: RecBole writes logs into the one it is started in."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="recbole-") as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def mend() -> None:
    """Set what RecBole 1.2.1 needs of packages that are newer than it, and silence what they say about it."""
    import scipy.sparse
    import torch
    from recbole.config import Config
    from recbole.model.general_recommender import NeuMF

    warnings.filterwarnings("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    np.float = np.float64  # RecBole's own mending asks for names that numpy 2 has no more
    Config.compatibility_settings = lambda self: None
    # LightGCN fills a matrix through a method that scipy 1.13 removed.
    scipy.sparse.dok_matrix._update = lambda matrix, cells: matrix._dict.update(cells)

    def full_sort_predict(model: Any, interaction: Any) -> torch.Tensor:
        """All pairs of the users and all items; RecBole's own way repeats both embeddings for every pair."""
        user = interaction["user_id"]
        linear = [layer for layer in model.mlp_layers.mlp_layers if isinstance(layer, torch.nn.Linear)]
        of_user, of_item = linear[0].weight.split(model.mlp_embedding_size, dim=1)
        hidden = (model.user_mlp_embedding(user) @ of_user.T)[:, None] + model.item_mlp_embedding.weight @ of_item.T
        hidden = torch.relu_(hidden + linear[0].bias)
        for layer in linear[1:]:
            hidden = torch.relu_(layer(hidden))
        factors, last = model.predict_layer.weight[0].split([model.mf_embedding_size, hidden.shape[-1]])
        product = (model.user_mf_embedding(user) * factors) @ model.item_mf_embedding.weight.T
        return product + hidden @ last + model.predict_layer.bias

    NeuMF.full_sort_predict = full_sort_predict


if __name__ == "__main__":
    run(main, PeerJob)
