"""SASRec of this project, of RecTools and of RecBole behind one small interface: train for some seconds, then rank all items.

Run by benchmarks/recommend.py, one process for each measurement: `recommend_contenders.py TASK.json` writes
`TASK.figures`. A training is timed from its first batch to the end of its last step, with the loading of batches and the
optimizer, the libraries' without validation. On one thread seconds are the processor's, so that other work on the machine counts
little. All three see the same targets once in an epoch: every place of a user's training sequence but the first.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reviewllm.config import StageConfig
from reviewllm.recommend.metrics import hit_ratio
from reviewllm.recommend.ranks import rank_all, target_ranks
from reviewllm.recommend.split import LEFT_OUT, held_out
from reviewllm.recommend.tables import SEQUENCES
from reviewllm.table_files import read_table

if TYPE_CHECKING:
    from reviewllm.recommend.sasrec_retriever import SasrecRetriever
    from reviewllm.recommend.train_sasrec import Epoch

Figures = dict[str, Any]

OURS, RECTOOLS, RECBOLE = "ours", "rectools", "recbole"
WARM_UP_S = 2.0
SPEED_EPOCHS = 2  # of ours, timed; the libraries are timed by seconds, for theirs take minutes


class Task(StageConfig):
    """What one process measures: speed alone, or with `budget` the course of HR@10 over a training of `seconds`."""

    contender: str
    sequences: Path
    budget: bool
    seconds: float
    hidden: int
    layers: int
    heads: int
    max_length: int
    batch_targets: int
    dropout: float
    learning_rate: float
    threads: int
    seed: int


class Contender(ABC):
    """A SASRec that is trained by a softmax over all items on all but the last two items of each user.

    HR@10 is over all items but those that the user has bought before.
    """

    def __init__(self, task: Task, sequences: pa.Table) -> None:
        self.task, self.sequences = task, sequences
        self.now = time.process_time if task.threads == 1 else time.perf_counter

    @abstractmethod
    def speed(self) -> Figures:
        """Train for about `task.seconds` after a warm-up: `targets_per_s`; rank for all users: `evaluation_s`."""

    @abstractmethod
    def course(self) -> Figures:
        """Train for about `task.seconds`.

        `course` has seconds of training and HR@10 of the validation items after every epoch, `test_hr10` is that of the
        best of these epochs by validation, `epochs` their number.
        """


class Ours(Contender):
    """SASRec of this project; the seconds of its course have its validations in them."""

    def __init__(self, task: Task, sequences: pa.Table) -> None:
        import polars as pl

        from reviewllm.recommend.histories import catalogue, make_histories

        super().__init__(task, sequences)
        self.rows = pl.DataFrame(sequences)
        self.tested = make_histories(self.rows, catalogue(self.rows), "test")

    def speed(self) -> Figures:
        epochs = SPEED_EPOCHS + 2  # the first warms up, the last is validated
        retriever, ends = self._train(epochs=epochs, evaluate_every=epochs)
        targets = targets_of_epoch(self.sequences) * SPEED_EPOCHS / (ends[-2][0] - ends[0][0])
        start = self.now()
        self._hit_at_10(retriever)
        middle = self.now()
        for _ in rank_all(retriever, self.tested, k=10):
            pass
        return {"targets_per_s": targets, "evaluation_s": middle - start, "lists_s": self.now() - middle}

    def course(self) -> Figures:
        _, ends = self._train(epochs=2, evaluate_every=1)
        epochs = max(1, round(self.task.seconds / (ends[1][0] - ends[0][0])))
        start = self.now()
        retriever, ends = self._train(epochs=epochs, evaluate_every=1)
        course = [(end - start, epoch.hr10) for end, epoch in ends]
        return {"course": course, "test_hr10": self._hit_at_10(retriever), "epochs": len(course)}

    def _train(self, *, epochs: int, evaluate_every: int) -> tuple[SasrecRetriever, list[tuple[float, Epoch]]]:
        """The best weights, and every epoch with the time at its end, after its validation."""
        from reviewllm.recommend.sasrec_retriever import SasrecConfig
        from reviewllm.recommend.train_sasrec import train_sasrec

        def at_end(epoch: Epoch) -> None:
            ends.append((self.now(), epoch))
            print(epoch.told, file=sys.stderr, flush=True)

        task = self.task
        ends: list[tuple[float, Epoch]] = []
        config = SasrecConfig(
            hidden_size=task.hidden,
            num_layers=task.layers,
            attention_heads=task.heads,
            max_items=task.max_length,
            dropout=task.dropout,
            loss="softmax",
            learning_rate=task.learning_rate,
            batch_places=task.batch_targets,
            epochs=epochs,
            max_minutes=24 * 60,  # the task says how long
            evaluate_every=evaluate_every,
            patience=epochs,
            seed=task.seed,
        )
        retriever, _ = train_sasrec(self.rows, config, on_epoch=at_end)
        return retriever, ends

    def _hit_at_10(self, retriever: SasrecRetriever) -> float:
        return float(hit_ratio(target_ranks(retriever, self.tested), 10).mean())


class Clock:
    """Counts the targets and seconds of a training, and ends it after `limit_s`."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Take the time from `now`."""
        self.now = now
        self.seconds, self.targets, self.limit_s = 0.0, 0, 0.0

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.seconds >= self.limit_s

    def batches(self, loader: Iterable[Any], targets: Callable[[Any], int]) -> Iterator[Any]:
        """The batches of an epoch, until the time is up; a batch counts once the next one is asked for."""
        start = self.now()
        for batch in loader:
            yield batch
            now = self.now()
            self.seconds, start = self.seconds + now - start, now
            self.targets += targets(batch)
            if self.over:
                return


