"""Mask-based fusion: reference tokens take the place of the target's, inside the part's region.

`fuse_parity` is the published rule: whole tokens, truncated boxes, nearest. A box that moves by a
pixel can change the number of tokens it covers, which pops in a video. `fuse_fractional` resamples
with area weights between fractional boxes under a soft mask instead: continuous in every box.

Boxes are (y0, x0, y1, x1) in [0, 1] of the crop. Tokens lie row-major on a G x G grid; a token more
than that at the front is CLS, which always stays the face's. Pure functions without state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fapvideo.ops.token_grid import grid_of, without_cls


@dataclass(frozen=True, slots=True)
class PartSource:
    """One reference of one part."""

    tokens: Tensor
    """[B or 1, G*G, C] tokens of the part alone; a CLS before them is left out."""
    box: Tensor
    """[B or 1, 4] or [4]: where the part lies in that reference."""
    weight: Tensor | float = 1.0
    """Its share among the references of this part: a number or [B]; not negative."""


# ---------------------------------------------------------------------------------- parity


def fuse_parity(face: Tensor, parts: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """Fuse as the published inference code does; a new tensor, the face is not changed.

    Args:
        face: [B, N, C] tokens of the target with holes, N = G*G or 1 + G*G.
        parts: P tensors [B or 1, N or G*G, C], in writing order (eyes, nose, mouth as published):
            later ones overwrite earlier ones.
        boxes: [2P, 4] or [B, 2P, 4]: the targets' boxes, then the sources'.

    Boxes are rounded to float32 and truncated toward zero at G times their value; every box covers
    at least one token. Values outside [0, 1], where the published code fails, are clamped; a
    target that starts at 1.0 writes nothing, as published.

    Source: tests/goldens/PARITY.md, 2.
    """
    side, cls = grid_of(face)
    count = len(parts)
    corners = _token_corners(boxes.expand(len(face), 2 * count, 4), side)
    fused = face.clone()
    grid = fused[:, 1:].unflatten(1, (side, side)) if cls else fused.unflatten(1, (side, side))
    for number, part in enumerate(parts):
        source = without_cls(part).unflatten(1, (side, side)).expand(len(face), -1, -1, -1)
        for sample in range(len(face)):
            top, left, bottom, right = corners[sample][number]
            rows = _nearest_indices(corners[sample][count + number][0::2], bottom - top, side)
            columns = _nearest_indices(corners[sample][count + number][1::2], right - left, side)
            patch = source[sample][rows][:, columns]
            # A view of `fused`, so this writes; a start at G selects nothing on both sides.
            grid[sample, top:bottom, left:right] = patch[
                : max(side - top, 0), : max(side - left, 0)
            ]
    return fused


def _token_corners(boxes: Tensor, side: int) -> list[list[list[int]]]:
    """Return integer corners (y0, x0, y1, x1) of [B, K, 4] boxes, ends at least start + 1."""
    # float32 first: 0.2499999999 becomes 0.25 and so 4, not 3 (tests/goldens/PARITY.md, 2).
    corners = (boxes.to(torch.float32).clamp(0, 1) * side).to(torch.int64)
    start, end = corners[..., :2], corners[..., 2:]
    return torch.cat([start, torch.maximum(end, start + 1)], -1).tolist()


def _nearest_indices(span: list[int], length: int, side: int) -> list[int]:
    """Return the source index of each of `length` targets: start + floor(i * size / length)."""
    start = min(span[0], side - 1)
    size = min(span[1], side) - start
    return [start + i * size // length for i in range(length)]


# ------------------------------------------------------------------------------- fractional


def fuse_fractional(
    face: Tensor, parts: Sequence[Sequence[PartSource]], targets: Tensor, masks: Tensor
) -> Tensor:
    """Fuse with area-weighted resampling and soft masks; continuous and differentiable.

    Args:
        face: [B, N, C] tokens of the target with holes, N = G*G or 1 + G*G.
        parts: P lists of one or more references of that part; later parts lie over earlier ones.
        targets: [P, 4] or [B, P, 4] boxes of the parts in the target.
        masks: [B or 1, P, G, G] in [0, 1]: how much of each token is the part's.

    Returns:
        [B, N, C] tokens: `m * part + (1 - m) * face`, part after part. Samples do not depend on
        each other. Several references of a part give the weighted mean of their resampled tokens.

    Raises:
        ValueError: counts of parts, boxes and masks differ, or the weights of a part are all 0.
    """
    side, cls = grid_of(face)
    batch = len(face)
    if not len(parts) == targets.shape[-2] == masks.shape[1]:
        raise ValueError(
            f"{len(parts)} parts, {targets.shape[-2]} target boxes and {masks.shape[1]} masks"
        )
    targets = targets.expand(batch, len(parts), 4)
    fused = without_cls(face)
    for number, sources in enumerate(parts):
        part = _mean_of_sources(sources, targets[:, number], side, batch)
        mask = masks[:, number].flatten(1).unsqueeze(-1).to(fused.dtype)
        fused = torch.lerp(fused, part.to(fused.dtype), mask)
    return torch.cat([face[:, :1], fused], 1) if cls else fused


def resample_tokens(tokens: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Move what lies in box `source` of a token grid to box `target`.

    Args:
        tokens: [B, G*G, C]. source, target: [B, 4].

    Returns:
        [B, G*G, C]; cells outside the target box repeat its nearest edge.

    A target cell averages the stretch of the source it covers, at least one token long: an area
    mean where the part shrinks, bilinear where it grows, a copy where boxes are equal and aligned.
    """
    side = math.isqrt(tokens.shape[1])
    source, target = source.to(torch.float32) * side, target.to(torch.float32) * side
    rows = _axis_weights(source[:, 0::2], target[:, 0::2], side).to(tokens.dtype)
    columns = _axis_weights(source[:, 1::2], target[:, 1::2], side).to(tokens.dtype)
    grid = tokens.unflatten(1, (side, side))
    return torch.einsum("byi,bijc,bxj->byxc", rows, grid, columns).flatten(1, 2)


