"""Attention over a prefix tree: every token sees the tokens before it on its own path, and no others.

On a GPU that is one predicate for FlexAttention, which skips the blocks that nobody sees. On a CPU, where FlexAttention
has no backward pass, each sample's own tokens attend to the gathered tokens of their path under an explicit mask, so
the work is the work of the pairs that see each other. What a layer asks for besides holds along the path: a window (the
last tokens alone are seen), a cap of the logits, and sinks (a logit of each head that takes its share and gives nothing).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from reviewllm.sft.sequences import PackedSequence

TREE_ATTENTION = "reviewllm_tree"  # the name under which transformers finds `tree_attention`


class Tree:
    """Who sees whom in a packed sequence, ready for all layers on one device; what a window hides is found when it is asked for."""

    def __init__(self, sequence: PackedSequence, device: Any, *, padding: int = 0) -> None:
        """Take a packed sequence of L tokens, and how many tokens of padding follow them."""
        self._sequence, self._device, self._padding = sequence, device, padding
        self.queries = [end - start for start, end, _ in sequence.segments]
        self.seen = [len(before) + end - start for start, end, before in sequence.segments]
        self._masks: dict[int | None, Any] = {}

    @cached_property
    def keys(self) -> torch.Tensor:
        """[K], the tokens that the segments see, segment after segment: those before each on its path, then its own."""
        import numpy as np
        import torch

        parts = [part for start, end, before in self._sequence.segments for part in (before, np.arange(start, end))]
        return torch.from_numpy(np.concatenate(parts)).to(self._device)

    def segment_masks(self, window: int | None) -> list[torch.Tensor | None]:
        """Of each segment [own, seen], True where seen; None: plain causal. A window counts the token itself."""
        if window not in self._masks:
            pairs = zip(self.queries, self.seen, strict=True)
            self._masks[window] = [self._segment_mask(own, seen, window) for own, seen in pairs]
        return self._masks[window]  # type: ignore[no-any-return]

    def _segment_mask(self, own: int, seen: int, window: int | None) -> torch.Tensor | None:
        import torch

        if own == seen and (window is None or window >= seen):
            return None
        mask = torch.ones(own, seen, dtype=torch.bool, device=self._device).tril_(seen - own)
        return mask if window is None else mask.triu_(seen - own - window + 1)

    def block_mask(self, window: int | None) -> Any:
        """FlexAttention's mask of all L tokens and the padding, whose tokens see themselves and are seen by no other."""
        from torch.nn.attention.flex_attention import create_block_mask

        if window not in self._masks:
            until, depth = self._predicate
            size = len(until)
            seen = visible(until, depth, window)
            self._masks[window] = create_block_mask(seen, B=None, H=None, Q_LEN=size, KV_LEN=size, device=self._device)
        return self._masks[window]

    @cached_property
    def _predicate(self) -> tuple[torch.Tensor, torch.Tensor]:
        import numpy as np
        import torch

        length = len(self._sequence.input_ids)
        until = np.concatenate([self._sequence.until, length + np.arange(self._padding) + 1])
        depth = np.pad(self._sequence.position_ids, (0, self._padding))
        return torch.from_numpy(until).to(self._device), torch.from_numpy(depth).to(self._device)


def visible(until: torch.Tensor, depth: torch.Tensor, window: int | None) -> Any:
    """FlexAttention's predicate: does query token i see key token j?

    Args:
        until: [L], token j is seen by the tokens i of its path with j <= i < until[j].
        depth: [L], places of the tokens on their paths.
        window: tokens that are seen, the token itself with them; None: all.
    """

    def on_path(batch: Any, head: Any, i: Any, j: Any) -> Any:
        return (j <= i) & (i < until[j])

    if window is None:
        return on_path

    def within(batch: Any, head: Any, i: Any, j: Any) -> Any:
        return on_path(batch, head, i, j) & (depth[i] - depth[j] < window)

    return within


def tree_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree: Tree | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, Any]:
    """Attention of transformers' interface: query [1, H, L, D], key and value [1, G, L, D] -> [1, L, H, D].

    Args:
        tree: who sees whom; every model hands it on that `probe.check_trainable` has passed.
        sliding_window: tokens that a token sees, itself with them; None: all before it.
        softcap: logits are c * tanh(logits / c).
        s_aux: [H], the sinks' logits.
        dropout: must be 0, as `load_base` sets it: FlexAttention has none.
    """
    if tree is None or dropout:
        raise RuntimeError("attention over a prefix tree needs the tree, and no dropout")
    if query.device.type == "cuda":
        from transformers.integrations.flex_attention import flex_attention_forward

        mask = tree.block_mask(sliding_window)
        return flex_attention_forward(module, query, key, value, mask, scaling, softcap, s_aux)  # type: ignore[no-any-return]
    import torch

    # One gather and one split for all segments: sliced apart, each slice's backward would fill a whole tensor with zeros.
    keys = torch.split(key.index_select(2, tree.keys), tree.seen, dim=2)
    values = torch.split(value.index_select(2, tree.keys), tree.seen, dim=2)
    queries = torch.split(query, tree.queries, dim=2)
    outputs = [
        _attend(*parts, scaling, softcap=softcap, sinks=s_aux)
        for parts in zip(queries, keys, values, tree.segment_masks(sliding_window), strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    *,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Attention of one segment, [1, H, own, D]; softmax in float32."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    if softcap is None and sinks is None:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True
        )
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    logits = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    if mask is None:
        mask = torch.ones(logits.shape[2:], dtype=torch.bool, device=logits.device).tril_()
    logits = logits.float().masked_fill(~mask, -torch.inf)
    if sinks is not None:
        logits = torch.cat([logits, sinks.float().view(1, -1, 1, 1).expand(*logits.shape[:3], 1)], dim=-1)
    weights = logits.softmax(-1)[..., : key.shape[2]].to(value.dtype)
    return weights @ value
