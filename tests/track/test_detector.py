import numpy as np
import pytest
from portrait import astronaut, astronaut_face, scene

from fapvideo.track.detector import FaceDetector, nms


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


def overlap(a, b):
    """Return the intersection over union of two boxes."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inter = np.maximum(high - low, 0).prod()
    return inter / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter)


@pytest.mark.parametrize(
    ("size", "width"),
    [
        ((480, 480), 28), ((480, 480), 90), ((480, 480), 340),
        ((320, 480), 28), ((320, 480), 45), ((320, 480), 180),
    ],
)  # fmt: skip
def test_a_face_is_found_at_many_sizes(detector, size, width):
    at = (size[0] * 0.5, size[1] * 0.45, width)
    boxes, scores, points = detector(scene(size, [at]))
    assert len(boxes) == len(scores) == len(points) == 1
    assert abs((boxes[0, 0] + boxes[0, 2]) / 2 - at[0]) < 0.1 * width
    assert 0.8 * width < boxes[0, 2] - boxes[0, 0] < 1.8 * width
    right, left, nose, mouth = points[0, :4]
    assert right[0] + 0.2 * width < left[0]
    assert right[1] < nose[1] < mouth[1]


@pytest.mark.parametrize("at", [(60, 60), (640, 360), (1210, 650), (325, 400)])
def test_a_small_face_in_a_wide_shot(detector, at):
    """40 px of 1280: in a corner, in the middle, across a border between tiles."""
    picture = scene((1280, 720), [(*at, 40)])
    boxes, _, _ = detector(picture)
    assert len(boxes) == 1
    assert np.abs((boxes[0, :2] + boxes[0, 2:]) / 2 - at).max() < 15
    assert len(detector(picture, tiles=False)[0]) == 0, "the tiles are what finds it"


def test_several_faces_are_each_found_once(detector):
    """The middle one lies in many tiles."""
    wanted = [(120, 130, 60), (330, 200, -90), (540, 120, 70)]
    boxes, scores, _ = detector(scene((640, 400), wanted))
    assert len(boxes) == 3
    assert list(scores) == sorted(scores, reverse=True)
    centres = sorted(((boxes[:, 0] + boxes[:, 2]) / 2).tolist())
    np.testing.assert_allclose(centres, [120, 330, 540], atol=10)


def test_keypoints_are_where_the_mesh_has_them(detector):
    _, _, points = detector(astronaut())
    landmarks = astronaut_face().landmarks
    for found, index in ((points[0, 0], 468), (points[0, 1], 473), (points[0, 2], 4)):
        assert np.linalg.norm(found - landmarks[index, :2]) < 8


@pytest.mark.slow
@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
def test_there_is_no_face_in_noise_or_nothing(detector, size):
    width, height = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    empty = scene(size, [])
    flat = np.full((height, width, 3), 128, np.uint8)
    for picture in (noise, empty, flat, np.zeros_like(flat)):
        boxes, scores, points = detector(picture)
        assert boxes.shape == (0, 4)
        assert scores.shape == (0,)
        assert points.shape == (0, 6, 2)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (8, 100), (100, 8), (37, 51), (37, 200), (201, 38)])
def test_odd_pictures_are_no_trouble(detector, size):
    width, height = size
    detector(np.zeros((height, width, 3), np.uint8))


def test_the_score_limit_is_kept():
    picture = scene((480, 480), [(240, 220, 120)])
    score = FaceDetector(0.3)(picture)[1][0]
    assert len(FaceDetector(min(1.0, score + 0.02))(picture)[0]) == 0
    assert len(FaceDetector(score - 0.02)(picture)[0]) == 1


def test_a_face_that_the_picture_cuts_off(detector):
    """Half a face at the border: what is found lies over it, and other tiles add nothing."""
    boxes, _, _ = detector(scene((480, 320), [(12, 160, 110)]))
    assert len(boxes) <= 1


def test_suppression_keeps_the_best_and_drops_what_lies_inside():
    boxes = np.array(
        [[0, 0, 100, 100], [5, 5, 105, 105], [30, 30, 60, 60], [200, 0, 300, 100]], np.float32
    )
    scores = np.array([0.8, 0.9, 0.95, 0.6], np.float32)
    assert nms(boxes[:2], scores[:2]).tolist() == [1]
    assert nms(boxes[[0, 2]], np.array([0.9, 0.5])).tolist() == [0], "inside a better one"
    assert nms(boxes[[0, 3]], scores[[0, 3]]).tolist() == [0, 1]
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)).tolist() == []
