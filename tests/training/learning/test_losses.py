"""The loss is zero for the truth, and weighs what is in the hole."""

from __future__ import annotations

import pytest
import torch
from portrait import headshot
from torch import Tensor

from fapvideo.config.train import OptimConfig
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.training.learning.losses import (
    hole_psnr,
    hole_weight,
    restoration_loss,
    sharpness,
    token_distance,
)
from fapvideo.training.learning.network import Ema
from fapvideo.training.learning.task import TrainedNetwork
from fapvideo.weights.bundle import load_bundle

CONFIG = OptimConfig(outside_weight=0.1)


@pytest.fixture
def target() -> Tensor:
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def core() -> Tensor:
    core = torch.zeros(4, 1, 64, 64)
    core[..., 16:48, 16:48] = 1
    return core


@pytest.fixture(scope="module")
def perceptual() -> PerceptualDistance:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        distance = PerceptualDistance()
    for name, parameter in distance.named_parameters():
        if name.startswith("lin"):
            parameter.abs_()
    return distance


@pytest.fixture(scope="module")
def tower() -> MobileNetV2Tokens:
    module = load_bundle("embedded").encoder.module
    assert isinstance(module, MobileNetV2Tokens)
    return module


def test_the_truth_costs_nothing(
    target: Tensor, core: Tensor, perceptual: PerceptualDistance, tower: MobileNetV2Tokens
) -> None:
    config = CONFIG.model_copy(update={"token_weight": 1.0})
    loss, parts = restoration_loss(target.clone(), target, core, config, perceptual, tower)
    assert set(parts) == {"pixel", "edges", "perceptual", "tokens"}
    assert float(loss) == pytest.approx(0, abs=1e-5)
    worse = restoration_loss(target * 0.5, target, core, config, perceptual, tower)[1]
    assert all(float(part) > 0.01 for part in worse.values())


def test_an_error_in_the_hole_weighs_more(target: Tensor, core: Tensor) -> None:
    def pixel(where: Tensor) -> float:
        config = OptimConfig(outside_weight=0.1, gradient_weight=0)
        return float(restoration_loss(target + 0.1 * where, target, core, config, None)[0])

    ring = torch.roll(core, (32, 32), (2, 3)) * (1 - core)
    inside, outside = pixel(core) / float(core.sum()), pixel(ring) / float(ring.sum())
    assert inside == pytest.approx(10 * outside, rel=1e-3)


def test_tokens_say_what_a_part_looks_like_and_only_in_the_hole(tower: MobileNetV2Tokens) -> None:
    """A mouth upside down is further off than the same mouth in other light."""
    face = torch.from_numpy(headshot(256)).permute(2, 0, 1)[None] / 127.5 - 1
    core = torch.zeros_like(face[:, :1])
    core[..., 150:200, 80:180] = 1
    darker, turned = face * 0.9 - 0.1, torch.flip(face, (2,))
    result = torch.lerp(face, turned, core).requires_grad_()
    other = token_distance(tower, result, face, core)
    other.sum().backward()
    light = token_distance(tower, torch.lerp(face, darker, core), face, core)
    outside = token_distance(tower, torch.lerp(turned, face, core), face, core)
    assert float(other.detach()) > 2 * float(light)
    assert float(other.detach()) > 1.5 * float(outside)
    assert result.grad is not None
    assert float(result.grad[..., 150:200, 80:180].abs().mean()) > 0
    assert not any(parameter.requires_grad for parameter in tower.parameters())


def test_weights_have_mean_one_whatever_the_hole(core: Tensor) -> None:
    core[0] = 0
    core[1] = 1
    weight = hole_weight(core, 0.1)
    torch.testing.assert_close(weight.mean((1, 2, 3)), torch.ones(4))


def test_what_is_outside_the_hole_does_not_count_in_psnr(target: Tensor, core: Tensor) -> None:
    wrong = torch.lerp(torch.zeros_like(target), (target + 0.2).clamp(-1, 1), core)
    target = target.clamp(-0.8, 0.8)
    wrong = torch.lerp(wrong, target + 0.2, core)
    # An error of 0.2 in [-1, 1] is 0.1 of the range: 20 dB.
    torch.testing.assert_close(
        hole_psnr(wrong, target, core), torch.full((4,), 20.0), atol=1e-3, rtol=0
    )


def test_sharpness_is_that_of_the_hole(target: Tensor, core: Tensor) -> None:
    found = sharpness(torch.lerp(torch.zeros_like(target), target * 0.5, core), target, core)
    # The border of the hole adds an edge of its own.
    torch.testing.assert_close(found, torch.full((4,), 0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(sharpness(target, target, core), torch.ones(4))


class Line(TrainedNetwork):
    """One trained number and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.frozen = torch.nn.Parameter(torch.zeros(1), requires_grad=False)


def test_the_average_follows_slowly_but_forgets_the_start() -> None:
    module = Line()
    ema = Ema(module, 0.9)
    torch.nn.init.ones_(module.weight)
    expected = 0.0
    for step in range(40):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay)
        ema.update(module, step)
    assert float(ema.state["weight"]) == pytest.approx(expected, rel=1e-5)
    assert 0.9 < expected < 1
    assert "frozen" not in ema.state
