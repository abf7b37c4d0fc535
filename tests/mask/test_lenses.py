"""What shows in a lens is no thing in front of the face; what goes on beyond it is one."""

from __future__ import annotations

import cv2
import numpy as np
from portrait import astronaut_face

from fapvideo.mask.lenses import Outlines, beside_eyes, seen_through
from fapvideo.mask.occlusion import OcclusionSearch
from fapvideo.nets.occlusion import SIZE
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform
from fapvideo.ops.pose import crop_matrix, head_pose
from fapvideo.structs import Bytes, Floats

CROP: Bytes = np.zeros((SIZE, SIZE, 3), np.uint8)


def points() -> Floats:
    shape = astronaut_face().landmarks
    return transform(crop_matrix(head_pose(shape), SIZE), shape)


def outlines() -> Outlines:
    return Outlines.of(points(), np.zeros((SIZE, SIZE), np.float32))


def left_lens() -> np.ndarray:
    """Return [SIZE, SIZE] the lens before the left eye, filled."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(mask, [outlines().lenses[1]], 1)
    return mask > 0


def frame() -> Floats:
    """Return [SIZE, SIZE] chances of the frame of glasses around both eyes."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.polylines(mask, list(outlines().lenses), True, 1, thickness=2)
    return mask.astype(np.float32)


def test_an_eye_lies_in_its_lens() -> None:
    for eye, lens in zip(mesh.eye_centres(points()[:, :2]), outlines().lenses, strict=True):
        assert cv2.pointPolygonTest(lens, (float(eye[0]), float(eye[1])), False) > 0


def test_a_reflection_hides_nothing_and_a_hand_does() -> None:
    reflection = np.maximum(frame(), 0.9 * left_lens()).astype(np.float32)
    seen = seen_through(reflection, frame(), outlines())
    np.testing.assert_array_equal(seen, np.minimum(reflection, frame()))
    hand, rest = reflection.copy(), frame()
    x, y = (int(v) for v in mesh.eye_centres(points()[:, :2])[1])
    covered = np.s_[y - 15 : y + 60, x - 16 : x + 30]
    hand[covered], rest[covered] = 0.95, 0.0
    kept = seen_through(hand, rest, outlines())
    assert kept[y, x] == hand[y, x]
    assert kept[y + 45, x] == hand[y + 45, x]


def test_a_wide_guess_at_a_thin_frame_leaves_the_eye() -> None:
    x, y = (int(v) for v in mesh.eye_centres(points()[:, :2])[1])
    guess = np.zeros((SIZE, SIZE), np.float32)
    guess[y - 12 : y + 2] = 0.5
    left = beside_eyes(guess, outlines())
    assert left[y, x] == 0
    assert left[y - 10, x] == guess[y - 10, x]
    guess[y - 12 : y + 2] = 0.95
    np.testing.assert_array_equal(beside_eyes(guess, outlines()), guess)


class Told:
    """Says what it is told to, instead of the net."""

    def __init__(self, chance: Floats, worn: Floats) -> None:
        self._both = np.stack([chance, worn])

    def __call__(self, crop: Bytes, landmarks: Floats) -> Floats:
        return self._both


def left_eye_shown(worn: Floats) -> float:
    """Return how strongly the left eye is shown whose place looks covered all the time."""
    chance = np.maximum(worn, 0.9 * left_lens()).astype(np.float32)
    search = OcclusionSearch(Told(chance, worn), 5)  # type: ignore[arg-type]
    for index in range(5):
        search.look(index, CROP, points())
    found = search.finish(np.arange(5) / 25, 0.1)
    return float(found.shown["eyes"][2, 1])


def test_an_eye_behind_glasses_is_not_left_because_its_lens_reflects() -> None:
    assert left_eye_shown(frame()) == 1.0
    assert left_eye_shown(np.zeros_like(frame())) == 0.0
