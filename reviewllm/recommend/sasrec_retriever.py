"""SASRec as a retriever: its configuration, its files, and the scores that it gives."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from reviewllm.config import StageConfig
from reviewllm.errors import InputError, SchemaError
from reviewllm.files import follow_umask, read_json, write_text
from reviewllm.recommend.histories import Histories, Ints
from reviewllm.recommend.ranks import Floats
from reviewllm.table_files import replace_folder

if TYPE_CHECKING:
    from reviewllm.recommend.sasrec import Sasrec

WEIGHTS, DESCRIPTION = "model.safetensors", "sasrec.json"


class SasrecConfig(StageConfig):
    """Size and training of SASRec.

    The defaults give HR@10 0.0916 and NDCG@10 0.0541 on the test items of Amazon Beauty 2014 (0.1093 and 0.0654 on the
    validation items, by which they were chosen), in 63 epochs of about 4 s on one core.
    """

    hidden_size: int = Field(64, ge=8, description="SASRec's hidden units; a multiple of --attention-heads")
    num_layers: int = Field(2, ge=1, description="SASRec's layers")
    attention_heads: int = Field(2, ge=1, description="SASRec's attention heads")
    max_items: int = Field(50, ge=2, description="newest items of a history that SASRec sees")
    dropout: float = Field(0.5, ge=0, lt=1, description="SASRec's dropout")
    loss: Literal["softmax", "sampled", "bce"] = Field(
        "softmax",
        description="softmax over all items, over a sample of them, or binary cross-entropy with one negative each",
    )
    negatives: int = Field(1024, ge=1, description="with --loss sampled: items drawn for each step")
    learning_rate: float = Field(1.5e-3, gt=0, description="of Adam")
    batch_places: int = Field(1024, ge=1, description="items to predict in one step, about")
    epochs: int = Field(100, ge=1, description="at most")
    max_minutes: float = Field(60, gt=0, description="no epoch is begun after as many; the best so far is kept")
    evaluate_every: int = Field(3, ge=1, description="epochs between validations")
    patience: int = Field(4, ge=1, description="validations without a better NDCG@10 before training stops")
    seed: int = Field(0, description="of weights, dropout and batches")


class _Description(BaseModel):
    """What stands beside the weights: how they were made, and the item of every row of the embeddings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: SasrecConfig
    item_ids: list[str]


class SasrecRetriever:
    """A trained SASRec: scores all items of its catalogue by what a user bought last."""

    name = "sasrec"
    needs_history = True

    def __init__(self, model: Sasrec, item_ids: Sequence[str]) -> None:
        """Take a model and the items that its rows stand for."""
        self.model = model.eval()
        self.item_ids = item_ids

    def score(self, histories: Histories, users: Ints) -> Floats:
        """Products of the last hidden vector with every item's embedding."""
        import torch

        rows, lengths = histories.last(users, self.model.max_length)
        with torch.inference_mode():
            hidden_BTH = self.model(torch.from_numpy(rows))
            last_BH = hidden_BTH[torch.arange(len(rows)), torch.from_numpy(lengths - 1)]
            scores: Floats = (last_BH @ self.model.items.weight.T).numpy()
        return scores

    def save(self, folder: Path, config: SasrecConfig) -> None:
        """Write weights, configuration and items as safetensors and JSON, in place of what stood at `folder`."""
        from safetensors.torch import save_file

        aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
        aside.mkdir(parents=True)
        try:
            save_file({name: weight.contiguous() for name, weight in self.model.state_dict().items()}, aside / WEIGHTS)
            described = _Description(config=config, item_ids=list(self.item_ids)).model_dump(mode="json")
            write_text(json.dumps(described, ensure_ascii=False), aside / DESCRIPTION)
            follow_umask(aside)
            replace_folder(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def load_sasrec(folder: Path) -> SasrecRetriever:
    """Load what `SasrecRetriever.save` wrote.

    Raises:
        InputError: there is none.
        SchemaError: a file is damaged, or the weights do not fit the description.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / DESCRIPTION).is_file():
        raise InputError(
            f"{folder}: holds no SASRec ({DESCRIPTION} is not there); run `jobs/recommend.py train-sasrec` first"
        )
    described = read_json(folder / DESCRIPTION, TypeAdapter(_Description))
    model = new_model(described.config, items=len(described.item_ids))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise SchemaError(f"{folder / WEIGHTS}: does not fit {DESCRIPTION} ({error}); train it anew") from error
    return SasrecRetriever(model, described.item_ids)


def new_model(config: SasrecConfig, *, items: int) -> Sasrec:
    """A SASRec with random weights."""
    from reviewllm.recommend.sasrec import Sasrec

    return Sasrec(
        items=items,
        hidden=config.hidden_size,
        layers=config.num_layers,
        heads=config.attention_heads,
        max_length=config.max_items,
        dropout=config.dropout,
    )
