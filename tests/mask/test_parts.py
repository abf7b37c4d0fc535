from itertools import pairwise

import numpy as np
import pytest
from portrait import astronaut_face, posed

from fapvideo.config.schema import MaskConfig
from fapvideo.mask.parts import INNER_LIP_SOFTNESS, inner_mouth, part_boxes, part_masks
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform
from fapvideo.ops.image import signed_distance
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.parts import PARTS

SIZE = 160
IOD = CROP_INTEROCULAR * SIZE
ALL = ("eyes", "brows", "nose", "mouth")


def face(size=SIZE, mouth=0.0, **pose):
    """Return [478, 3] landmarks in the aligned crop."""
    head = mesh.canonical().copy()
    lower = list(mesh.LIPS_INNER[1:10])
    head[lower, 1] += mouth * np.sin(np.linspace(0.1, np.pi - 0.1, 9))
    landmarks = posed(head=head, **pose)
    return transform(crop_matrix(head_pose(landmarks), size), landmarks)


def masks(parts=ALL, landmarks=None, size=SIZE, others=(), **config):
    shape = face(size) if landmarks is None else landmarks
    return part_masks([shape, *others], parts, MaskConfig(**config), size, CROP_INTEROCULAR * size)


def at(mask, point):
    """Return the mask's value at (x, y)."""
    return mask[int(point[1]), int(point[0])]


@pytest.mark.parametrize("part", PARTS)
def test_a_mask_is_one_on_its_part_and_zero_away_from_it(part):
    found, shape = masks([part]), face()
    mask = found.parts[part]
    assert mask.dtype == np.float32
    assert mask.min() == 0
    assert mask.max() == 1
    rings = [shape[list(ring), :2] for ring in mesh.outlines(part)]
    distance = signed_distance(rings, SIZE)
    config = MaskConfig()
    grow = -0.16 if part == "face" else config.dilate
    inside = (distance < (grow - 0.02) * IOD) & (found.inner_mouth == 0)
    assert mask[inside].min() > 0.9
    assert mask[distance > (grow + config.feather + 0.02) * IOD].max() < 0.03
    np.testing.assert_allclose(found.hole, mask, atol=1e-6)


