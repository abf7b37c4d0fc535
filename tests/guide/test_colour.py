import cv2
import numpy as np
import pytest
from portrait import astronaut, astronaut_face

from fapvideo.guide.colour import (
    MEMBRANE_LIMIT,
    match_light,
    match_ring,
    membrane,
    push_pull,
    rim_membrane,
    skin_map,
)
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.image import luma
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose

SIZE = 96
IOD = CROP_INTEROCULAR * SIZE
RNG = np.random.default_rng(1)
LIMITS = (0.6, 1.3)


def skin(texture=0.03):
    """Return [S, S, 3]: one colour with some grain."""
    grain = RNG.normal(0, texture, (SIZE, SIZE, 1))
    return (np.array([0.7, 0.5, 0.42]) + grain).astype(np.float32)


def ring(inner=20, outer=36):
    """Return [S, S] 1 between two radii."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] - SIZE / 2 + 0.5
    radius = np.hypot(x, y)
    return ((radius >= inner) & (radius < outer)).astype(np.float32)


def aligned_astronaut(size=192):
    landmarks = astronaut_face().landmarks
    matrix = crop_matrix(head_pose(landmarks), size)
    crop = warp(astronaut().astype(np.float32) / 255, matrix, (size, size))
    return crop, transform(matrix, landmarks)


# ----------------------------------------------------------------------------------- ring


def test_a_tinted_reference_takes_the_targets_colour():
    target = skin()
    tinted = np.clip(target * np.array([0.7, 1.1, 0.9], np.float32), 0, 1)
    matched = match_ring(tinted, target, ring(), 1.0, LIMITS)
    assert np.abs(matched - target).mean() < 0.02
    assert np.abs(tinted - target).mean() > 0.06


@pytest.mark.parametrize("amount", [0.0, 0.5])
def test_the_amount_says_how_far(amount):
    target, other = skin(), skin() * 0.6
    full = match_ring(other, target, ring(), 1.0, LIMITS)
    part = match_ring(other, target, ring(), amount, LIMITS)
    np.testing.assert_allclose(part, other + amount * (full - other), atol=1e-5)


def test_only_the_weighted_pixels_count():
    """Lips of another colour inside the ring do not draw the skin's colour along."""
    target, other = skin(), skin()
    outside = ring() == 0
    target[outside] = (0.1, 0.9, 0.1)
    matched = match_ring(other, target, ring(), 1.0, LIMITS)
    assert np.abs(matched - other).mean() < 0.02


@pytest.mark.parametrize(("light", "gain"), [(0.64, 0.8), (1.44, 1.2), (0.2, 0.6), (1.9, 1.3)])
def test_contrast_follows_the_exposure_within_its_limits(light, gain):
    """A dark face has weaker texture; what lies on the ring says nothing about it."""
    reference = skin(0.02)
    target = np.full_like(reference, reference.mean(axis=(0, 1))) * np.float32(light)
    matched = match_ring(reference, target, ring(), 1.0, LIMITS)
    found = luma(matched - matched.mean()).std() / luma(reference - reference.mean()).std()
    assert found == pytest.approx(gain, abs=0.03)


@pytest.mark.parametrize("light", [(0.7, 0.5, 0.3), (1.1, 1.25, 1.5), (0.5, 0.5, 0.5)])
def test_lashes_take_no_colour_of_their_own(light):
    """On warm skin they were orange, on pale skin blue: what is dark is lit, not shifted."""
    lashes = np.array([0.12, 0.1, 0.09], np.float32)
    reference, light = skin(0.0), np.array(light, np.float32)
    reference[40:56, 40:56] = lashes
    matched = match_ring(reference, skin(0.0) * light, ring(), 1.0, LIMITS)
    found, wanted = matched[48, 48], lashes * light
    assert np.ptp(found / wanted) < 0.05 * (found / wanted).mean()
    assert luma(found) < 0.35 * luma(matched[0, 0])


def test_without_a_ring_nothing_happens():
    other = skin()
    assert match_ring(other, skin() * 0.5, np.zeros((SIZE, SIZE), np.float32), 1.0, LIMITS) is other


# ---------------------------------------------------------------------------------- light


def test_light_from_the_side_is_taken_over():
    """The left half in shadow: the reference gets the shadow, and keeps its own grain."""
    reference = skin()
    shadow = 1 - 0.4 * (1 - np.linspace(0, 1, SIZE, dtype=np.float32))[None, :, None]
    target = skin() * shadow
    face = np.ones((SIZE, SIZE), np.float32)
    lit = match_light(reference, target, face, 1.0, IOD)
    edges = [lit[:, side].mean() - target[:, side].mean() for side in (slice(8, 20), slice(76, 88))]
    assert max(np.abs(edges)) < 0.05
    assert reference[:, 8:20].mean() - target[:, 8:20].mean() > 0.15
    light = lit / reference
    assert np.abs(np.diff(light, axis=1)).max() < 0.01
    np.testing.assert_array_equal(match_light(reference, target, face, 0.0, IOD), reference)


def test_light_leaves_the_hue_as_it_is():
    """Taken from all colours alike, it would make the shade on warm skin orange."""
    reference, target = skin(), skin()[..., ::-1] * 0.8
    lit = match_light(reference, target, np.ones((SIZE, SIZE), np.float32), 1.0, IOD)
    light = lit / reference
    assert np.abs(light - 1).mean() > 0.05
    np.testing.assert_allclose(light[..., 0], light[..., 1], atol=1e-4)
    np.testing.assert_allclose(light[..., 1], light[..., 2], atol=1e-4)


def test_what_is_not_face_has_no_say():
    reference, target = skin(), skin()
    face = ring(0, 30)
    target[face == 0] = 0
    lit = match_light(reference, target, face, 1.0, IOD)
    assert np.abs(lit - reference)[ring(0, 20) > 0].max() < 0.02


