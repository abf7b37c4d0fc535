"""The adversary: judges the hole, in proportion to the other losses, and learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fapvideo.config.train import OptimConfig
from fapvideo.nets.discriminator import PatchDiscriminator
from fapvideo.training.adversary import Adversary
from fapvideo.training.processes import ALONE

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


def joined(one: Adversary, picture: Tensor, target: Tensor, core: Tensor, weight: float) -> Tensor:
    """Return the gradient at the picture."""
    predicted = picture.clone().requires_grad_()
    loss = (predicted - target).abs().mean()
    total, _ = one.join(loss, predicted, target, core, ALL, weight)
    total.backward()
    assert predicted.grad is not None
    return predicted.grad


def test_it_acts_in_the_last_part_and_rises() -> None:
    one = adversary()
    assert [one.weight(step) for step in (0, 799)] == [0.0, 0.0]
    assert one.weight(809) == pytest.approx(0.25)
    assert one.weight(819) == one.weight(999) == 0.5


def test_its_say_is_in_proportion_and_in_the_hole(target: Tensor, core: Tensor) -> None:
    one, picture = adversary(), target * 0.5
    plain = torch.sign(picture - target) / target.numel()
    for weight in (0.1, 0.5):
        more = joined(one, picture, target, core, weight) - plain
        assert float(more.norm() / plain.norm()) == pytest.approx(weight, rel=1e-3)
        assert not (more * (1 - core)).any()


def test_samples_that_are_not_judged_are_left_alone(target: Tensor, core: Tensor) -> None:
    predicted = (target * 0.5).requires_grad_()
    loss = (predicted - target).abs().mean()
    total, _ = adversary().join(loss, predicted, target, core, torch.tensor([1]), 0.5)
    total.backward()
    assert predicted.grad is not None
    plain = torch.sign(predicted.detach() - target) / target.numel()
    assert torch.equal(predicted.grad[0], plain[0])
    assert not torch.equal(predicted.grad[1], plain[1])


def test_it_learns_to_tell_soft_from_sharp_and_asks_for_sharp(target: Tensor, core: Tensor) -> None:
    """Stripes at half their strength are found out; then their say is: stronger stripes."""
    one, soft = adversary(), target * 0.5
    losses = []
    for _ in range(60):
        joined(one, soft, target, core, 0.5)
        losses.append(float(one.learn()["discriminator"]))
    assert losses[-1] < 0.5 * losses[0]
    assert one.learn() == {}, "one lesson for each join"
    plain = torch.sign(soft - target) / target.numel()
    more = joined(one, soft, target, core, 0.5) - plain
    assert float((more * target * core).sum()) < 0, "a step against the gradient adds stripes"


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
