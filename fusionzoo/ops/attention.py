"""Cross-attention between sequences of tokens, and the batch norm that comes before it."""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from fusionzoo.errors import BadOption, FusionZooError


class CrossAttention(nn.Module):
    """query + concat_h softmax(Q_h K_h^T / sqrt(d)) V_h, with d = query_dim / num_heads.

    Q is a linear map of the query, K and V of the context, each with a bias; the heads' results are
    not projected again. With one token in the
    context, the softmax is over one key and so equals 1: the result is query + V, and Q and K can't
    learn.

    Source: Yu et al., MMCAF-Net, 2025, arXiv:2508.04205, Eq. (10), which leaves out the
    softmax that its text and its released code have.

    Args:
        query_dim: Channels of the query and of the result.
        context_dim: Channels of the context.
        num_heads: Heads; divides `query_dim`.

    Raises: BadOption: `num_heads` doesn't divide `query_dim`
    """

    def __init__(self, query_dim: int, context_dim: int, *, num_heads: int):
        super().__init__()
        if num_heads < 1 or query_dim % num_heads:
            raise BadOption(
                f"Attention over {query_dim} channels can't be split into {num_heads} heads. "
                f"Use a number of heads that divides {query_dim}."
            )
        self.num_heads = num_heads
        self.query = nn.Linear(query_dim, query_dim)
        self.key = nn.Linear(context_dim, query_dim)
        self.value = nn.Linear(context_dim, query_dim)

    def forward(
        self,
        query: Float[Tensor, "batch queries query_dim"],
        context: Float[Tensor, "batch keys context_dim"],
    ) -> Float[Tensor, "batch queries query_dim"]:
        """Each query token, plus what it gathers from the context."""
        q, k, v = (
            rearrange(x, "batch tokens (heads dim) -> batch heads tokens dim", heads=self.num_heads)
            for x in (self.query(query), self.key(context), self.value(context))
        )
        # Written out, since over one key the gradient of this softmax is exactly 0; fused kernels
        # leave rounding noise there, which an optimiser such as Adam scales up to full steps.
        weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)
        return query + rearrange(weights @ v, "batch heads tokens dim -> batch tokens (heads dim)")


class MergedCrossAttention(nn.Module):
    """P (x + concat_h softmax(Q_h [K_h x, K_h c]^T / sqrt(d)) [V_h x, V_h c]) + b.

    Keys and values come from the query's own tokens and the context's, one after the other; Q, K
    and V have no biases.

    Source: Zhang et al., TFormer, Computers in Biology and Medicine 157, 2023 (released code, which
    adds x before the projection).

    Args:
        channels: Channels of both sequences.
        num_heads: Heads; divides `channels`.

    Raises: BadOption: `num_heads` doesn't divide `channels`
    """

    def __init__(self, channels: int, *, num_heads: int):
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise BadOption(
                f"Attention over {channels} channels can't be split into {num_heads} heads. "
                f"Use a number of heads that divides {channels}."
            )
        self.num_heads = num_heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_kv = nn.Linear(channels, 2 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)

    def forward(
        self,
        x: Float[Tensor, "batch queries channels"],
        context: Float[Tensor, "batch keys channels"],
    ) -> Float[Tensor, "batch queries channels"]:
        """What each token of x gathers from x and the context."""
        by_head = "batch tokens (parts heads dim) -> parts batch heads tokens dim"
        (q,) = rearrange(self.to_q(x), by_head, parts=1, heads=self.num_heads)
        both = self.to_kv(torch.cat([x, context], dim=1))
        k, v = rearrange(both, by_head, parts=2, heads=self.num_heads)
        weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)
        return self.proj(
            x + rearrange(weights @ v, "batch heads tokens dim -> batch tokens (heads dim)")
        )


def attend_to_others(
    attention: nn.Module, tokens: Sequence[Float[Tensor, "batch _ embed"]]
) -> list[Float[Tensor, "batch _ embed"]]:
    """One attention for all ordered pairs; each modality gets the mean over the others."""
    return [
        torch.stack([attention(own, other) for other in tokens if other is not own]).mean(dim=0)
        for own in tokens
    ]


def as_tokens(x: Float[Tensor, "batch *tokens embed"]) -> Float[Tensor, "batch tokens embed"]:
    """A vector as one token; tokens as they are."""
    return x.unsqueeze(1) if x.ndim == 2 else x


class TokenBatchNorm(nn.Module):
    """Batch norm of each channel, over all tokens of all cases.

    Raises: FusionZooError: a single token in training, whose deviation is not defined
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(
        self, x: Float[Tensor, "batch tokens embed"]
    ) -> Float[Tensor, "batch tokens embed"]:
        """The normalised tokens."""
        batch, tokens, _ = x.shape
        if self.training and batch * tokens < 2:
            raise FusionZooError(
                f"Batch norm in training needs two or more tokens; it was given {batch} case of "
                f"{tokens} token. Use a batch size of 2 or more and drop a last batch of "
                "one case, or call eval()."
            )
        flat = self.norm(rearrange(x, "batch tokens embed -> (batch tokens) embed"))
        return rearrange(flat, "(batch tokens) embed -> batch tokens embed", batch=batch)


__all__ = [
    "CrossAttention",
    "MergedCrossAttention",
    "TokenBatchNorm",
    "as_tokens",
    "attend_to_others",
]
