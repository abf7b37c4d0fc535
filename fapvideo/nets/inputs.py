"""What the networks are given, put together in one place for running and for training alike.

Pictures are [N, 3, R, R], holes and masks of parts [N, 1, R, R], latents [N, c, h, w]. Pure
functions of tensors; what differs between bundles is an argument, as in their manifests.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def fill_hole(
    pictures: Tensor, holes: Tensor, fill: Sequence[float], *, unit: bool = False
) -> Tensor:
    """Return pictures with the bundle's colour where `holes` is 1.

    `fill` [3] is RGB in [-1, 1], `hole_fill` of the manifest. Pictures are in [-1, 1], for the
    codec, or with `unit` in [0, 1], for the image encoder.
    """
    colour = torch.tensor(fill, device=pictures.device).view(1, 3, 1, 1)
    return torch.lerp(pictures, (colour + 1) / 2 if unit else colour, holes)


def part_on_black(pictures: Tensor, masks: Tensor) -> Tensor:
    """Return a part alone, at its place, as the image encoder sees it; pictures in [0, 1]."""
    return pictures * masks


def conditioning(
    known: Tensor, mask: Tensor, guide: Tensor | None = None, hole_noise: Tensor | None = None
) -> Tensor:
    """Return the UNet's input channels behind the noisy latent: known, (guide,) mask.

    Args:
        known: latents of the target with its hole filled.
        mask: [N, mask_channels, h, w], the codec's, 1 in the hole.
        guide: latents of the guide, for bundles with guide channels.
        hole_noise: takes the place of `known` in the hole, for bundles with `hole_noise`.

    Source: tests/goldens/PARITY.md, 8, for the order and for the noise in the hole.
    """
    if hole_noise is not None:
        known = known * (1 - mask) + hole_noise * mask
    return torch.cat([known, *([] if guide is None else [guide]), mask], 1)
