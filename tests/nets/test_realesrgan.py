"""The enlarging network reads ncnn's weights, and what it draws is in its place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from enlarger import CubicEnlarger
from portrait import headshot
from torch import nn

from fapvideo.nets.realesrgan import HALF, RRDBNet
from fapvideo.training.faces.alignment import enlarged


def small(seed: int) -> RRDBNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RRDBNet(groups=1).eval()


def ncnn(network: RRDBNet, *, half: bool) -> bytes:
    """Return the weights as ncnn writes them: padded to four bytes after a tag, biases without."""
    parts = []
    for conv in (module for module in network.modules() if isinstance(module, nn.Conv2d)):
        weight = conv.weight.detach().numpy().astype(np.float16 if half else np.float32).tobytes()
        parts.append((HALF if half else 0).to_bytes(4, "little"))
        parts.append(weight + bytes(-len(weight) % 4))
        assert conv.bias is not None
        parts.append(conv.bias.detach().numpy().tobytes())
    return b"".join(parts)


@pytest.mark.parametrize("half", [True, False])
def test_weights_of_ncnn_give_the_same_picture(half: bool) -> None:
    made, other = small(0), small(1)
    rgb = np.asarray(headshot(32), np.float32) / 255
    assert not np.allclose(made.enlarge(rgb), other.enlarge(rgb), atol=1e-3)
    other.load_ncnn(ncnn(made, half=half))
    np.testing.assert_allclose(
        made.enlarge(rgb), other.enlarge(rgb), atol=1e-3 if half else 1e-6, rtol=0
    )
    assert made.enlarge(rgb).shape == (128, 128, 3)


def test_another_networks_weights_are_refused() -> None:
    data = ncnn(small(1), half=True)
    with pytest.raises(ValueError, match="buffer"):
        small(0).load_ncnn(data[:-8])
    with pytest.raises(ValueError, match="8 bytes are left over"):
        small(0).load_ncnn(data + bytes(8))


def test_what_is_drawn_lies_where_the_plain_crop_has_it() -> None:
    photo = headshot(160)
    turn = np.array([[2.3, -0.4], [0.4, 2.3]])
    matrix = np.column_stack([turn, [128, 128] - turn @ [83.3, 77.1]])
    crop = enlarged(photo, matrix, 256, CubicEnlarger())
    half_pixel = matrix[:, 2] + turn @ [0.5, 0.5] - 0.5
    plain = cv2.warpAffine(
        photo,
        np.column_stack([turn, half_pixel]),
        (256, 256),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    assert cv2.PSNR(crop[40:-40, 40:-40], plain[40:-40, 40:-40]) > 40
