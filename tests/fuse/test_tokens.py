"""Fusion of tokens: the published rule exactly, and the continuous one's promises."""

from __future__ import annotations

import pytest
import torch
from golden_vectors import golden, golden_manifest, manifest_of
from torch import Tensor

from fapvideo.fuse.tokens import (
    PartSource,
    fuse_fractional,
    fuse_parity,
    grid_of,
    resample_tokens,
    without_cls,
)

torch.set_num_threads(1)
PARTS = ("eyes", "nose", "mouth")


def test_all_published_cases_exactly() -> None:
    data = golden("fusion")
    face, parts = data["face"], [data[name] for name in PARTS]
    before = face.clone()
    for number, name in enumerate(manifest_of("fusion")["cases"]):
        fused = fuse_parity(face, parts, data["boxes"][number])
        assert torch.equal(fused[0], data["fused"][number]), name
        # rounding of float64 boxes to float32 belongs to the rule
        fused = fuse_parity(face, parts, data["boxes_float64"][number])
        assert torch.equal(fused[0], data["fused"][number]), name
    assert torch.equal(face, before)  # unlike the published function, which writes into it


def test_where_each_token_comes_from_for_200_boxes() -> None:
    data = golden("fusion")
    labels = torch.arange(4 * 257, dtype=torch.float32).reshape(4, 1, 257, 1)
    for boxes, wanted in zip(data["map_boxes"], data["maps"], strict=True):
        fused = fuse_parity(labels[0], list(labels[1:]), boxes)
        assert torch.equal(fused.flatten().to(torch.int16), wanted)


def test_a_batch_with_its_own_boxes_exactly() -> None:
    data = golden("fusion")
    parts = [data[f"batch_{name}"] for name in PARTS]
    fused = fuse_parity(data["batch_face"], parts, data["batch_boxes"])
    assert torch.equal(fused, data["batch_fused"])


def test_boxes_the_published_code_fails_on_are_clamped() -> None:
    data = golden("fusion")
    face, parts = data["face"], [data[name] for name in PARTS]
    for case in golden_manifest()["fusion_edge_cases"]:
        fused = fuse_parity(face, parts, torch.tensor(case["boxes"]))
        assert torch.equal(fused[:, 0], face[:, 0])
        replaced = (fused != face).any(-1).sum().item()
        if case["result"] == "ok":
            assert replaced == case["replaced_tokens"], case["case"]


@pytest.mark.parametrize("mistake", ["round", "nearest-exact", "sources first", "reversed order"])
def test_typical_mistakes_are_seen(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = golden("fusion")
    parts, boxes = [data[name] for name in PARTS], data["boxes"]
    if mistake == "round":
        boxes = boxes + 0.5 / 16
    elif mistake == "sources first":
        boxes = boxes[:, [3, 4, 5, 0, 1, 2]]
    elif mistake == "reversed order":
        parts, boxes = parts[::-1], boxes[:, [2, 1, 0, 5, 4, 3]]
    else:
        monkeypatch.setattr(
            "fapvideo.fuse.tokens._nearest_indices",
            lambda span, n, side: [
                min(span[0] + int((i + 0.5) * (span[1] - span[0]) / n), side - 1) for i in range(n)
            ],
        )
    fused = [fuse_parity(data["face"], parts, b)[0] for b in boxes]
    assert not torch.equal(torch.stack(fused), data["fused"])


# ------------------------------------------------------------------------------- fractional

G, C = 16, 5


def smooth_tokens(seed: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, G * G, C, generator=generator)


def ones() -> Tensor:
    return torch.ones(1, 1, G, G)


def boxed(*values: float) -> Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-3, 4)])
def test_aligned_boxes_of_equal_size_agree_with_parity(shift: tuple[int, int]) -> None:
    face, part = smooth_tokens(1), smooth_tokens(2)
    source = boxed(5, 4, 8, 11) / G
    target = source + boxed(*shift, *shift) / G
    exact = fuse_parity(face, [part], torch.stack([target, source]))
    y0, x0, y1, x1 = (target * G).round().int().tolist()
    mask = torch.zeros(1, 1, G, G)
    mask[..., y0:y1, x0:x1] = 1
    fused = fuse_fractional(face, [[PartSource(part, source)]], target[None], mask)
    assert torch.allclose(fused, exact, atol=1e-6)