class Library(Contender):
    """A library's SASRec: its own loop over an epoch, under a clock that may end it."""

    def __init__(self, task: Task, sequences: pa.Table) -> None:
        super().__init__(task, sequences)
        self.clock = Clock(self.now)

    @abstractmethod
    def train_epoch(self) -> None:
        """Go over the data once, or until the clock is over."""

    @abstractmethod
    def hit_at_10(self, target: Literal["validation", "test"]) -> float:
        """HR@10 as it is now."""

    def speed(self) -> Figures:
        self._train(WARM_UP_S)
        targets, seconds = self.clock.targets, self.clock.seconds
        self._train(seconds + self.task.seconds)
        rate = (self.clock.targets - targets) / (self.clock.seconds - seconds)
        start = self.now()
        self.hit_at_10("test")
        return {"targets_per_s": rate, "evaluation_s": self.now() - start}

    def course(self) -> Figures:
        self.clock.limit_s = self.task.seconds
        course: list[tuple[float, float]] = []
        best, test_hr10 = -1.0, 0.0
        while not self.clock.over:
            self.train_epoch()
            found = self.hit_at_10("validation")
            course.append((self.clock.seconds, found))
            if found > best:
                best, test_hr10 = found, self.hit_at_10("test")
            print(f"{self.task.contender}: {course[-1][0]:.0f} s, {found:.4f}", file=sys.stderr, flush=True)
        epochs = self.clock.targets / targets_of_epoch(self.sequences)
        return {"course": course, "test_hr10": test_hr10, "epochs": epochs}

    def _train(self, limit_s: float) -> None:
        self.clock.limit_s = limit_s
        while not self.clock.over:
            self.train_epoch()


class RecBole(Library):
    """RecBole's SASRec, which makes one row of every prefix of a sequence."""

    def __init__(self, task: Task, sequences: pa.Table) -> None:
        from benchmarks.recommend_peer import Peer, recbole_folder

        super().__init__(task, sequences)
        self.folder = recbole_folder()  # for as long as the process lives
        settings = {
            "max_length": task.max_length,
            "epochs": 1,
            "seed": task.seed,
            "hidden_size": task.hidden,
            "inner_size": task.hidden,
            "n_layers": task.layers,
            "n_heads": task.heads,
            "hidden_dropout_prob": task.dropout,
            "attn_dropout_prob": task.dropout,
            "learning_rate": task.learning_rate,
            "train_batch_size": task.batch_targets,
        }
        self.peer = Peer("SASRec", sequences, self.folder.__enter__(), settings)

    def train_epoch(self) -> None:
        self.peer.trainer._train_epoch(self.clock.batches(self.peer.train, len), 0)

    def hit_at_10(self, target: Literal["validation", "test"]) -> float:
        trainer = self.peer.trainer
        trainer.held_out = LEFT_OUT[target]
        data = self.peer.tested if target == "test" else self.peer.valid
        return float(trainer.evaluate(data, load_best_model=False)["hit@10"])


