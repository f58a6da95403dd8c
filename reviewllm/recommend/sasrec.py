"""SASRec (Kang and McAuley 2018, "Self-attentive sequential recommendation") in plain torch.

Shapes: B sequences, T items of the longest, H hidden units, N items of the catalogue. Sequences are padded at their end: with
attention to earlier items alone nothing of the padding reaches an item, so there is no mask.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Sasrec(nn.Module):
    """Item ids -> one hidden vector for each place, whose product with an item's embedding is the score of it coming next."""

    def __init__(self, *, items: int, hidden: int, layers: int, heads: int, max_length: int, dropout: float) -> None:
        """Make the model with random weights; `dropout` is of embeddings, attention's output and the inner layer's."""
        super().__init__()
        self.max_length = max_length
        self.items = nn.Embedding(items, hidden)
        self.positions = nn.Embedding(max_length, hidden)
        self.layers = nn.ModuleList(_Layer(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.dropout = dropout
        for weight in (weight for weight in self.parameters() if weight.dim() > 1):
            nn.init.normal_(weight, std=0.02)  # as BERT4Rec and RecBole do

    def forward(self, item_ids_BT: Tensor) -> Tensor:
        """Hidden vectors, B x T x H; T is at most `max_length`."""
        places = self.positions.weight[: item_ids_BT.shape[1]]
        hidden_BTH = self.items(item_ids_BT) + places
        if self.training:
            hidden_BTH = drop(hidden_BTH, self.dropout)
        for layer in self.layers:
            hidden_BTH = layer(hidden_BTH)
        normed: Tensor = self.norm(hidden_BTH)
        return normed


class _Layer(nn.Module):
    """Attention to earlier items and an inner layer, each after a norm and added to what came in."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.attention_norm, self.inner_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.attended = nn.Linear(hidden, hidden)
        self.inner, self.outer = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)

    def forward(self, hidden_BTH: Tensor) -> Tensor:
        batch, length, hidden = hidden_BTH.shape
        split = self.query_key_value(self.attention_norm(hidden_BTH)).view(batch, length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        found = self.attended(found.transpose(1, 2).reshape(batch, length, hidden))
        hidden_BTH = hidden_BTH + self._drop(found)
        return hidden_BTH + self._drop(self.outer(self._drop(functional.relu(self.inner(self.inner_norm(hidden_BTH))))))

    def _drop(self, hidden: Tensor) -> Tensor:
        return drop(hidden, self.dropout) if self.training else hidden


def drop(hidden: Tensor, share: float) -> Tensor:
    """Dropout from one random byte for each number; `share` is rounded to 256ths.

    Ours and not torch's, which draws a float for each number and on a CPU took a fifth of the time of training.
    """
    limit = round(256 * share)
    words = torch.empty(-(-hidden.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.uint8)[: hidden.numel()].view(hidden.shape) >= limit
    return hidden * (kept * (256 / (256 - limit)))
