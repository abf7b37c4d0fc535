import cv2
import numpy as np
import pytest
from portrait import astronaut_face, posed

from fapvideo.ops import mesh
from fapvideo.parts import PARTS


def test_the_triangles_cover_the_face_and_nothing_else():
    """Painted on the canonical face they leave no hole, also in eyes and mouth."""
    face = posed(scale=120, at=(200, 150))
    filled = np.zeros((400, 400), np.uint8)
    for triangle in mesh.triangles():
        cv2.fillConvexPoly(filled, np.round(face[triangle, :2]).astype(np.int32), 1)
    oval = np.zeros((400, 400), np.uint8)
    ring = np.round(face[list(mesh.FACE_OVAL), :2]).astype(np.int32)
    cv2.fillPoly(oval, [ring], 1)
    kernel = np.ones((5, 5), np.uint8)
    assert (cv2.erode(oval, kernel) <= filled).all()
    assert (filled <= cv2.dilate(oval, kernel)).all()


def test_triangles_have_one_winding_and_use_every_mesh_point():
    triangles = mesh.triangles()
    assert triangles.shape == (898, 3)
    assert set(triangles.ravel()) == set(range(468))
    assert len({frozenset(t) for t in triangles.tolist()}) == 898
    a, b, c = (mesh.canonical()[triangles[:852, k]].astype(float) for k in range(3))
    normals = np.cross(b - a, c - a)[:, 2]
    assert (np.sign(normals) == np.sign(np.median(normals))).mean() > 0.97


def test_canonical_face_is_in_head_coordinates():
    face = mesh.canonical()
    assert face.shape == (478, 3)
    assert mesh.interocular(face) == pytest.approx(0.937, abs=0.001)
    np.testing.assert_allclose(mesh.eye_centres(face)[:, 1], 0, atol=0.01)
    np.testing.assert_allclose(mesh.eye_centres(face).mean(axis=0), 0, atol=1e-4)
    assert face[mesh.CHIN, 1] > face[mesh.LOWER_LIP, 1] > face[1, 1] > 0 > face[mesh.FOREHEAD, 1]
    assert face[4, 2] < face[234, 2], "the nose tip is nearer to the viewer than the ear"


def test_interocular_distance_survives_a_turned_head():
    front, side = posed(scale=80), posed(yaw=40, scale=80)
    assert mesh.interocular(side) == pytest.approx(mesh.interocular(front), rel=1e-3)
    assert mesh.interocular(side[:, :2]) < 0.85 * mesh.interocular(front)


def test_mirror_is_its_own_inverse_and_swaps_the_sides():
    mirror = mesh.mirror()
    np.testing.assert_array_equal(mirror[mirror], np.arange(478))
    assert {mirror[i] for i in mesh.RIGHT_EYE_LIDS} == set(mesh.LEFT_EYE_LIDS)
    assert {mirror[i] for i in mesh.RIGHT_BROW} == set(mesh.LEFT_BROW)
    assert {mirror[i] for i in mesh.LIPS_OUTER} == set(mesh.LIPS_OUTER)
    assert mirror[468] == 473
    assert mirror[mesh.RIGHT_IRIS[1]] == mesh.LEFT_IRIS[3], "towards the nose, both"
    assert mirror[10] == 10


def crosses(a, b, c, d):
    """Tell whether the segments ab and cd cross."""

    def side(p, q, r):
        return np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) != side(a, b, d) and side(c, d, a) != side(c, d, b)


@pytest.mark.parametrize("part", PARTS)
def test_outlines_are_rings_that_do_not_cross_themselves(part):
    for ring in mesh.outlines(part):
        assert len(set(ring)) == len(ring) >= 10
        points = mesh.canonical()[list(ring), :2].astype(float)
        edges = list(zip(points, np.roll(points, -1, axis=0), strict=True))
        for i, first in enumerate(edges):
            for j in range(i + 2, len(edges) - (i == 0)):
                assert not crosses(*first, *edges[j])


def test_left_is_the_persons_own_left():
    """In a photo taken from the front that is the right half of the picture."""
    landmarks = astronaut_face().landmarks
    nose = landmarks[4, 0]
    for part in ("eyes", "brows"):
        (left,), (right,) = mesh.outlines(part, "left"), mesh.outlines(part, "right")
        assert landmarks[list(left), 0].mean() > nose > landmarks[list(right), 0].mean()
        assert set(mesh.outlines(part)) == {left, right}
    assert mesh.outlines("mouth", "left") == mesh.outlines("mouth")


def test_the_rows_of_a_real_face_are_in_order():
    """Brows over eyes over nose over mouth over chin, lids around irises, lips around lips."""
    y = astronaut_face().landmarks[:, 1]
    brows = y[list(mesh.RIGHT_BROW + mesh.LEFT_BROW)].mean()
    eyes = y[list(mesh.IRISES)].mean()
    assert y[10] < brows < eyes < y[4] < y[0] < y[13] <= y[14] < y[17] < y[152]
    assert y[159] < y[468] < y[145]
