import cv2
import numpy as np
import pytest
from portrait import astronaut, astronaut_face, posed

from fapvideo.guide.warp import (
    sample,
    source_map,
    triangle_map,
    without_teeth,
)
from fapvideo.ops import mesh
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose

SIZE = 160
IOD = CROP_INTEROCULAR * SIZE


def aligned(landmarks):
    """Return landmarks in their own aligned crop."""
    return transform(crop_matrix(head_pose(landmarks), SIZE), landmarks)


def test_every_pixel_of_the_face_belongs_to_a_triangle():
    points = aligned(posed())
    ids = triangle_map(points, SIZE)
    oval = np.zeros((SIZE, SIZE), np.uint8)
    ring = np.round(points[list(mesh.FACE_OVAL), :2]).astype(np.int32)
    cv2.fillPoly(oval, [ring], 1)
    inner = cv2.erode(oval, np.ones((5, 5), np.uint8)) > 0
    outer = cv2.dilate(oval, np.ones((5, 5), np.uint8)) == 0
    assert (ids[inner] >= 0).all()
    assert (ids[outer] == -1).all()


def test_a_pixel_lies_in_its_triangle():
    points = aligned(posed(yaw=10))
    ids = triangle_map(points, SIZE)
    rows, columns = np.nonzero(ids >= 0)
    corners = points[mesh.triangles()[ids[rows, columns]], :2].astype(np.float64)
    centre = np.stack([columns, rows], -1) + 0.5
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    distance = np.full(len(a), np.inf)
    for p, q in ((a, b), (b, c), (c, a)):
        edge = q - p
        side = edge[:, 0] * (centre - p)[:, 1] - edge[:, 1] * (centre - p)[:, 0]
        distance = np.minimum(distance, np.sign(area) * side / np.linalg.norm(edge, axis=1))
    assert np.quantile(distance, 0.01) > -1.0, "at most a border pixel's worth outside"
    assert np.median(distance) > 0.2


def test_what_is_near_hides_what_is_far():
    """In profile the ridge of the nose lies before the far cheek."""
    points = aligned(posed(yaw=55))
    ids = triangle_map(points, SIZE)
    corners = points[mesh.triangles()]
    depth, flat = corners[..., 2].mean(axis=1), np.ascontiguousarray(corners[..., :2])
    layers = []
    for row, column in np.argwhere(ids >= 0)[::37]:
        place = (float(column) + 0.5, float(row) + 0.5)
        near = np.abs(corners[..., :2].mean(axis=1) - place).max(axis=1) < 30
        below = [index for index in np.flatnonzero(near)
                 if cv2.pointPolygonTest(flat[index], place, False) > 0]  # fmt: skip
        layers.append(len(below))
        if below:
            assert depth[ids[row, column]] <= depth[below].min() + 1e-3
    assert max(layers) > 1, "somewhere the face covers itself"


def test_triangles_seen_from_behind_are_not_painted():
    """Of a far turned head the far side shows nothing, whatever the measured depths say."""
    points = aligned(posed(yaw=70))
    ids = triangle_map(points, SIZE)
    corners = points[mesh.triangles()[np.unique(ids[ids >= 0])], :2]
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    winding = np.sign((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    assert len(set(winding.tolist())) == 1


@pytest.mark.parametrize("linear", [np.eye(2), np.array([[1.3, 0.2], [-0.1, 0.8]])])
def test_an_affine_change_is_read_back_exactly(linear):
    points = aligned(posed())
    source = points.copy()
    source[:, :2] = points[:, :2] @ linear.T + [11.25, -3.5]
    ids = triangle_map(points, SIZE)
    where = source_map(points, source, ids)
    grid = np.stack(np.meshgrid(*[np.arange(SIZE) + 0.5] * 2), axis=-1)
    expected = grid @ linear.T + [11.25, -3.5]
    np.testing.assert_allclose(where[ids >= 0], expected[ids >= 0], atol=0.02)


def test_landmarks_come_from_landmarks():
    """Near each destination point the map shows the source's point of the same number."""
    points, source = aligned(posed()), aligned(astronaut_face().landmarks) * 3
    where = source_map(points, source, triangle_map(points, SIZE))
    visible = [*mesh.NOSE, *mesh.LIPS_OUTER, *mesh.RIGHT_BROW, *mesh.LEFT_BROW, 50, 280, 33, 263]
    for index in visible:
        column, row = (int(value) for value in points[index, :2])
        assert np.linalg.norm(where[row, column] - source[index, :2]) < 4  # 3 to a pixel


def test_a_degenerate_triangle_does_no_harm():
    points = aligned(posed())
    points[list(mesh.LIPS_INNER)] = points[13]
    where = source_map(points, aligned(posed()), triangle_map(points, SIZE))
    assert np.isfinite(where).all()


def test_warping_there_and_back_returns_the_photo():
    """The astronaut's face on the mean face's landmarks and back: blurred a little, in place."""
    landmarks = aligned(astronaut_face().landmarks)
    matrix = crop_matrix(head_pose(astronaut_face().landmarks), SIZE)
    photo = warp(astronaut().astype(np.float32) / 255, matrix, (SIZE, SIZE))
    mean = aligned(posed())
    there = sample(photo, source_map(mean, landmarks, triangle_map(mean, SIZE)))
    ids = triangle_map(landmarks, SIZE)
    back = sample(there, source_map(landmarks, mean, ids))
    core = cv2.erode((ids >= 0).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert np.abs(back - photo)[core].mean() < 0.02
    for dx, dy in ((2, 0), (0, 2)):  # a shift would be worse: it is in place
        assert (
            np.abs(back - photo)[core].mean()
            < 0.7 * np.abs(np.roll(back, (dy, dx), (0, 1)) - photo)[core].mean()
        )


def test_sampling_at_pixel_centres_is_the_picture_itself():
    image = np.random.default_rng(0).uniform(size=(20, 30, 3)).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(30) + 0.5, np.arange(20) + 0.5), -1).astype(np.float32)
    np.testing.assert_array_equal(sample(image, grid), image)


def test_teeth_stay_out():
    """The lips' inner line moves a fifth of the way to the outer one; nothing else moves."""
    source = aligned(posed())
    moved = without_teeth(source)
    inner, outer = list(mesh.LIPS_INNER), list(mesh.LIPS_OUTER)
    np.testing.assert_allclose(moved[inner], 0.8 * source[inner] + 0.2 * source[outer], atol=1e-4)
    rest = np.setdiff1d(np.arange(478), inner)
    np.testing.assert_array_equal(moved[rest], source[rest])