def test_the_edge_is_soft_and_as_wide_as_asked():
    """Across the lower lip, from 1 to 0 within the feather."""
    for feather in (0.05, 0.2):
        column = masks(["mouth"], feather=feather).hole[:, SIZE // 2]
        below = column[int(face()[17, 1]) :]
        soft = np.count_nonzero((below > 0) & (below < 1))
        assert soft == pytest.approx(feather * IOD, abs=2)
    hard = masks(["nose"], feather=0.0).hole
    assert np.count_nonzero((hard > 0) & (hard < 1)) < 0.02 * hard.sum()


def test_the_core_contains_the_hole_and_is_hard():
    """Whatever the composite shows has been painted by the model."""
    for landmarks in (face(), face(mouth=0.2), face(yaw=30), astronaut_crop()):
        found = masks(landmarks=landmarks)
        assert set(np.unique(found.core)) <= {0.0, 1.0}
        assert (found.core[found.hole > 0] == 1).all()
        for mask in found.parts.values():
            assert (mask <= found.hole + 1e-6).all()


def astronaut_crop(size=SIZE):
    landmarks = astronaut_face().landmarks
    return transform(crop_matrix(head_pose(landmarks), size), landmarks)


def test_a_face_that_comes_nearer_keeps_its_mask():
    """Growth and feather are fractions of the eye distance: a larger crop, the same mask."""
    small, large = (masks(size=size, keep_inner_mouth=False) for size in (128, 384))
    for part in ALL:
        reduced = large.parts[part].reshape(128, 3, 128, 3).mean(axis=(1, 3))
        assert np.abs(reduced - small.parts[part]).max() < 0.05
        assert reduced.sum() == pytest.approx(small.parts[part].sum(), rel=0.02)


def test_masks_move_by_fractions_of_a_pixel():
    """A face that drifts by a tenth of a pixel a frame never makes its mask pop."""
    steps = []
    last = None
    for i in range(12):
        moved = face() + np.array([0.1 * i, 0.07 * i, 0], np.float32)
        hole = masks(landmarks=moved, keep_inner_mouth=False).hole
        if last is not None:
            steps.append(np.abs(hole - last).max())
        last = hole
    assert max(steps) < 1.5 * 0.13 / (0.1 * IOD)
    assert min(steps) > 0


def test_left_and_right_are_the_persons_own():
    """In the picture of somebody who faces the camera, the own left is on the right."""
    both = masks(["eyes"]).parts["eyes"]
    left = masks(["eyes"], eye_side="left").parts["eyes"]
    right = masks(["eyes"], eye_side="right").parts["eyes"]
    shape = face()
    assert at(left, shape[473]) == 1
    assert at(left, shape[468]) == 0
    assert at(right, shape[468]) == 1
    assert at(right, shape[473]) == 0
    # Between the eyes the last of both soft edges meet.
    np.testing.assert_allclose(np.maximum(left, right), both, rtol=0, atol=2e-4)
    brow = masks(["brows"], eye_side="left").parts["brows"]
    assert brow[:, : SIZE // 2 - 4].max() == 0


def test_the_open_mouth_is_left_out_and_softly():
    shape = face(mouth=0.25)
    found = masks(["mouth"], shape)
    middle = (shape[13] + shape[14]) / 2
    assert at(found.inner_mouth, middle) == 1
    assert at(found.hole, middle) == at(found.core, middle) == 0
    lip = (shape[0] + shape[13]) / 2
    assert at(found.hole, lip) == 1
    assert ((found.hole > 0.05) & (found.hole < 0.95) & (found.inner_mouth > 0)).any()
    whole = masks(["mouth"], shape, keep_inner_mouth=False)
    assert at(whole.hole, middle) == at(whole.core, middle) == 1


def test_closed_lips_have_no_inside():
    """Lips that touch: nothing is cut out between them."""
    shape = face()
    shape[list(mesh.LIPS_INNER[11:])] = shape[list(mesh.LIPS_INNER[1:10])][::-1]
    assert inner_mouth(shape, SIZE, IOD).max() == 0


def test_the_inner_mouth_opens_without_a_jump():
    """From shut to open in small steps the mask grows in small steps."""
    areas = [inner_mouth(face(mouth=0.005 * i), SIZE, IOD) for i in range(30)]
    steps = [np.abs(b - a).max() for a, b in pairwise(areas)]
    assert max(steps) < 1.7 * 0.005 / INNER_LIP_SOFTNESS
    sums = [float(area.sum()) for area in areas]
    assert sums == sorted(sums)
    assert sums[-1] > 30


def test_the_hole_covers_the_old_part_and_the_new_one():
    """A wide nose under a narrow one: both lie in the hole."""
    target, wide = face(), face()
    ring = list(mesh.NOSE)
    middle = wide[ring, 0].mean()
    wide[ring, 0] = middle + 1.35 * (wide[ring, 0] - middle)
    found = masks(["nose"], target, others=[wide])
    for shape in (target, wide):
        distance = signed_distance([shape[ring, :2]], SIZE)
        assert found.hole[distance < 0].min() > 0.95
    assert found.hole.sum() > masks(["nose"], target).hole.sum() * 1.15


def test_nothing_lies_outside_the_face():
    """At a turned head the far brow ends at the outline: no hair, no background."""
    for yaw in (-40, -20, 0, 20, 40):
        shape = face(yaw=yaw)
        found = masks([*ALL, "face"], shape, dilate=0.3)
        outside = signed_distance([shape[list(mesh.FACE_OVAL), :2]], SIZE) > 0.5
        assert found.hole[outside].max() == 0
        assert found.core[outside].max() == 0
        assert max(mask[outside].max() for mask in found.parts.values()) == 0


def test_dilation_grows_the_part_by_as_much_as_asked():
    thin, thick = (masks(["mouth"], dilate=d).hole > 0.5 for d in (0.0, 0.2))
    column = SIZE // 2
    grown = np.flatnonzero(thick[:, column])[-1] - np.flatnonzero(thin[:, column])[-1]
    assert grown == pytest.approx(0.2 * IOD, abs=1.5)


def test_boxes_of_parts_lie_around_their_outlines():
    shape = face()
    boxes = part_boxes(shape, ALL, SIZE)
    assert boxes.shape == (4, 4)
    for part, (y0, x0, y1, x1) in zip(ALL, boxes * SIZE, strict=True):
        points = np.concatenate([shape[list(ring), :2] for ring in mesh.outlines(part)])
        np.testing.assert_allclose((x0, y0), points.min(axis=0), atol=1e-3)
        np.testing.assert_allclose((x1, y1), points.max(axis=0), atol=1e-3)
    away = part_boxes(shape + 500, ALL, SIZE)
    assert away.min() >= 0
    assert away.max() <= 1


def test_masks_of_a_real_face_lie_on_its_parts():
    shape = astronaut_crop()
    found = masks(landmarks=shape)
    for point, part in ((468, "eyes"), (473, "eyes"), (105, "brows"), (4, "nose"), (0, "mouth")):
        assert at(found.parts[part], shape[point]) > 0.9
    cheek, forehead, chin = shape[50], shape[10], shape[152]
    assert all(at(found.hole, point) == 0 for point in (cheek, forehead, chin))
