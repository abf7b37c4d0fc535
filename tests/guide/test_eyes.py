"""Eyes in layers: irises of known places, whole at every gaze, with the target's glint."""

import cv2
import numpy as np
import pytest
from portrait import posed

from fapvideo.guide.eyes import add_glints, eye_views, lay_irises, photo_eyes
from fapvideo.guide.warp import sample, source_map, triangle_map
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose

SIZE = 256
IOD = CROP_INTEROCULAR * SIZE
RADIUS = 0.09
EYES = ((mesh.RIGHT_EYE_LIDS, mesh.RIGHT_IRIS), (mesh.LEFT_EYE_LIDS, mesh.LEFT_IRIS))


def looking(right=0.0, left=0.0, up=0.0):
    """Return crop landmarks whose irises lie so many eye widths to the viewer's right."""
    head = mesh.canonical().copy()
    for (_, iris), x in zip(EYES, (right, left), strict=True):
        width = np.linalg.norm(head[33] - head[133])
        middle = head[list(iris[:1])].copy()
        ring = np.array([[0, 0], [RADIUS, 0], [0, -RADIUS], [-RADIUS, 0], [0, RADIUS]])
        head[list(iris), :2] = middle[:, :2] + ring + [x * width, up * width]
    landmarks = posed(head=head)
    return transform(crop_matrix(head_pose(landmarks), SIZE), landmarks).astype(np.float32)


def painted(landmarks, glint=(0.0, 0.0)):
    """Draw skin, white eyes, dark irises with lighter outer halves, a glint where asked."""
    picture = np.full((SIZE, SIZE, 3), (0.75, 0.55, 0.45), np.float32)
    for lids, iris in EYES:
        eye = picture.copy()
        cv2.fillPoly(eye, [np.round(landmarks[list(lids), :2]).astype(np.int32)], (0.9, 0.9, 0.9))
        white = (eye != picture).any(axis=-1, keepdims=True)
        x, y = landmarks[iris[0], :2]
        for radius, shade in ((RADIUS, 0.3), (0.4 * RADIUS, 0.05)):
            cv2.circle(
                eye, (round(float(x)), round(float(y))), round(radius * IOD), (shade,) * 3, -1
            )
        if any(glint):
            at = (round(float(x + glint[0] * IOD)), round(float(y + glint[1] * IOD)))
            cv2.circle(eye, at, 1, (1.0, 1.0, 1.0), -1)
        picture = np.where(white, eye, picture)
    return picture


def shown(target, photo=None):
    """Return the warped photo with its irises laid where `target` looks."""
    source = looking() if photo is None else photo
    eyes = photo_eyes(painted(source), source)
    where = source_map(target, source, triangle_map(target, SIZE))
    views = eye_views(target, target, eyes.radius, SIZE, IOD)
    return lay_irises(sample(eyes.image, where), target, eyes, views, IOD), eyes


def dark_centre(picture, landmarks, lids):
    """Return (x, y) of what is dark between the lids, and how much there is, pixels."""
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(inside, [np.round(landmarks[list(lids), :2]).astype(np.int32)], 1)
    dark = np.clip(0.6 - picture.mean(axis=-1), 0, None) * inside
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    return np.array([(dark * x).sum(), (dark * y).sum()]) / dark.sum(), float((dark > 0.1).sum())


def test_the_iris_goes_where_the_target_looks_with_slope_one():
    found, own = [], []  # lids cover some of an iris at the side, of the target's own, too
    for shift in (-0.22, -0.1, 0.0, 0.1, 0.22):
        target = looking(shift, shift)
        for places, picture in ((found, shown(target)[0]), (own, painted(target))):
            places.append([dark_centre(picture, target, lids)[0][0] for lids, _ in EYES])
    for eye in range(2):
        slope = np.polyfit(np.array(own)[:, eye], np.array(found)[:, eye], 1)[0]
        assert slope == pytest.approx(1.0, abs=0.1)


