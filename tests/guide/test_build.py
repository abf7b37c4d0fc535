from dataclasses import replace

import cv2
import numpy as np
import pytest
from portrait import astronaut, astronaut_face, posed

from fapvideo.config.schema import GuideConfig, MaskConfig
from fapvideo.guide.build import GuidePart, build_guide, closed_eyes, pieces_by_reference
from fapvideo.mask.parts import part_masks
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose

SIZE = 160
IOD = CROP_INTEROCULAR * SIZE
ALL = ("eyes", "brows", "nose", "mouth")
AS_IT_IS = {"colour": 0.0, "light": 0.0, "membrane": False}


@pytest.fixture(scope="module")
def target():
    """The astronaut's face in its aligned crop, and its landmarks there."""
    landmarks = astronaut_face().landmarks
    matrix = crop_matrix(head_pose(landmarks), SIZE)
    crop = warp(
        astronaut().astype(np.float32) / 255, matrix, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(crop, 0, 1), transform(matrix, landmarks)


def build(target, pieces, **config):
    """Return the guide and the masks."""
    crop, landmarks = target
    parts = tuple(part for piece in pieces for part in piece.parts)
    shapes = [landmarks, *(piece.points for piece in pieces)]
    masks = part_masks(shapes, parts, MaskConfig(), SIZE, IOD)
    return build_guide(crop, landmarks, pieces, masks, GuideConfig(**config), IOD), masks


def the_same(target, parts=ALL, image=None, source=None):
    """Return the target itself as its own reference, perhaps with another picture."""
    crop, landmarks = target
    image = crop if image is None else image
    return GuidePart(parts, image, landmarks if source is None else source, landmarks)


def error(guide, crop, masks):
    """Return the mean difference inside the hole, in 8-bit steps."""
    return float(np.abs(guide.picture - crop)[masks.core > 0].mean() * 255)


def test_a_face_as_its_own_reference_comes_back(target):
    guide, masks = build(target, [the_same(target)])
    assert error(guide, target[0], masks) < 1.5
    assert guide.picture.dtype == np.float32
    assert guide.picture.shape == target[0].shape


def test_nothing_changes_outside_the_core(target):
    other = the_same(target, image=np.zeros_like(target[0]))
    guide, masks = build(target, [other], **AS_IT_IS)
    np.testing.assert_array_equal(guide.picture[masks.core == 0], target[0][masks.core == 0])
    assert guide.picture[masks.core > 0].mean() < 0.02


@pytest.mark.parametrize("tint", [(0.6, 0.6, 0.6), (1.1, 0.85, 0.75), (0.75, 1.0, 1.15)])
def test_a_tinted_reference_comes_back_in_the_targets_colours(target, tint):
    tinted = np.clip(target[0] * np.array(tint, np.float32), 0, 1)
    matched, masks = build(target, [the_same(target, image=tinted)])
    raw, _ = build(target, [the_same(target, image=tinted)], **AS_IT_IS)
    assert error(matched, target[0], masks) < 0.3 * error(raw, target[0], masks)
    ring, _ = build(target, [the_same(target, image=tinted)], light=0.0, membrane=False)
    assert error(ring, target[0], masks) < 0.5 * error(raw, target[0], masks)


def test_a_reference_in_any_resolution_and_place(target):
    """Its photo may be three times as large and turned: the landmarks say what is where."""
    matrix = np.array([[3 * np.cos(0.5), -3 * np.sin(0.5), 160.0],
                       [3 * np.sin(0.5), 3 * np.cos(0.5), -20.0]])  # fmt: skip
    photo = warp(target[0], matrix, (560, 560), interpolation=cv2.INTER_CUBIC)
    piece = GuidePart(ALL, photo, transform(matrix, target[1]), target[1])
    guide, masks = build(target, [piece])
    assert error(guide, target[0], masks) < 3


def rim_step(guide, masks):
    """Return the mean step across the border of the hole on the skin, in 8-bit steps."""
    inside = masks.core > 0
    steps = []
    for axis in (0, 1):
        border = np.diff(inside.astype(np.int8), axis=axis) != 0
        step = np.abs(np.diff(guide.picture, axis=axis)).mean(axis=-1)
        steps.append(step[border])
    return float(np.median(np.concatenate(steps)) * 255)


def test_the_membrane_closes_the_seam(target):
    """A reference that is a little brighter all over, more so on one side."""
    slope = np.linspace(0.03, 0.12, SIZE, dtype=np.float32)[None, :, None]
    bright = np.clip(target[0] + slope, 0, 1)
    pieces = [the_same(target, image=bright)]
    with_it, masks = build(target, pieces, colour=0.0, light=0.0, membrane=True)
    without, _ = build(target, pieces, **AS_IT_IS)
    own, _ = build(target, [the_same(target)], **AS_IT_IS)
    assert rim_step(without, masks) > rim_step(own, masks) + 10
    assert rim_step(with_it, masks) < rim_step(own, masks) + 3
    assert error(with_it, target[0], masks) < 0.5 * error(without, target[0], masks)


def painted(landmarks, iris=(0.1, 0.1, 0.1)):
    """Draw a flat face with dark irises at the landmarks' own."""
    picture = np.full((SIZE, SIZE, 3), (0.75, 0.55, 0.45), np.float32)
    for lids in (mesh.RIGHT_EYE_LIDS, mesh.LEFT_EYE_LIDS):
        cv2.fillPoly(picture, [np.round(landmarks[list(lids), :2]).astype(np.int32)], (1, 1, 1))
    for index in (468, 473):
        x, y = (round(float(v)) for v in landmarks[index, :2])
        cv2.circle(picture, (x, y), round(0.055 * IOD), iris, -1)
    return picture


def wide_eyed(gaze=0.0):
    """Return crop landmarks with eyes wide open, looking to the side by `gaze` eye distances."""
    head = mesh.canonical().copy()
    for lids in (mesh.RIGHT_EYE_LIDS, mesh.LEFT_EYE_LIDS):
        middle = head[list(lids), 1].mean()
        head[list(lids), 1] = middle + 2 * (head[list(lids), 1] - middle)
    head[list(mesh.IRISES), 0] += gaze
    landmarks = posed(head=head)
    return transform(crop_matrix(head_pose(landmarks), SIZE), landmarks)


def dark_centre(picture, landmarks, lids):
    """Return x of the dark disc between the lids."""
    x = np.arange(SIZE) + 0.5
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [np.round(landmarks[list(lids), :2]).astype(np.int32)], 1)
    dark = np.clip(0.5 - picture.mean(axis=-1), 0, 1) * mask
    return float((dark * x).sum() / dark.sum())


