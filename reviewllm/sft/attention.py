"""Attention over a prefix tree: every token sees the tokens before it on its own path, and no others.

On a GPU that is one predicate for FlexAttention, which skips the blocks that nobody sees. On a CPU, where FlexAttention
has no backward pass, each sample's own tokens attend to the gathered tokens of their path under an explicit mask, so
the work is the work of the pairs that see each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

    from reviewllm.sft.sequences import PackedSequence

TREE_ATTENTION = "reviewllm_tree"  # the name under which transformers finds `tree_attention`


class TreeMask(NamedTuple):
    """The segments of a packed sequence, ready for all layers.

    keys: [K], the tokens that the segments see, segment after segment. queries: own tokens of each segment. seen: tokens
    that each segment sees, its own last. masks: of each segment, [own, seen], True where seen; None: plain causal.
    """

    keys: torch.Tensor
    queries: list[int]
    seen: list[int]
    masks: list[torch.Tensor | None]


def tree_mask(sequence: PackedSequence, device: Any) -> TreeMask:
    """What `tree_attention` needs of a packed sequence."""
    import numpy as np
    import torch

    keys, masks = [], []
    for start, end, before in sequence.segments:
        keys += [before, np.arange(start, end)]
        own = end - start
        visible = torch.ones(own, len(before) + own, dtype=torch.bool, device=device).tril_(len(before))
        masks.append(visible if len(before) else None)
    return TreeMask(
        keys=torch.from_numpy(np.concatenate(keys)).to(device),
        queries=[end - start for start, end, _ in sequence.segments],
        seen=[len(before) + end - start for start, end, before in sequence.segments],
        masks=masks,
    )


def flex_mask(until: torch.Tensor) -> Any:
    """FlexAttention's block mask of a packed sequence with `until` [L]."""
    from torch.nn.attention.flex_attention import create_block_mask

    return create_block_mask(visible(until), B=None, H=None, Q_LEN=len(until), KV_LEN=len(until), device=until.device)


def visible(until: torch.Tensor) -> Any:
    """FlexAttention's predicate: does query token i see key token j?"""

    def seen(batch: Any, head: Any, i: Any, j: Any) -> Any:
        return (j <= i) & (i < until[j])

    return seen


def tree_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree: TreeMask | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of transformers' interface: query [1, H, L, D], key and value [1, G, L, D] -> [1, L, H, D].

    Without a `tree`, as when the model writes, it is transformers' own SDPA attention.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if tree is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling)  # type: ignore[no-any-return]
    # One gather and one split for all segments: sliced apart, each slice's backward would fill a whole tensor with zeros.
    keys = torch.split(key.index_select(2, tree.keys), tree.seen, dim=2)
    values = torch.split(value.index_select(2, tree.keys), tree.seen, dim=2)
    outputs = [
        scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=scaling, dropout_p=dropout, enable_gqa=True
        )
        for q, k, v, mask in zip(torch.split(query, tree.queries, dim=2), keys, values, tree.masks, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None
