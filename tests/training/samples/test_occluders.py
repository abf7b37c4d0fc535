"""Drawn things: where they are, what colour they have, and that they are a function of the seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fapvideo.ops import mesh
from fapvideo.parts import TRAINED
from fapvideo.structs import Floats, PartMasks
from fapvideo.training.faces.prepare import FaceSet
from fapvideo.training.samples.covering import cover_reference, cover_target, draw_thing
from fapvideo.training.samples.drawing import FINER, Scene, Thing, scene_of
from fapvideo.training.samples.occluders import glasses, hair, hand, microphone

Draw = Callable[[np.random.Generator, Scene], Thing]
DOWN = np.array([0.0, 1.0])


def middle(scene: Scene, *indices: int) -> Floats:
    return scene.points[list(indices), :2].mean(axis=0)


DRAWN: dict[str, Draw] = {
    "hand": lambda rng, scene: hand(rng, scene, middle(scene, 0), DOWN),
    "hair": lambda rng, scene: hair(rng, scene, middle(scene, 10) * (1, 0), middle(scene, 105)),
    "glasses": lambda rng, scene: glasses(rng, scene),
    "sunglasses": lambda rng, scene: glasses(rng, scene, dark=True),
    "microphone": lambda rng, scene: microphone(rng, scene, middle(scene, 152), DOWN),
}


@pytest.fixture(scope="module")
def face(faces: FaceSet) -> tuple[Floats, Floats]:
    return faces.face(0)


def things(face: tuple[Floats, Floats], kind: str, count: int = 6) -> list[Thing]:
    drawn = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        drawn.append(DRAWN[kind](rng, scene_of(rng, *face)))
    return drawn


def at(thing: Thing, point: Floats) -> float:
    x, y = (int(v) for v in point[:2])
    return float(thing.alpha[y, x])


@pytest.mark.parametrize("kind", DRAWN)
def test_ranges_and_the_same_seed_draws_the_same(face: tuple[Floats, Floats], kind: str) -> None:
    drawn = things(face, kind)
    for thing, again in zip(drawn, things(face, kind), strict=True):
        for name in ("colour", "alpha", "shadow"):
            values = getattr(thing, name)
            assert values.min() >= 0
            assert values.max() <= 1
            np.testing.assert_array_equal(values, getattr(again, name))
        assert 0.003 < thing.alpha.mean() < 0.5
        out = thing.over(face[0])
        assert out.dtype == np.float32
        assert out.shape == face[0].shape
        clear = (thing.alpha == 0) & (thing.shadow == 0)
        np.testing.assert_allclose(out[clear], face[0][clear], atol=1e-6)
    assert not np.array_equal(drawn[0].alpha, drawn[1].alpha)


def test_a_hand_has_the_skin_of_the_face_and_comes_from_outside(
    face: tuple[Floats, Floats],
) -> None:
    image = face[0].copy()
    image[: len(image) // 8] = (0, 1, 0)  # what is above the forehead is no skin
    skin = scene_of(np.random.default_rng(0), image, face[1]).skin
    for thing in things((image, face[1]), "hand"):
        solid = thing.alpha > 0.95
        colour = np.median(thing.colour[solid], axis=0)
        assert np.abs(colour / colour.sum() - skin / skin.sum()).max() < 0.06
        assert thing.alpha[-1].max() > 0.5  # down to the crop's edge
        assert thing.alpha[: thing.alpha.shape[0] // 4].max() < 0.05


def test_glasses_sit_around_the_eyes(face: tuple[Floats, Floats]) -> None:
    eyes = mesh.eye_centres(face[1])
    for thing in things(face, "glasses"):
        for eye in eyes:
            assert at(thing, eye) < 0.5  # one sees through
            for step in ((-1, 0), (1, 0), (0, 1), (0, -1)):
                line = [at(thing, eye[:2] + np.array(step) * r) for r in np.arange(2, 14, 0.5)]
                assert max(line) > 0.25  # a thin rim covers a fraction of a pixel here
        assert at(thing, face[1][mesh.CHIN] - [0, 4, 0]) == 0
    for thing in things(face, "sunglasses"):
        assert all(at(thing, eye) > 0.5 for eye in eyes)


def test_a_face_turned_into_the_light_gets_a_lit_hand(face: tuple[Floats, Floats]) -> None:
    """The brighter side of the face tells where the light is."""
    image, points = face
    ramp = np.linspace(0.4, 1.0, image.shape[1], dtype=np.float32)[None, :, None]
    right, left = image * ramp, image * ramp[:, ::-1]
    lights = [
        np.mean([scene_of(np.random.default_rng(s), picture, points).light[0] for s in range(8)])
        for picture in (left, right)
    ]
    assert lights[0] < 0 < lights[1]


def test_only_things_that_cover_the_swapped_part_are_drawn(face: tuple[Floats, Floats]) -> None:
    """A reference mouth never wears glasses; a reference is never behind a hand."""
    image, points = face
    eyes = mesh.eye_centres(points)[:, :2].astype(int)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        thing = draw_thing(rng, image, points, ("mouth",), reference=True)
        assert all(thing.alpha[y - 3 : y + 4, x - 3 : x + 4].max() == 0 for x, y in eyes)
        assert np.ptp(np.median(thing.colour[thing.alpha > 0.95], axis=0)) < 0.06  # no skin: grey
    out = cover_reference(np.random.default_rng(0), image, points, TRAINED)
    assert np.abs(out - image).max() > 0.1


def test_the_scene_is_drawn_finer(face: tuple[Floats, Floats]) -> None:
    scene = scene_of(np.random.default_rng(0), *face)
    assert scene.size == FINER * face[0].shape[0]
    np.testing.assert_allclose(scene.points, face[1] * FINER)
    assert np.linalg.norm(scene.light) == pytest.approx(1)


def test_where_nothing_fits_the_face_stays_bare(face: tuple[Floats, Floats]) -> None:
    image, points = face
    none = np.zeros(image.shape[:2], np.float32)
    masks = PartMasks({"mouth": none}, none, none, none)
    out, same = cover_target(np.random.default_rng(0), image, points, ("mouth",), masks)
    assert out is image
    assert same is masks