@pytest.mark.parametrize(("gaze", "follows"), [("target", True), ("reference", False)])
def test_the_eyes_look_where_the_target_looks(gaze, follows):
    """A reference that looks aside; with gaze = "reference" it still does."""
    landmarks, aside = wide_eyed(), wide_eyed(0.08)
    target = (painted(landmarks), landmarks)
    piece = GuidePart(("eyes",), painted(aside), aside, landmarks)
    guide, _ = build(target, [piece], gaze=gaze, **AS_IT_IS)
    for lids, iris in ((mesh.RIGHT_EYE_LIDS, 468), (mesh.LEFT_EYE_LIDS, 473)):
        found = dark_centre(guide.picture, landmarks, lids) - landmarks[iris, 0]
        if follows:
            assert abs(found) < 0.02 * IOD
        else:
            assert found > 0.04 * IOD


def test_what_is_dark_takes_its_share_of_what_corrects_skin(target):
    """Light multiplies: all that skin needs would turn brows and lashes orange."""
    tinted = np.clip(target[0] * np.array((0.85, 1.0, 1.25), np.float32), 0, 1)
    guide, masks = build(target, [the_same(target, image=tinted)], colour=0.0, light=0.0)
    dark = (masks.parts["brows"] > 0.9) & (target[0].mean(axis=-1) < 0.35)
    assert dark.sum() > 50
    off = (guide.picture - target[0])[dark].mean(axis=0) * 255
    assert np.abs(off).max() < 9, off  # 13.5 if it takes all of it


