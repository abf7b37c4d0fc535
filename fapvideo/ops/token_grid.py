"""Tokens of an image tower: a square grid, row by row, with or without a class token before it."""

from __future__ import annotations

import math

from torch import Tensor


def grid_of(tokens: Tensor) -> tuple[int, bool]:
    """Return (G, whether token 0 is CLS) of [B, N, C].

    Raises:
        ValueError: neither N nor N - 1 is a square.
    """
    count = tokens.shape[1]
    for cls in (0, 1):
        side = math.isqrt(count - cls)
        if side and side * side == count - cls:
            return side, bool(cls)
    raise ValueError(f"{count} tokens are neither a square grid nor CLS and a square grid")


def without_cls(tokens: Tensor) -> Tensor:
    """Return the grid tokens [B, G*G, C] of tokens with or without CLS."""
    _, cls = grid_of(tokens)
    return tokens[:, 1:] if cls else tokens
