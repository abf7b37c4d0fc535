"""Whose face it is: numbers of a face, a few crops of a track, tracks of one person."""

from __future__ import annotations

import cv2
import face_clips
import numpy as np
import pytest
from portrait import astronaut, finder, posed

from fapvideo.ops import mesh
from fapvideo.structs import Bytes, Face, Floats, Track
from fapvideo.track.identity import SAME, SAMPLES, SIZE, FaceSampler, Looks, apart, link


def dimmed(picture: Bytes) -> Bytes:
    """Return it darker, bluish and soft."""
    soft = cv2.GaussianBlur(picture, (0, 0), 1.0).astype(np.float32)
    return np.clip(soft * (0.5, 0.55, 0.65), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def looks() -> Looks:
    return Looks()


def test_one_person_is_near_and_another_far_in_any_light(looks: Looks) -> None:
    def of(pictures: list[Bytes]) -> Floats:
        return looks.of_faces([(rgb, finder()(rgb)[0].landmarks) for rgb in pictures])

    brand = face_clips.read_rgb(face_clips.BRAND)
    speaking = [face_clips.one_face(index)[0] for index in (0, 8, 16)]
    people = {
        "astronaut": [of([astronaut()]), of(speaking), of([dimmed(speaking[1])])],
        "brand": [of([brand]), of([dimmed(brand)]), of([brand, dimmed(brand)])],
    }
    for name, own in people.items():
        for one in own:
            assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)
            assert all(apart(one, other) < SAME for other in own), name
    assert min(apart(a, b) for a in people["astronaut"] for b in people["brand"]) > SAME + 0.1


def test_what_a_crop_is_does_not_depend_on_the_others(looks: Looks) -> None:
    rng = np.random.default_rng(1)
    crops = [rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8) for _ in range(2)]
    one = looks.of_crops(crops[:1])
    np.testing.assert_allclose(looks.of_crops([crops[0]] * 2), one, atol=1e-6)
    assert apart(one, looks.of_crops(crops[1:])) > 1e-3


def test_few_crops_are_kept_of_however_long_a_track() -> None:
    sampler = FaceSampler()
    turned = [posed(yaw=40.0 if index < 300 else 0.0) for index in range(600)]
    for index, landmarks in enumerate(turned):
        picture = np.full((240, 320, 3), index // 3, np.uint8)
        face = Face(np.array([0, 0, 9, 9], np.float32), landmarks, 1.0)
        sampler.look(picture, [(7, face)])
        assert len(sampler._tracks[7].crops) < 2 * SAMPLES
    best = [int(shot.crop[96, 96, 0]) for shot in sampler.best(7)]
    assert 0 < len(best) <= SAMPLES
    assert all(value >= 100 for value in best), "those from the front"


# ------------------------------------------------------------------------------- linking


def track(number: int, first: int, last: int) -> Track:
    count = last - first + 1
    shape = np.repeat(posed()[None], count, axis=0)
    ones = np.ones(count, np.float32)
    return Track(number, first, shape, ones, 0 * ones, mesh.canonical())


def unit(*values: float) -> Floats:
    return np.array(values, np.float32) / np.float32(np.linalg.norm(values))


def test_tracks_that_look_alike_are_one_person_unless_seen_together() -> None:
    anna, bob = unit(1, 0, 0), unit(0, 1, 0)
    like_anna = unit(1, 0.3, 0.2)
    tracks = [track(0, 0, 9), track(1, 0, 9), track(2, 10, 19), track(3, 10, 19), track(5, 30, 39)]
    looks = {0: anna, 1: bob, 2: bob, 3: like_anna, 5: anna}
    assert link(tracks, looks) == {0: 0, 1: 1, 2: 1, 3: 0, 5: 0}
    # Twins in one shot are two; which of them comes back is decided by who is nearer.
    assert link(tracks[:2], {0: anna, 1: like_anna}) == {0: 0, 1: 1}
    later = {0: anna, 1: like_anna, 2: like_anna}
    assert link([*tracks[:2], tracks[2]], later) == {0: 0, 1: 1, 2: 1}
    assert link(tracks, {}) == {0: 0, 1: 1, 2: 2, 3: 3, 5: 5}
    assert link([], {}) == {}


def test_a_chain_of_likeness_does_not_make_one_person_of_strangers() -> None:
    steps = [unit(np.cos(a), np.sin(a)) for a in np.radians([0, 45, 90, 135, 180])]
    tracks = [track(i, 10 * i, 10 * i + 9) for i in range(5)]
    people = link(tracks, dict(enumerate(steps)))
    assert len(set(people.values())) >= 3
    assert people[0] != people[4]
