"""What the networks are given: the hole's colour exactly, and the order of channels."""

from __future__ import annotations

import torch

from fapvideo.nets.inputs import conditioning, fill_hole, part_on_black

FILL = (0.921569, 0.74902, 0.639216)


def test_a_hole_has_the_bundles_colour_and_nothing_else_changes() -> None:
    pictures = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    holes = torch.zeros(2, 1, 8, 8)
    holes[..., 2:5, 3:6] = 1
    for unit, colour in ((False, torch.tensor(FILL)), (True, (torch.tensor(FILL) + 1) / 2)):
        filled = fill_hole(pictures, holes, FILL, unit=unit)
        assert torch.equal(filled[0, :, 3, 4], colour)
        assert torch.equal(filled * (1 - holes), pictures * (1 - holes))
    assert torch.equal(part_on_black(pictures, holes)[..., 2:5, 3:6], pictures[..., 2:5, 3:6])
    assert not part_on_black(pictures, holes)[..., :2, :].any()


def test_channels_are_known_guide_mask_and_noise_lies_in_the_hole_alone() -> None:
    known, guide, noise = (torch.full((1, 2, 4, 4), value) for value in (1.0, 2.0, 3.0))
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0, 0] = 1
    channels = conditioning(known, mask, guide, noise)
    assert channels[0, :, 1, 1].tolist() == [1, 1, 2, 2, 0]
    assert channels[0, :, 0, 0].tolist() == [3, 3, 2, 2, 1]
    assert conditioning(known, mask)[0, :, 0, 0].tolist() == [1, 1, 1]