# ------------------------------------------------------------------------------- membrane


def test_a_step_at_the_rim_is_spread_into_the_hole():
    difference = np.zeros((SIZE, SIZE, 3), np.float32)
    difference += np.linspace(-0.1, 0.1, SIZE, dtype=np.float32)[None, :, None]
    difference[ring(0, 20) > 0] = np.nan_to_num(RNG.normal(size=3))  # inside nobody knows
    rim = ring(20, 24)
    spread = membrane(difference * rim[..., None], rim, IOD)
    assert np.abs(spread - difference)[rim > 0].mean() < 0.02
    inside = spread[ring(0, 18) > 0]
    assert inside.min() > -0.07
    assert inside.max() < 0.07
    steps = np.abs(np.diff(spread[:, 20:76], axis=1))
    assert steps.max() < 0.03, "smooth"
    assert spread[48, 30].mean() < spread[48, 48].mean() < spread[48, 66].mean()


def test_an_outlier_on_the_rim_does_not_smear():
    rim = ring(20, 24)
    difference = np.zeros((SIZE, SIZE, 3), np.float32)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    difference[(x > 66) & (abs(y - 48) < 5)] = -0.9
    spread = membrane(difference, rim, IOD)
    assert np.abs(spread).max() < MEMBRANE_LIMIT
    assert np.abs(spread[ring(0, 12) > 0]).max() < 0.06


def test_a_short_stretch_of_another_colour_hardly_spreads():
    """A lip at the rim of a nose: its red must not run into the nose, a shadow may."""
    rim = ring(20, 24)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    spot = ((x > 60) & (abs(y - 48) < 4)).astype(np.float32)[..., None]
    inside = (slice(46, 50), slice(64, 68))
    red = membrane(spot * np.array([0.2, -0.06, 0.0], np.float32), rim, IOD)[inside]
    assert np.abs(red - luma(red)[..., None]).mean() < 0.022
    grey = membrane(np.repeat(spot, 3, axis=-1) * np.float32(-0.2), rim, IOD)[inside]
    assert np.abs(grey).mean() > 0.04


def test_push_pull_keeps_what_is_known_and_fills_the_rest():
    values = np.full((37, 53, 3), 5.0, np.float32)
    values[:, :20] = 1.0
    known = np.zeros((37, 53), np.float32)
    known[:, :5] = known[:, 48:] = 1
    filled = push_pull(values, known)
    np.testing.assert_allclose(filled[known > 0], values[known > 0], atol=1e-6)
    middle = filled[18, :, 0]
    assert (np.diff(middle) > -0.02).all()
    assert middle[26] == pytest.approx(3.0, abs=0.7)
    constant = push_pull(np.full_like(values, 0.3), known)
    np.testing.assert_allclose(constant, 0.3, atol=1e-5)
    assert np.isfinite(push_pull(values, np.zeros_like(known))).all()


# ------------------------------------------------------------------------------- skin map


def test_skin_is_skin_and_hair_is_not():
    crop, landmarks = aligned_astronaut()
    skin_of = skin_map(crop, landmarks, 0.2)

    def near(x, y):
        return skin_of[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].mean()

    for index in (50, 280, 205, 425, 4, 199):
        assert near(*landmarks[index, :2]) > 0.75
    top = landmarks[10, :2] - [0, 25]
    assert near(*top) < 0.3, "hair"
    for iris in (468, 473):
        assert near(*landmarks[iris, :2]) < 0.3
    assert skin_of.min() >= 0
    assert skin_of.max() <= 1


def test_shade_on_skin_is_skin_as_far_as_allowed():
    crop, landmarks = aligned_astronaut()
    crop[120:140, 60:80] *= 0.6
    strict, patient = skin_map(crop, landmarks, 0.1), skin_map(crop, landmarks, 0.4)
    assert patient[125:135, 65:75].mean() > strict[125:135, 65:75].mean() + 0.3


# ------------------------------------------------------------------------ at the rim


def at_the_rim(difference, face=None):
    """Return correction, share and depth (inter-ocular distances) for a round hole."""
    y, x = np.mgrid[:SIZE, :SIZE]
    hole = (np.hypot(x - SIZE / 2, y - SIZE / 2) < 0.4 * SIZE).astype(np.float32)
    ones = np.ones((SIZE, SIZE), np.float32)
    found, share = rim_membrane(difference, hole, ones if face is None else face, IOD)
    return found, share, cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3) / IOD


def test_at_the_rim_the_guide_meets_what_is_there_and_deep_inside_it_is_left_alone():
    """A strand of dark hair that crosses the rim on one side."""
    difference = np.zeros((SIZE, SIZE, 3), np.float32)
    difference[:, : SIZE // 2] = -0.2
    found, share, depth = at_the_rim(difference)
    left = np.zeros((SIZE, SIZE), bool)
    left[SIZE // 2 - 8 : SIZE // 2 + 8, : SIZE // 2] = True
    edge = (depth > 0) & (depth < 0.06)
    assert (share * found[..., 0])[edge & left].mean() == pytest.approx(-0.2, abs=0.03)
    assert abs((share * found[..., 0])[edge & left[:, ::-1]].mean()) < 0.03
    assert share[depth > 0.25].max() == 0.0


def test_what_is_behind_the_face_does_not_count_at_the_rim():
    difference = np.full((SIZE, SIZE, 3), 0.05, np.float32)
    face = np.ones((SIZE, SIZE), np.float32)
    difference[:, :20], face[:, :20] = -0.25, 0.0
    found, share, depth = at_the_rim(difference, face)
    assert np.abs(found - 0.05)[(depth > 0) & (share > 0)].max() < 0.01