class RecTools(Library):
    """RecTools' SASRec, which like ours learns from every place of a sequence at once."""

    def __init__(self, task: Task, sequences: pa.Table) -> None:
        import torch
        from lightning_fabric.utilities.seed import seed_everything
        from pytorch_lightning import Trainer
        from rectools.models.nn.transformers.sasrec import SASRecDataPreparator, SASRecModel

        super().__init__(task, sequences)
        clock = self.clock

        class Preparator(SASRecDataPreparator):  # type: ignore[misc]
            """RecTools' own, under the clock."""

            def get_dataloader_train(self) -> Any:
                return Clocked(super().get_dataloader_train(), clock, lambda batch: int(torch.count_nonzero(batch["y"])))

        def trainer() -> Trainer:
            quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "logger", "enable_checkpointing"), False)
            return Trainer(max_epochs=1, accelerator="cpu", devices=1, **quiet)

        seed_everything(task.seed)
        self.model = SASRecModel(
            n_blocks=task.layers,
            n_heads=task.heads,
            n_factors=task.hidden,
            dropout_rate=task.dropout,
            session_max_len=task.max_length,
            batch_size=max(1, round(task.batch_targets * len(sequences) / targets_of_epoch(sequences))),
            lr=task.learning_rate,
            loss="softmax",
            data_preparator_type=Preparator,
            get_trainer_func=trainer,
        )
        self.tested = {target: rectools_data(sequences, target) for target in ("validation", "test")}
        self.train = self.tested["validation"][0]

    def train_epoch(self) -> None:
        self.model.fit_partial(self.train, min_epochs=1, max_epochs=1)

    def hit_at_10(self, target: Literal["validation", "test"]) -> float:
        from rectools.metrics import HitRate, calc_metrics

        history, targets = self.tested[target]
        lists = self.model.recommend(targets["user_id"].to_numpy(), history, k=10, filter_viewed=True)
        return float(calc_metrics({"hit": HitRate(k=10)}, lists, targets)["hit"])


class Clocked:
    """A loader of batches under a clock."""

    def __init__(self, loader: Any, clock: Clock, targets: Callable[[Any], int]) -> None:
        self.loader, self.clock, self.targets = loader, clock, targets

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return self.clock.batches(self.loader, self.targets)


def rectools_data(sequences: pa.Table, target: Literal["validation", "test"]) -> tuple[Any, Any]:
    """The histories as RecTools' data, and the items that are held out as a frame."""
    import pandas as pd
    from rectools.dataset import Dataset

    history: list[tuple[int, str, int]] = []
    targets: list[tuple[int, str, int]] = []
    for user, item_ids in enumerate(sequences["item_ids"].to_pylist()):
        before, item = held_out(item_ids, target)
        history += [(user, item, place) for place, item in enumerate(before)]
        targets.append((user, str(item), len(before)))
    frames = [pd.DataFrame(rows, columns=["user_id", "item_id", "datetime"]) for rows in (history, targets)]
    for frame in frames:
        frame["datetime"] = pd.Timestamp("2000-01-01") + pd.to_timedelta(frame["datetime"], unit="D")
        frame["weight"] = 1.0
    return Dataset.construct(frames[0]), frames[1]


def targets_of_epoch(sequences: pa.Table) -> int:
    """Places to learn from: all but the first of each sequence without the two items that are held out."""
    return sum(max(0, len(item_ids) - 3) for item_ids in sequences["item_ids"])


CONTENDERS: dict[str, type[Contender]] = {OURS: Ours, RECTOOLS: RecTools, RECBOLE: RecBole}


def main(file: Path) -> None:
    """Measure what a task says, and write the figures beside it."""
    import torch

    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    warnings.filterwarnings("ignore")
    task = Task.model_validate_json(file.read_text(encoding="utf-8"))
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    contender = CONTENDERS[task.contender](task, read_table(task.sequences, SEQUENCES))
    figures = contender.course() if task.budget else contender.speed()
    file.with_suffix(".figures").write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
