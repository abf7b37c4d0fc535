"""Eyes keep the reference's colours under the target's light, whatever the skins differ by."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from portrait import astronaut, astronaut_face

from fapvideo.config.schema import GuideConfig, MaskConfig
from fapvideo.guide.build import GuidePart, build_guide
from fapvideo.guide.eye_light import light_eyes
from fapvideo.guide.eyes import EYES, eye_views, openings
from fapvideo.mask.parts import part_masks
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.structs import Floats

SIZE = 256
IOD = CROP_INTEROCULAR * SIZE
Face = tuple[Floats, Floats]
DARK_SKIN, PINK_SKIN = (0.55, 0.42, 0.36), (1.0, 0.82, 0.88)


@pytest.fixture(scope="module")
def photo() -> Face:
    """The astronaut's crop and landmarks."""
    landmarks = astronaut_face().landmarks
    matrix = crop_matrix(head_pose(landmarks), SIZE)
    picture = astronaut().astype(np.float32) / 255
    crop = warp(picture, matrix, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.clip(crop, 0, 1), transform(matrix, landmarks)


def with_skin(photo: Face, skin: tuple[float, ...], light: tuple[float, ...] = (1, 1, 1)) -> Floats:
    """Return the face with another skin - the eyes are nobody's skin - in another light."""
    crop, landmarks = photo
    eyes = openings(landmarks, SIZE, IOD)[..., None]
    return (crop * (eyes + (1 - eyes) * np.array(skin)) * np.array(light)).astype(np.float32)


def irises(target: Floats, photo: Face) -> list[Floats]:
    """Return the colours of both irises of the guide that puts the photo's eyes on `target`."""
    crop, landmarks = photo
    masks = part_masks([landmarks], ("eyes",), MaskConfig(), SIZE, IOD)
    piece = GuidePart(("eyes",), crop, landmarks, landmarks)
    guide = build_guide(target, landmarks, [piece], masks, GuideConfig(), IOD)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    found = []
    for _, iris in EYES:
        centre = landmarks[iris[0], :2]
        radius = np.linalg.norm(landmarks[list(iris[1:]), :2] - centre, axis=1).mean()
        disc = (np.hypot(x - centre[0], y - centre[1]) < 0.8 * radius) & (
            openings(landmarks, SIZE, IOD) > 0.9
        )
        found.append(guide.picture[disc].mean(axis=0))
    return found


def hue(colour: Floats) -> Floats:
    """Return a colour without its brightness."""
    return colour / colour.sum()


@pytest.mark.parametrize("skin", [DARK_SKIN, PINK_SKIN])
def test_another_skin_does_not_tint_the_irises(photo: Face, skin: tuple[float, ...]) -> None:
    for own, seen in zip(
        irises(photo[0], photo), irises(with_skin(photo, skin), photo), strict=True
    ):
        assert np.abs(hue(seen) - hue(own)).max() < 0.025


def test_warm_light_warms_them(photo: Face) -> None:
    warm = (1.0, 0.85, 0.6)
    target = with_skin(photo, (1, 1, 1), warm)
    for own, seen in zip(irises(photo[0], photo), irises(target, photo), strict=True):
        assert np.abs(hue(seen) - hue(own * np.array(warm))).max() < 0.03
        assert np.abs(hue(own) - hue(own * np.array(warm))).max() > 0.06, "which is no small thing"


def test_both_have_one_colour_under_a_light_from_the_side(photo: Face) -> None:
    crop, _ = photo
    ramp = np.linspace(0.45, 1.0, SIZE, dtype=np.float32)[None, :, None]
    right, left = irises(np.ascontiguousarray(crop * ramp), photo)
    own_right, own_left = irises(crop, photo)
    assert (
        np.abs(hue(right) - hue(left)).max() < np.abs(hue(own_right) - hue(own_left)).max() + 0.01
    )


def test_a_skin_match_below_black_is_no_light(photo: Face) -> None:
    """Pale skin in a dark frame: what is taken off leaves less than nothing of an eye."""
    crop, landmarks = photo
    lit = crop - np.array([0.2, 0.4, 0.9], np.float32)
    views = eye_views(landmarks, landmarks, 0.09, SIZE, IOD)
    light_eyes(lit, crop, crop, landmarks, landmarks, views, IOD)
    inside = openings(landmarks, SIZE, IOD) > 0.99
    assert np.isfinite(lit).all()
    assert (lit[inside] >= 0).all()


def test_closed_eyes_show_nothing(photo: Face) -> None:
    crop, landmarks = photo
    shut = landmarks.copy()
    for lids, _ in EYES:
        shut[list(lids), :2] = shut[list(lids), :2].mean(axis=0)
    masks = part_masks([landmarks], ("eyes",), MaskConfig(), SIZE, IOD)
    piece = GuidePart(("eyes",), crop, landmarks, shut)
    assert np.isfinite(build_guide(crop, shut, [piece], masks, GuideConfig(), IOD).picture).all()


def test_lowered_lids_shade_what_is_behind_them(photo: Face) -> None:
    """Little white is seen: how dark it is between the lids counts, too."""
    crop, landmarks = photo
    narrow = landmarks.copy()
    for lids, _ in EYES:
        middle = narrow[list(lids), 1].mean()
        narrow[list(lids), 1] += 0.7 * (middle - narrow[list(lids), 1])
    inside = openings(narrow, SIZE, IOD)
    in_shade = crop * (1 - 0.75 * inside[..., None])
    masks = part_masks([narrow], ("eyes",), MaskConfig(), SIZE, IOD)
    piece = GuidePart(("eyes",), crop, landmarks, narrow)
    plain, shaded = (
        build_guide(target, narrow, [piece], masks, GuideConfig(), IOD).picture[inside > 0.9].mean()
        for target in (crop, in_shade)
    )
    assert shaded < 0.45 * plain