def _axis_weights(source: Tensor, target: Tensor, side: int) -> Tensor:
    """Return [B, side, side] weights target cell x source cell along one axis; rows sum to 1.

    Args:
        source, target: [B, 2] start and end, in tokens.
    """
    first, size = _at_least_one(source)
    target_first, target_size = _at_least_one(target)
    ratio = size / target_size
    # A window at least one token wide keeps the weights 1-Lipschitz in the position of the box.
    width = ratio.clamp(min=1.0)
    cells = torch.arange(side, device=source.device, dtype=source.dtype)
    centre = first + (cells + 0.5 - target_first) * ratio
    # Kept inside the box, so that what surrounds the part in the reference never enters.
    half = torch.minimum(width, size) / 2
    centre = torch.maximum(torch.minimum(centre, first + size - half), first + half)
    centre = centre.clamp(width / 2, (side - width / 2).clamp(min=side / 2))
    low, high = (centre - width / 2).unsqueeze(-1), (centre + width / 2).unsqueeze(-1)
    overlap = torch.minimum(high, cells + 1) - torch.maximum(low, cells)
    weights = overlap.clamp(min=0)
    return weights / weights.sum(-1, keepdim=True)


def _at_least_one(span: Tensor) -> tuple[Tensor, Tensor]:
    """Return start and size, each [B, 1], of [B, 2] spans grown about their middle to one token."""
    start, end = span[:, :1], span[:, 1:]
    size = (end - start).clamp(min=1.0)
    return (start + end - size) / 2, size


def _mean_of_sources(
    sources: Sequence[PartSource], target: Tensor, side: int, batch: int
) -> Tensor:
    """Return the weighted mean [B, G*G, C] of the references of one part, resampled to `target`."""
    total: Tensor | None = None
    shares = torch.zeros(batch, 1, 1, device=target.device)
    for source in sources:
        tokens = without_cls(source.tokens).expand(batch, -1, -1)
        moved = resample_tokens(tokens, source.box.expand(batch, 4), target)
        share = torch.as_tensor(source.weight, device=target.device, dtype=torch.float32)
        share = share.reshape(-1, 1, 1).expand(batch, 1, 1)
        part = moved * share.to(moved.dtype)
        total = part if total is None else total + part
        shares = shares + share
    if total is None or bool((shares <= 0).any()):
        raise ValueError("a part needs at least one reference with a positive weight")
    return total / shares.to(total.dtype)
