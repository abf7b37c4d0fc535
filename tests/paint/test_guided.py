"""What the painter keeps of the guide whatever the network says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from portrait import astronaut_face

from fapvideo.config.schema import MaskConfig
from fapvideo.mask.parts import part_masks
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform
from fapvideo.ops.image import luma
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.paint.guided import faded_at_the_rim, with_own_eyes
from fapvideo.structs import Floats

SIZE = 160
GREEN = np.array([-0.05, 0.08, -0.02], np.float32)


def job(shut: bool) -> Any:
    """Return a grey guide of a face whose eyes are open, or of one who has them shut."""
    shape = astronaut_face().landmarks.copy()
    pose = head_pose(shape)
    neutral = pose.to_head(shape)
    if shut:
        for lids in (mesh.RIGHT_EYE_LIDS, mesh.LEFT_EYE_LIDS):
            shape[list(lids[1:8])] = shape[list(lids[15:8:-1])]
    matrix = crop_matrix(pose, SIZE)
    points = transform(matrix, shape)
    masks = part_masks([points], ("eyes",), MaskConfig(), SIZE, CROP_INTEROCULAR * SIZE)
    track = SimpleNamespace(track=SimpleNamespace(neutral=neutral))
    placement = SimpleNamespace(landmarks=shape)
    face = SimpleNamespace(pose=pose, placement=placement, target=track, landmarks=points)
    guide = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    return SimpleNamespace(face=face, masks=masks, guide=guide, wanted={"eyes": points})


def beside_the_right_eye(picture: Floats, given: Any) -> Floats:
    """Return [3] the colour of the lid over the right eye's crease."""
    x, y = given.face.landmarks[[27, 29], :2].mean(axis=0).astype(int)
    return picture[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1))


def test_lids_take_light_and_no_cast() -> None:
    given = job(shut=False)
    painted = with_own_eyes(given.guide + GREEN, given)
    lid = beside_the_right_eye(painted, given)
    np.testing.assert_allclose(lid, 0.5 + float(luma(GREEN)), atol=0.01)
    far = painted[-10:, 70:90].mean(axis=(0, 1))
    np.testing.assert_allclose(far, 0.5 + GREEN, atol=1e-5)


def test_shut_lids_are_left_alone() -> None:
    """The network darkens what it takes for the shade of an open eye."""
    given = job(shut=True)
    painted = with_own_eyes(given.guide - 0.2, given)
    np.testing.assert_allclose(beside_the_right_eye(painted, given), 0.5, atol=0.01)
    opened = job(shut=False)
    dark = with_own_eyes(opened.guide - 0.2, opened)
    assert beside_the_right_eye(dark, opened).max() < 0.35


def test_lashes_are_made_black_again() -> None:
    """The tint that matching two skins leaves on what is dark is the network's to take out."""
    given = job(shut=False)
    x, y = given.face.landmarks[[27, 29], :2].mean(axis=0).astype(int)
    given.guide[y - 2 : y + 3, x - 2 : x + 3] = 0.2
    painted = with_own_eyes(given.guide + GREEN, given)
    np.testing.assert_allclose(beside_the_right_eye(painted, given), 0.2 + GREEN, atol=0.01)


def test_the_guide_is_what_meets_the_surroundings() -> None:
    """The membrane has matched it to them: a correction of the whole part is a step at the rim."""
    guide = np.full((64, 64, 3), 0.5, np.float32)
    hole = np.zeros((64, 64), np.float32)
    hole[8:56, 8:56] = 1.0
    hole[30:34, 30:34] = 0.0  # an opening, as between lips
    painted = faded_at_the_rim(guide + 0.2, guide, hole, interocular=100.0)
    across = (painted - guide)[20, :, 0]
    assert across[:8].max() == 0.0
    assert across[8:10].max() < 0.02, "nothing at the rim"
    assert across[19] == pytest.approx(0.2 * (12 / 12), abs=0.01), "all of it well inside"
    assert (np.diff(across[8:20]) >= 0).all()
    assert np.diff(across).max() < 0.03, "and no step on the way"
    assert (painted - guide)[29:35, 29:35].max() < 0.02
