import pytest
import torch

from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.weights.embedded import embedded_tower


@pytest.fixture(scope="module")
def tower():
    return embedded_tower()


def plain(tower):
    """Return a tower with the same weights that is not folded."""
    other = MobileNetV2Tokens()
    other.load_state_dict(tower.state_dict())
    return other


@torch.no_grad()
def test_folded_norms_change_nothing_but_rounding(tower):
    pictures = torch.rand(2, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    one, other = tower(pictures), plain(tower)(pictures)
    assert not torch.equal(one, other), "it is folded"
    assert torch.allclose(one, other, rtol=0, atol=1e-4)
    picture = (pictures[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    for a, b in zip(tower.maps(picture, (2, 9)), plain(tower).maps(picture, (2, 9)), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_other_numbers_and_parameters_are_seen(tower):
    """What was folded is of the parameters as they were: a conversion undoes it."""
    pictures = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    half = plain(tower).fold().to(torch.bfloat16)
    assert half(pictures).dtype == torch.bfloat16
    assert half.fold()(pictures).dtype == torch.bfloat16
    assert set(half.state_dict()) == set(MobileNetV2Tokens().state_dict())
