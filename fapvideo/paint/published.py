"""The published mode: the pictures, boxes and parts of FuseAnyPart's own inference.

Its networks see a face framed as in FFHQ, three chained boxes (eyes with brows, nose, mouth), the
target with all three holes filled, and each reference's part alone on black. `Pipeline` and
`load_references` take these from here where `denoise.mode = "published"`; nothing of it touches
the other modes.

Source: docs/fuseanypart.md, 1.3, 2 and 4; tests/goldens/PARITY.md, 1, 2 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from fapvideo.errors import PresetError
from fapvideo.mask.boxes import CHAIN, PartBox, chain_boxes
from fapvideo.mask.open_set import FaceBoxes
from fapvideo.mask.parts import part_boxes
from fapvideo.nets.codec import published_hole
from fapvideo.ops.geometry import Matrix, transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR
from fapvideo.structs import Floats

PUBLISHED_PARTS = CHAIN
"""In writing order; all three are painted in every frame, whichever are pasted."""
INTEROCULAR = 0.246
"""Inter-ocular distance as a share of the picture's side, in FFHQ's alignment at 512 px."""
_CROP_EYES, _EYES = (0.5, 0.34), (0.5, 0.469)
"""Middle of a frontal face's eyes, as shares: in our aligned crop, and in FFHQ's alignment."""
_SCALE = INTEROCULAR / CROP_INTEROCULAR
_SHIFT = np.array(_EYES) - _SCALE * np.array(_CROP_EYES)

Sources = Mapping[str, Sequence[tuple[str, float]]]
"""Part -> (path, weight) of each reference image."""


def published_sources(wanted: Sources) -> Sources:
    """Return the references of the published parts; brows come with the eyes.

    Raises:
        PresetError: another part, or brows from another picture than the eyes.
    """
    given = {part: list(sources) for part, sources in wanted.items() if sources}
    brows = given.pop("brows", None)
    if brows is not None and brows != given.get("eyes"):
        raise PresetError(
            "denoise.mode = 'published' swaps the brows with the eyes, as one part:"
            " references.brows is not the picture of references.eyes",
            hint="give eyes and brows the same picture, or leave out brows",
        )
    other = sorted(set(given) - set(PUBLISHED_PARTS))
    if other:
        raise PresetError(
            f"denoise.mode = 'published' has no part {other[0]!r}",
            hint=f"its parts are {', '.join(PUBLISHED_PARTS)}",
        )
    return given


# ------------------------------------------------------------------------------- framing


def framing(size: int, target: int | None = None) -> Matrix:
    """Return the map [2, 3] from our aligned crop of `size` px to the published framing.

    The published pictures are aligned as FFHQ's are: the face is smaller than in our crop.
    `target` is the side of the result, pixels; `size` if not given.
    """
    side = size if target is None else target
    scale = _SCALE * side / size
    return np.array([[scale, 0.0, _SHIFT[0] * side], [0.0, scale, _SHIFT[1] * side]])


def framed_matrix(matrix: Matrix, size: int) -> Matrix:
    """Return frame -> published framing of `size` px, from frame -> our aligned crop."""
    linear, shift = np.split(framing(size), [2], axis=1)
    return linear @ matrix + np.column_stack([np.zeros((2, 2)), shift])


def framed_boxes(found: FaceBoxes) -> FaceBoxes:
    """Return boxes of our aligned crop as shares of the published framing."""
    return FaceBoxes(
        {part: _framed(box) for part, box in found.parts.items()},
        tuple((_framed(box), strength) for box, strength in found.keep_out),
    )


def _framed(box: PartBox) -> PartBox:
    (x, y), (y0, x0, y1, x1) = _SHIFT.tolist(), box
    return _SCALE * y0 + y, _SCALE * x0 + x, _SCALE * y1 + y, _SCALE * x1 + x


# --------------------------------------------------------------------------------- boxes


def published_boxes(
    landmarks: Floats, size: int, found: Mapping[str, PartBox] | None = None
) -> dict[str, PartBox]:
    """Return the chained boxes of eyes (with brows), nose and mouth, in [0, 1], float32 values.

    Args:
        landmarks: [478, 2 or 3] in the picture, pixels.
        size: side of the picture, pixels.
        found: detected boxes of some of the parts; the others are the mesh's outlines'.

    The mesh's nose reaches up between the eyes; its box begins below theirs instead, as in all
    published examples.
    """
    rows = part_boxes(landmarks, ("eyes", "brows", "nose", "mouth"), size)
    eyes = np.concatenate([rows[:2, :2].min(axis=0), rows[:2, 2:].max(axis=0)])
    boxes = {"eyes": _box(eyes), "nose": _box(rows[2]), "mouth": _box(rows[3])}
    boxes |= {part: box for part, box in (found or {}).items() if part in PUBLISHED_PARTS}
    if "nose" not in (found or {}) and boxes["eyes"][2] < boxes["nose"][2]:
        boxes["nose"] = (boxes["eyes"][2], *boxes["nose"][1:])
    chained = chain_boxes(boxes)
    return {part: _box(np.array(chained[part], np.float32)) for part in PUBLISHED_PARTS}


def _box(row: Floats) -> PartBox:
    y0, x0, y1, x1 = (float(edge) for edge in np.clip(row, 0.0, 1.0))
    return y0, x0, y1, x1


def box_rows(boxes: Mapping[str, PartBox]) -> Tensor:
    """Return [3, 4] float32 boxes in the order of `PUBLISHED_PARTS`."""
    return torch.tensor([boxes[part] for part in PUBLISHED_PARTS], dtype=torch.float32)


# ------------------------------------------------------------------------------ pictures


def holes_of(boxes: Tensor, size: int) -> Tensor:
    """Return [N, 1, size, size] in {0, 1}: the union of each sample's boxes [N, K, 4]."""
    return torch.cat([published_hole(rows, size) for rows in boxes])


def part_alone(crop: Floats, landmarks: Floats, part: str, size: int) -> tuple[Tensor, Floats]:
    """Return a reference's part at its own place on black, and its box.

    Args:
        crop: [S, S, 3] our aligned crop, RGB in [0, 1].
        landmarks: [478, 2 or 3] in it, pixels.
        part: one of `PUBLISHED_PARTS`.
        size: side of the model's picture, pixels.

    Returns:
        [1, 3, size, size] in [0, 1] in the published framing, and [4] y0, x0, y1, x1 in [0, 1].
    """
    matrix = framing(crop.shape[0], size)
    picture = warp(crop, matrix, (size, size), border=cv2.BORDER_CONSTANT).astype(np.float32)
    box = published_boxes(transform(matrix, landmarks), size)[part]
    pixels = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].clamp(0, 1)
    row = torch.tensor([box], dtype=torch.float32)
    return pixels * published_hole(row, size), row[0].numpy()
