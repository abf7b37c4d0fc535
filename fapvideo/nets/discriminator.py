"""A patch discriminator: says of every patch of a picture whether it looks real."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """Five spectrally normalised convolutions, 0.5 M parameters; a logit sees 54 x 54 pixels.

    Sources: patches after Isola et al. 2017, arXiv 1611.07004; spectral normalisation after
    Miyato et al. 2018, arXiv 1802.05957, which keeps it smooth without a gradient penalty.
    """

    def __init__(self, width: int = 32) -> None:
        """Build with random weights; `width` channels at half the resolution."""
        super().__init__()
        channels = (4, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for few, many in pairwise(channels):
            layers += [spectral_norm(nn.Conv2d(few, many, 4, 2, 1)), nn.LeakyReLU(SLOPE)]
        layers += [spectral_norm(nn.Conv2d(4 * width, 8 * width, 3, 1, 1)), nn.LeakyReLU(SLOPE)]
        layers += [spectral_norm(nn.Conv2d(8 * width, 1, 3, 1, 1))]
        self.layers = nn.Sequential(*layers)

    def forward(self, picture: Tensor, hole: Tensor) -> Tensor:
        """Return logits [B, 1, R/8, R/8], high where a patch looks real.

        Args:
            picture: [B, 3, R, R] in [-1, 1].
            hole: [B, 1, R, R], 1 where the picture may be painted.
        """
        return self.layers(torch.cat([picture, hole], 1))