def test_irises_are_no_smaller_than_the_targets(target):
    """A face whose irises fill its eyes would stare with small ones."""

    def iris(radius):
        piece = replace(the_same(target, ("eyes",)), iris=radius)
        picture = build(target, [piece], **AS_IT_IS)[0].picture
        ring = target[1][list(mesh.RIGHT_EYE_LIDS), :2]
        (x0, y0), (x1, y1) = ring.min(axis=0).astype(int), ring.max(axis=0).astype(int)
        return float((picture[y0 : y1 + 1, x0 : x1 + 1].mean(axis=-1) < 0.3).sum())

    assert iris(None) == iris(0.06)
    assert iris(0.12) > 1.08 * iris(None)


def test_each_part_comes_from_its_own_reference(target):
    crop, landmarks = target
    red, green = np.zeros_like(crop), np.zeros_like(crop)
    red[..., 0] = green[..., 1] = 1
    pieces = [the_same(target, ("eyes", "brows"), red), the_same(target, ("mouth",), green)]
    guide, _ = build(target, pieces, **AS_IT_IS)

    def colour(index):
        x, y = landmarks[index, :2].astype(int)
        return guide.picture[y, x]

    assert colour(159)[0] > 0.95 > 0.05 > colour(159)[1]
    assert colour(105)[0] > 0.95
    assert colour(17)[1] > 0.95 > 0.05 > colour(17)[0]
    np.testing.assert_array_equal(colour(4), crop[tuple(landmarks[4, 1::-1].astype(int))])


def test_the_targets_teeth_stay(target):
    """She smiles: between her lips the target shows, whatever the reference."""
    guide, masks = build(target, [the_same(target, image=np.zeros_like(target[0]))], **AS_IT_IS)
    middle = ((target[1][13] + target[1][14]) / 2).astype(int)
    assert masks.inner_mouth[middle[1], middle[0]] > 0.9
    np.testing.assert_array_equal(
        guide.picture[middle[1], middle[0]], target[0][middle[1], middle[0]]
    )


def test_the_references_teeth_stay_out(target):
    """Where the target's lips begin, the reference's lips are shown and not what is between."""
    crop, landmarks = target
    line = landmarks[list(mesh.LIPS_INNER), :2]
    reference = np.zeros_like(crop)
    cv2.fillPoly(reference, [np.round(line).astype(np.int32)], (0.0, 1.0, 0.0))
    guide, _ = build(target, [the_same(target, ("mouth",), reference)], **AS_IT_IS)
    at = line.astype(int)
    assert guide.picture[at[:, 1], at[:, 0], 1].mean() < 0.55


def test_trust_is_high_on_skin_and_low_where_the_rim_is_hair(target):
    """A reference whose fringe hangs over its brows is not shown there."""
    own, masks = build(target, [the_same(target, ("nose",))])
    assert own.trust[masks.hole > 0.5].mean() > 0.8
    fringe = target[0].copy()
    y = int(target[1][[105, 334], 1].mean())
    fringe[: y + 2] = (0.15, 0.1, 0.08)
    hairy, masks = build(target, [the_same(target, ("brows",), fringe)])
    plain, _ = build(target, [the_same(target, ("brows",))])
    rim = (masks.hole > 0.02) & (masks.hole < 0.6)
    assert hairy.trust[rim].mean() < 0.7 * plain.trust[rim].mean()
    for guide in (own, hairy):
        assert guide.trust.min() >= 0
        assert guide.trust.max() <= 1


def test_what_is_left_of_a_brow_is_covered_and_hair_beside_it_is_not(target):
    """A dark stroke on skin belongs to the old part; a fringe down to it is hair."""
    crop, landmarks = target
    x, y = (int(v) for v in landmarks[[66, 105], :2].mean(axis=0))
    stroke, fringe = crop.copy(), crop.copy()
    stroke[y - 6 : y - 2, x - 8 : x + 8] = (0.15, 0.1, 0.08)
    fringe[: y - 2] = (0.15, 0.1, 0.08)
    everywhere = np.ones(crop.shape[:2], np.float32)
    masks = part_masks([landmarks], ("brows",), MaskConfig(), SIZE, IOD)
    patch = np.s_[y - 5 : y - 3, x - 4 : x + 4]

    def trust(picture):
        piece = the_same(target, ("brows",))
        config = GuideConfig(**AS_IT_IS)
        found = build_guide(
            picture, landmarks, [piece], masks, config, IOD, leftovers=everywhere
        ).trust
        return float(found[patch].mean())

    assert trust(stroke) > 0.8
    assert trust(fringe) < 0.5 * trust(stroke)