def test_halving_a_part_takes_the_mean_of_its_tokens() -> None:
    part = smooth_tokens(3)
    moved = resample_tokens(part, boxed(4, 4, 12, 12)[None] / G, boxed(6, 6, 10, 10)[None] / G)
    wanted = part.unflatten(1, (G, G))[:, 4:12, 4:12].unflatten(1, (4, 2)).unflatten(3, (4, 2))
    got = moved.unflatten(1, (G, G))[:, 6:10, 6:10]
    assert torch.allclose(got, wanted.mean((2, 4)), atol=1e-6)


@pytest.mark.parametrize("which", ["source", "target"])
@pytest.mark.parametrize("edge", [0, 1, 2, 3])
def test_moving_a_box_by_epsilon_moves_tokens_by_epsilon(which: str, edge: int) -> None:
    """No pops: 200 small steps across several tokens, none changes the tokens by more than K."""
    part = smooth_tokens(4)
    boxes = {"source": boxed(0.3, 0.2, 0.52, 0.61), "target": boxed(0.4, 0.33, 0.5, 0.7)}
    epsilon, previous = 1e-3, None
    for _ in range(200):
        moved = resample_tokens(part, boxes["source"][None], boxes["target"][None])
        if previous is not None:
            # Lipschitz: G tokens per unit, magnification under 4, neighbours differ by under 10.
            assert (moved - previous).abs().max() < epsilon * G * 4 * 10
        previous = moved
        boxes[which] = boxes[which] + epsilon * torch.eye(4)[edge] * (1 if edge > 1 else -1)
    start = resample_tokens(
        part, boxed(0.3, 0.2, 0.52, 0.61)[None], boxed(0.4, 0.33, 0.5, 0.7)[None]
    )
    assert (previous - start).abs().max() > 0.05


def test_parity_pops_where_fractional_does_not() -> None:
    face, part = smooth_tokens(5), smooth_tokens(6)
    source = boxed(0.4, 0.4, 0.6, 0.6)
    here, there = boxed(0.4, 0.4, 0.6249, 0.6), boxed(0.4, 0.4, 0.6251, 0.6)
    pop = fuse_parity(face, [part], torch.stack([here, source])) - fuse_parity(
        face, [part], torch.stack([there, source])
    )
    calm = fuse_fractional(face, [[PartSource(part, source)]], here[None], ones()) - (
        fuse_fractional(face, [[PartSource(part, source)]], there[None], ones())
    )
    assert pop.abs().max() > 1.0
    assert calm.abs().max() < 0.01


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 0),
        (0.5, 0.5, 0.5, 0.5),
        (1, 1, 1, 1),
        (0.97, 0.97, 1.4, 1.2),
        (-0.3, -0.2, 0.1, 0.05),
        (0, 0, 1, 1),
        (-1, -1, 2, 2),
    ],
)
def test_any_box_gives_a_convex_mean_of_source_tokens(box: tuple[float, ...]) -> None:
    part = smooth_tokens(7)
    for source, target in ((box, (0.2, 0.2, 0.5, 0.5)), ((0.2, 0.2, 0.5, 0.5), box), (box, box)):
        moved = resample_tokens(part, boxed(*source)[None], boxed(*target)[None])
        assert torch.isfinite(moved).all()
        assert moved.min() >= part.min() - 1e-5
        assert moved.max() <= part.max() + 1e-5


def test_nothing_from_around_the_part_enters() -> None:
    part = torch.full((1, G, G, C), 100.0)
    part[:, 4:9, 3:7] = 1.0
    moved = resample_tokens(
        part.flatten(1, 2), boxed(4, 3, 9, 7)[None] / G, boxed(0.13, 0.2, 0.71, 0.93)[None]
    )
    assert torch.allclose(moved, torch.ones_like(moved))