def test_crossed_eyes_cross():
    target = looking(0.18, -0.18)
    picture, _ = shown(target)
    for lids, iris in EYES:
        assert abs(dark_centre(picture, target, lids)[0][0] - target[iris[0], 0]) < 0.02 * IOD


def test_an_iris_is_whole_and_leaves_white_behind():
    """Looking aside, as much iris is seen as of the target's own, and white where it was."""
    ahead, aside = looking(), looking(0.2, 0.2)
    picture, _ = shown(aside)

    def seen(picture, landmarks):
        return dark_centre(picture, landmarks, mesh.LEFT_EYE_LIDS)[1]

    kept = seen(picture, aside) / seen(shown(ahead)[0], ahead)
    own = seen(painted(aside), aside) / seen(painted(ahead), ahead)
    assert 0.7 * own < kept < 1.2 * own
    away = ahead[473, :2] - [RADIUS * IOD * 0.55, 0]
    assert picture[int(away[1]), int(away[0])].mean() > 0.75


def test_a_reference_that_looks_aside_gives_the_same_iris():
    target = looking()
    straight, _ = shown(target)
    aside, _ = shown(target, looking(0.12, 0.12))
    for lids, _ in EYES:
        one, other = (dark_centre(p, target, lids)[0] for p in (straight, aside))
        assert np.abs(one - other).max() < 0.015 * IOD


def test_the_glint_is_the_targets():
    """The photo's own goes; the target's comes, where its light puts it."""
    source, target = looking(), looking()
    at = (-0.03, -0.02)
    photo = photo_eyes(painted(source, glint=(0.04, 0.0)), source)
    assert max(texture.max() for texture in photo.irises) < 0.5
    views = eye_views(target, target, photo.radius, SIZE, IOD)
    where = source_map(target, source, triangle_map(target, SIZE))
    picture = lay_irises(sample(photo.image, where), target, photo, views, IOD)
    plain = picture.copy()
    add_glints(picture, painted(target, glint=at), target, views)
    for _, iris in EYES:
        x, y = target[iris[0], :2] + np.array(at) * IOD
        assert picture[round(float(y)), round(float(x))].mean() > 0.8
    assert (np.abs(picture - plain).max(axis=-1) > 0.1).sum() < 40, "a glint is small"


def test_eyes_that_narrow_grow_darker_between_the_lids():
    wide, narrow = looking(), looking()
    for upper, lower in (
        (mesh.RIGHT_EYE_LIDS[1:8], mesh.RIGHT_EYE_LIDS[15:8:-1]),
        (mesh.LEFT_EYE_LIDS[1:8], mesh.LEFT_EYE_LIDS[15:8:-1]),
    ):
        narrow[list(upper)] = narrow[list(lower)] + 0.3 * (
            narrow[list(upper)] - narrow[list(lower)]
        )
    white = []
    for landmarks in (wide, narrow):
        picture, _ = shown(landmarks)
        inside = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(inside, [np.round(landmarks[list(EYES[0][0]), :2]).astype(np.int32)], 1)
        white.append(np.percentile(picture[inside > 0].mean(axis=-1), 90))
    assert white[1] < 0.85 * white[0]


@pytest.mark.parametrize("off", [(0.0, 0.0), (0.15, 0.0), (-0.1, 0.12)])
def test_a_pupil_is_round_and_in_the_middle_where_the_mesh_is_off(off):
    """The mesh misses an iris' middle by a tenth or two of its radius."""
    source = looking()
    missed = source.copy()
    for _, iris in EYES:
        missed[list(iris), :2] += np.array(off) * RADIUS * IOD
    for texture in photo_eyes(painted(source, glint=(-0.03, -0.03)), missed).irises:
        dark = np.clip(0.15 - texture.mean(axis=-1), 0, None)
        y, x = np.mgrid[: len(texture), : len(texture)] + 0.5
        inside = np.hypot(x - 32, y - 32) < 24
        dark *= inside
        middle = np.array([(dark * x).sum(), (dark * y).sum()]) / dark.sum()
        assert np.abs(middle - 32).max() < 2.0, middle
