"""MONAI's random transforms, drawn from a case's key instead of a generator of their own."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def per_case(
    transform: Any,
    x: Float[Tensor, "batch channels *space"],
    keys: Shaped[np.ndarray, " batch"],
    stream: int,
) -> Float[Tensor, "batch channels *space"]:
    """A transform on every case, its random state set by the case's key.

    Args:
        transform: A `monai.transforms.RandomizableTransform`.
        x: Images or volumes.
        keys: One uint64 per case.
        stream: Keeps the draws of different transforms apart.
    """
    changed = []
    for image, key in zip(x, keys.tolist(), strict=True):
        transform.set_random_state(seed=(key ^ stream) % 2**32)
        found = transform(image.clone())
        changed.append(torch.as_tensor(np.asarray(found), dtype=x.dtype))
    return torch.stack(changed)
