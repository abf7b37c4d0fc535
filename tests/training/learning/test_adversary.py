"""The adversary: judges the hole, in proportion to the other losses, and learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fapvideo.config.train import OptimConfig
from fapvideo.nets.discriminator import PatchDiscriminator
from fapvideo.training.learning.adversary import Adversary
from fapvideo.training.learning.processes import ALONE

CPU = torch.device("cpu")
OPTIM = OptimConfig(adversarial_weight=0.5, adversarial_start=0.8, steps=1000)
ALL = torch.arange(4)


@pytest.fixture
def target() -> Tensor:
    """Return four pictures of fine stripes."""
    wave = torch.sin(torch.arange(64) * 2.0).expand(4, 3, 64, 64)
    return wave * torch.rand(4, 3, 1, 1, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def core() -> Tensor:
    core = torch.zeros(4, 1, 64, 64)
    core[..., 16:48, 16:48] = 1
    return core


def adversary() -> Adversary:
    return Adversary(OPTIM, 3, CPU, ALONE)


def asked_for(one: Adversary, picture: Tensor, target: Tensor, core: Tensor) -> Tensor:
    """Return the gradient at the picture."""
    predicted = picture.clone().requires_grad_()
    one.judge(predicted, target, core, ALL).backward()
    assert predicted.grad is not None
    return predicted.grad


def test_it_learns_first_and_then_gets_its_say() -> None:
    one = adversary()
    assert [one.acts(step) for step in (0, 799, 800)] == [False, False, True]
    assert [one.weight(step) for step in (0, 799, 819)] == [0.0, 0.0, 0.0]
    assert one.weight(829) == pytest.approx(0.25)
    assert one.weight(839) == one.weight(999) == 0.5


def test_it_looks_at_the_hole_of_those_it_judges(target: Tensor, core: Tensor) -> None:
    one, predicted = adversary(), (target * 0.5).requires_grad_()
    one.judge(predicted, target, core, torch.tensor([1, 2])).backward()
    assert predicted.grad is not None
    assert not predicted.grad[[0, 3]].any()
    assert predicted.grad[1].any()
    assert not (predicted.grad * (1 - core)).any()
    assert all(value.grad is None for value in one.network.parameters())


@pytest.mark.slow
def test_it_learns_to_tell_soft_from_sharp_and_asks_for_sharp(target: Tensor, core: Tensor) -> None:
    """Stripes at half their strength are found out; then its say is: stronger stripes."""
    one, soft = adversary(), target * 0.5
    quiet = asked_for(one, soft, target, core).norm()
    losses = []
    for _ in range(60):
        asked_for(one, soft, target, core)
        losses.append(float(one.learn()["discriminator"]))
    assert losses[-1] < 0.5 * losses[0]
    assert one.learn() == {}, "one lesson for each judgement"
    wanted = asked_for(one, soft, target, core)
    assert float((wanted * target * core).sum()) < 0, "a step against the gradient adds stripes"
    assert quiet < 0.1 * wanted.norm(), "what has learnt nothing says next to nothing"


def test_the_discriminator_is_smooth_whatever_it_learnt() -> None:
    """Spectral normalisation: no layer makes anything longer than it was."""
    torch.manual_seed(0)
    network = PatchDiscriminator()
    assert 0.4e6 < sum(value.numel() for value in network.parameters()) < 0.6e6
    picture, hole = torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(50)
        for _ in range(30):
            network(picture, hole)
    network.eval().requires_grad_(False)
    logits, others = network(picture, hole), network(picture + 0.01, hole)
    assert logits.shape == (2, 1, 8, 8)
    assert float((logits - others).abs().max()) < 1
