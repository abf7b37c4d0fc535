"""What a restored face is measured by during training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fapvideo.config.train import OptimConfig
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.nets.perceptual import PerceptualDistance

PERCEPTUAL_SHARE = 4
"""Networks judge one sample in so many: on average the same gradient, at a quarter of the cost."""


def hole_weight(core: Tensor, outside: float) -> Tensor:
    """Return [B, 1, R, R] weights of mean 1, in proportion 1 in the hole, `outside` elsewhere."""
    weight = outside + (1.0 - outside) * core
    return weight / weight.mean(dim=(1, 2, 3), keepdim=True)


def gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return horizontal and vertical differences of [B, 3, R, R], padded to the same size."""
    right = functional.pad(image[..., :, 1:] - image[..., :, :-1], (0, 1, 0, 0))
    down = functional.pad(image[..., 1:, :] - image[..., :-1, :], (0, 0, 0, 1))
    return right, down


def restoration_loss(
    predicted: Tensor,
    target: Tensor,
    core: Tensor,
    config: OptimConfig,
    perceptual: PerceptualDistance | None,
    tower: MobileNetV2Tokens | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss and its parts (detached).

    `predicted` and `target`, the truth, are [B, 3, R, R] in about [-1, 1], `core` [B, 1, R, R] the
    hole. Without `perceptual` or `tower`, whose tokens are injected, their terms are left out.
    """
    weight = hole_weight(core, config.outside_weight)
    pixel = ((predicted - target).abs() * weight).mean()
    edges = sum(
        ((a - b).abs() * weight).mean()
        for a, b in zip(gradients(predicted), gradients(target), strict=True)
    )
    total = pixel + config.gradient_weight * edges
    parts = {"pixel": pixel.detach(), "edges": torch.as_tensor(edges).detach()}
    few = max(1, len(target) // PERCEPTUAL_SHARE)
    truth, near = target[:few], functional.max_pool2d(core[:few], 9, 1, 4)
    shown = torch.lerp(truth, predicted[:few], near)
    if perceptual is not None and config.perceptual_weight > 0:
        distance = perceptual(shown, truth, near).mean()
        total = total + config.perceptual_weight * distance
        parts["perceptual"] = distance.detach()
    if tower is not None and config.token_weight > 0:
        distance = token_distance(tower, shown, truth, near).mean()
        total = total + config.token_weight * distance
        parts["tokens"] = distance.detach()
    return total, parts


def temporal_distance(predicted: Tensor, target: Tensor, core: Tensor, places: Tensor) -> Tensor:
    """Return how differently two moments of one swap are off: 0 for a result that keeps still.

    What is off at a place of the one is compared with what is off at the same place of the face in
    the other, so that the warped difference of two results is to be that of the truths.

    Rows 2k and 2k + 1 are the two moments. `predicted` and `target` are [B, 3, R, R], `core`
    [B, 1, R, R], `places` [B, r, r, 2] of `moments.places`, which lie on every (R / r)-th pixel.
    """
    step = target.shape[-1] // places.shape[1]
    middle = slice(step // 2, None, step)
    off = functional.avg_pool2d(torch.cat([predicted - target, core], 1), 3, 1, 1)
    other = off.view(-1, 2, *off.shape[1:]).flip(1).view_as(off)
    there = functional.grid_sample(other, places, align_corners=False)
    here = off[:, :, middle, middle]
    both = here[:, 3:] * there[:, 3:]
    return ((here - there)[:, :3].abs() * both).sum() / (3 * both.sum()).clamp_min(1.0)


def token_distance(tower: MobileNetV2Tokens, result: Tensor, truth: Tensor, core: Tensor) -> Tensor:
    """Return [B] 1 - cosine of the tower's tokens of two [B, 3, R, R], mean over the hole.

    An identity loss, as face swappers have one on a whole face (SimSwap, arXiv 2106.06340),
    on every token of a part.
    """
    with torch.no_grad():
        wanted = tower((truth + 1) / 2)
    found = tower((result + 1) / 2)
    weight = functional.adaptive_avg_pool2d(core, tower.grid).flatten(1)
    distance = 1 - functional.cosine_similarity(found, wanted, dim=2)
    return (distance * weight).sum(1) / weight.sum(1).clamp_min(1e-6)


def held_out_metrics(
    pasted: Tensor, target: Tensor, core: Tensor, perceptual: PerceptualDistance | None
) -> dict[str, Tensor]:
    """Return name -> [B] of pictures that are the truth outside the hole.

    `psnr`: dB. `sharpness`: mean edge in the hole in proportion to the truth's, 1 is as sharp.
    `lpips`: where there is a perceptual distance.
    """
    found = {"psnr": hole_psnr(pasted, target, core), "sharpness": sharpness(pasted, target, core)}
    if perceptual is not None:
        found["lpips"] = perceptual(pasted, target, core)
    return found


def sharpness(picture: Tensor, target: Tensor, core: Tensor) -> Tensor:
    """Return [B] the mean edge of `picture` in the hole in proportion to that of `target`."""
    given, wanted = (
        sum((edges.abs() * core).sum((1, 2, 3)) for edges in gradients(image))
        for image in (picture, target)
    )
    return torch.as_tensor(given) / torch.as_tensor(wanted).clamp_min(1e-6)


def hole_psnr(predicted: Tensor, target: Tensor, core: Tensor) -> Tensor:
    """Return [B] peak signal-to-noise ratio in dB over the hole; pictures in [-1, 1]."""
    error = ((predicted.clamp(-1, 1) - target).square() * core).sum((1, 2, 3))
    mse = error / (3 * core.sum((1, 2, 3))).clamp_min(1) / 4
    return -10 * torch.log10(mse.clamp_min(1e-10))