def test_soft_mask_mixes_and_cls_stays() -> None:
    face, part = torch.cat([torch.full((1, 1, C), 9.0), smooth_tokens(8)], 1), smooth_tokens(9)
    whole = boxed(0, 0, 1, 1)
    mask = torch.rand(1, 1, G, G)
    fused = fuse_fractional(face, [[PartSource(part, whole)]], whole[None], mask)
    m = mask.flatten(1)[..., None]
    assert torch.allclose(fused[:, 1:], m * part + (1 - m) * face[:, 1:], atol=1e-6)
    assert torch.equal(fused[:, 0], face[:, 0])
    with_cls = torch.cat([torch.full((1, 1, C), 7.0), part], 1)  # as an encoder returns it
    again = fuse_fractional(face, [[PartSource(with_cls, whole)]], whole[None], mask)
    assert torch.equal(again, fused)


def test_later_parts_lie_over_earlier_ones() -> None:
    face, a, b = smooth_tokens(10), smooth_tokens(11), smooth_tokens(12)
    whole = boxed(0, 0, 1, 1)
    both = ones().repeat(1, 2, 1, 1)
    first = fuse_fractional(
        face, [[PartSource(a, whole)], [PartSource(b, whole)]], whole.repeat(2, 1), both
    )
    assert torch.allclose(first, b, atol=1e-6)


def test_order_and_weights_of_several_references() -> None:
    face, a, b = smooth_tokens(13), smooth_tokens(14), smooth_tokens(15)
    box, target = boxed(0.2, 0.2, 0.5, 0.6), boxed(0.3, 0.2, 0.5, 0.7)[None]
    one, two = PartSource(a, box, 3.0), PartSource(b, box + 0.05, 1.0)
    mixed = fuse_fractional(face, [[one, two]], target, ones())
    assert torch.allclose(mixed, fuse_fractional(face, [[two, one]], target, ones()), atol=1e-6)
    alone = [fuse_fractional(face, [[s]], target, ones()) for s in (one, two)]
    assert torch.allclose(mixed, 0.75 * alone[0] + 0.25 * alone[1], atol=1e-5)


def test_samples_do_not_depend_on_their_batch() -> None:
    batch = 5
    face, part = smooth_tokens(16, batch), smooth_tokens(17)
    targets, masks = torch.rand(batch, 1, 4).sort(-1).values, torch.rand(batch, 1, G, G)
    source = PartSource(part, boxed(0.1, 0.3, 0.4, 0.6))
    together = fuse_fractional(face, [[source]], targets, masks)
    for i in range(batch):
        row = slice(i, i + 1)
        single = fuse_fractional(face[row], [[source]], targets[row], masks[row])
        assert torch.allclose(single, together[row], atol=1e-6)


def test_gradients_reach_tokens_and_boxes() -> None:
    face, part = smooth_tokens(18).requires_grad_(), smooth_tokens(19).requires_grad_()
    source, target = boxed(0.2, 0.2, 0.63, 0.61), boxed(0.31, 0.2, 0.5, 0.7)[None]
    source.requires_grad_()
    target.requires_grad_()
    mask = torch.full((1, 1, G, G), 0.5)
    fuse_fractional(face, [[PartSource(part, source)]], target, mask).square().sum().backward()
    for tensor in (face, part, source, target):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


def test_wrong_counts_and_weights_are_refused() -> None:
    face, whole = smooth_tokens(20), boxed(0, 0, 1, 1)
    source = PartSource(face, whole)
    with pytest.raises(ValueError, match="2 parts, 1 target"):
        fuse_fractional(face, [[source], [source]], whole[None], ones())
    with pytest.raises(ValueError, match="positive weight"):
        fuse_fractional(face, [[PartSource(face, whole, 0.0)]], whole[None], ones())
    with pytest.raises(ValueError, match="positive weight"):
        fuse_fractional(face, [[]], whole[None], ones())
    with pytest.raises(ValueError, match="square"):
        grid_of(torch.zeros(1, 7, 3))
    assert without_cls(torch.zeros(1, 257, 3)).shape == (1, 256, 3)