def test_a_photo_used_for_several_parts_is_one_piece():
    grouped = pieces_by_reference({"eyes": "a", "brows": "a", "mouth": "b"})
    assert grouped == {"a": ("eyes", "brows"), "b": ("mouth",)}


def test_a_closed_lid_is_the_targets_own(target):
    """The right eye shut: its lashes, folds and colour are the target's, the left one is not."""
    crop, landmarks = target
    dark = np.full_like(crop, 0.25)
    dark[::4] *= 0.7  # folds
    piece = the_same(target, ("eyes",), image=np.full_like(crop, 0.5))
    masks = part_masks([landmarks], ("eyes",), MaskConfig(), SIZE, IOD)

    def around(shut):
        made = build_guide(
            dark, landmarks, [piece], masks, GuideConfig(**AS_IT_IS), IOD, shut
        ).picture
        y, x = (int(landmarks[[159, 145], axis].mean()) for axis in (1, 0))
        return made[y - 6 : y + 6, x - 6 : x + 6].mean(axis=-1)

    def folds(patch):
        return float(np.abs(np.diff(patch.mean(axis=1))).mean())

    open_, shut, other = around((0.0, 0.0)), around((1.0, 0.0)), around((0.0, 1.0))
    assert folds(shut) > 3 * folds(open_)
    np.testing.assert_array_equal(other, open_)
    assert shut.mean() == pytest.approx(dark.mean(), abs=0.05)


def test_new_brows_stay_while_the_eyes_are_shut(target):
    """Up to them the lids are the target's own, with the shade of its socket."""
    _, landmarks = target
    brows = landmarks + np.array([0.0, -0.03 * IOD, 0.0], np.float32)
    own = closed_eyes(landmarks, (1.0, 1.0), SIZE, IOD, brows)
    for side, lid in (("right", 159), ("left", 386)):
        ring = list(mesh.outlines("brows", side)[0])
        for shape in (landmarks, brows):
            brow = np.zeros((SIZE, SIZE), np.uint8)
            cv2.fillPoly(brow, [np.round(shape[ring, :2]).astype(np.int32)], 1)
            assert own[brow > 0].mean() < 0.05
        x, y = landmarks[lid, :2].astype(int)
        assert own[y - 2, x] > 0.95
    alone = closed_eyes(landmarks, (1.0, 1.0), SIZE, IOD)
    assert alone[own > 0.5].min() > 0.5
    assert alone.sum() > own.sum()


def test_lips_that_are_moved_bring_the_inner_mouth_along(target):
    """The guide's mouth is opened wider: the target's teeth fill it, from lip to lip."""
    crop, landmarks = target
    white = crop.copy()
    inner = landmarks[list(mesh.LIPS_INNER), :2]
    cv2.fillPoly(white, [np.round(inner).astype(np.int32)], (0.0, 0.0, 1.0))
    wide = landmarks.copy()
    for row in (mesh.LIPS_INNER, mesh.LIPS_OUTER):
        middle = landmarks[[13, 14], 1].mean()
        wide[list(row), 1] = middle + 1.6 * (landmarks[list(row), 1] - middle)
    piece = GuidePart(("mouth",), np.zeros_like(crop), landmarks, wide)
    masks = part_masks([landmarks, wide], ("mouth",), MaskConfig(keep_inner_mouth=False), SIZE, IOD)
    config = GuideConfig(**AS_IT_IS)
    made = build_guide(white, landmarks, [piece], masks, config, IOD, moved_lips=True).picture
    x = int(landmarks[[13, 14], 0].mean())
    column = made[int(wide[0, 1]) : int(wide[17, 1]), x]
    column = column[:, 2] - column[:, 0] > 0.5
    height = wide[14, 1] - wide[13, 1]
    assert column.sum() == pytest.approx(height, abs=0.08 * IOD)
