"""Who is clearly nobody in the cast is measured now and then; whoever is, in every frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import face_clips
import numpy as np
import pytest
from portrait import finder
from runs import BRAND, decode, swapper

from fapvideo import Person
from fapvideo.config.schema import RunPreset, TrackConfig
from fapvideo.plan.decide import decide
from fapvideo.plan.follow import follow
from fapvideo.plan.people import Role
from fapvideo.plan.targets import Plan
from fapvideo.structs import Bytes, Face, Floats
from fapvideo.track.identity import Looks
from fapvideo.track.landmarks import FaceMesh
from fapvideo.video.reader import VideoReader


class CountingMesh(FaceMesh):
    """Counts how often it measures a face in the left and in the right half."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = [0, 0]

    def from_landmarks(self, rgb: Bytes, landmarks: Floats) -> Face:
        self.sides[int(landmarks[:, 0].mean() > rgb.shape[1] / 2)] += 1
        return super().from_landmarks(rgb, landmarks)


Follow = Callable[..., tuple[Plan, CountingMesh]]


@pytest.fixture(scope="module")
def astronaut() -> Floats:
    """Return what the left of the two looks like."""
    rgb = face_clips.one_face(0)[0]
    return Looks().of_faces([(rgb, finder()(rgb)[0].landmarks)])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clips.face_clip(tmp_path_factory.mktemp("two"), "two_faces")


@pytest.fixture
def followed(two: Path, tmp_path: Path) -> Follow:
    def run(**config: object) -> tuple[Plan, CountingMesh]:
        photos = config.pop("photos", ())
        scratch = tmp_path / str(len(list(tmp_path.iterdir())))
        scratch.mkdir()
        mesh = CountingMesh()
        with VideoReader(two) as reader:
            given = reader.batches(8), reader.info, TrackConfig(**config), scratch  # type: ignore[arg-type]
            return follow(*given, mesh=mesh, photos=photos), mesh  # type: ignore[arg-type]

    return run


@pytest.mark.slow
def test_a_stranger_costs_few_meshes_and_is_where_they_were(
    followed: Follow, astronaut: Floats
) -> None:
    (usual, every), (plan, few) = followed(), followed(photos=[astronaut])
    assert usual.rested == ()
    assert plan.rested == (1,)
    assert few.sides[0] == every.sides[0]
    assert few.sides[1] <= every.sides[1] / 3 + 1
    mine, theirs = plan.tracks
    np.testing.assert_array_equal(mine.landmarks, usual.tracks[0].landmarks)
    assert (theirs.first_frame, theirs.last_frame) == (0, 23)
    assert (theirs.presence > 0).all()
    assert set(theirs.faults) == {""}
    away = np.linalg.norm(theirs.landmarks - usual.tracks[1].landmarks, axis=-1)[..., :468]
    assert np.median(away) < 1.0


def test_in_a_crowd_strangers_make_room_for_whom_is_cast(
    followed: Follow, astronaut: Floats, looks_of_brand: Floats
) -> None:
    """The brand face is the larger one: it is followed first, and with room for one the only."""
    (plan, _) = followed(max_faces=1)
    assert len(plan.tracks) == 1
    assert plan.overlooked[0] == 1
    alone = float(plan.tracks[0].landmarks[0, :468, 0].mean())
    other = looks_of_brand if alone < 192 else astronaut
    (plan, _) = followed(max_faces=1, photos=[other])
    first, second = plan.tracks
    assert plan.rested == (0,)
    assert first.first_frame == 0
    assert second.first_frame == 1
    assert set(plan.overlooked) == {0}


@pytest.fixture(scope="module")
def looks_of_brand() -> Floats:
    rgb = face_clips.read_rgb(face_clips.BRAND)
    return Looks().of_faces([(rgb, finder()(rgb)[0].landmarks)])


def test_how_many_more_and_when_is_said() -> None:
    track = TrackConfig(max_faces=2)
    plan = Plan(np.arange(4) / 2.0, (), (), (), overlooked={0: 1, 2: 5, 3: 4})
    (warning,) = decide(plan, RunPreset(track=track), [Role(None, {}, 1.0, 0)], 128).warnings
    assert "up to 5 more faces" in warning
    assert "most of them at 0:01" in warning


@pytest.mark.slow
def test_more_faces_than_are_followed_are_said(two: Path, tmp_path: Path) -> None:
    with swapper(track={"max_faces": 1}) as swap:
        report = swap.run(two, tmp_path / "o.mkv")
    (warning,) = report.warnings
    assert warning.startswith("up to 1 more faces are seen than are followed, most of them at 0:00")
    assert "track.max_faces" in warning


def assert_same(one: Path, other: Path) -> None:
    """See that two files show the same, sample by sample."""
    first, second = decode(one), decode(other)
    assert len(first.frames) == len(second.frames)
    assert all(first.same_samples(second, index) for index in range(len(first.frames)))


@pytest.mark.slow
def test_who_was_taken_for_a_stranger_is_followed_again(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [Person(BRAND, {"mouth": BRAND})]
    with swapper() as swap:
        swap.run(two, tmp_path / "right.mkv", people=people)
        monkeypatch.setattr("fapvideo.plan.strangers.UNLIKE", (-1.0, -1.0))
        report = swap.run(two, tmp_path / "wrong.mkv", people=people)
    assert [track["swapped"] for track in report.tracks] == [False, True]
    assert_same(tmp_path / "right.mkv", tmp_path / "wrong.mkv")


@pytest.mark.slow
def test_another_cast_does_not_go_on_from_where_its_people_rested(
    two: Path, tmp_path: Path
) -> None:
    mine = [Person(face_clips.one_face(0)[0], {"mouth": BRAND})]
    theirs = [Person(BRAND, {"mouth": BRAND})]
    with swapper() as swap:
        swap.run(two, tmp_path / "theirs.mkv", people=theirs)
        swap.plan(two, tmp_path / "job", people=mine, container=".mkv")
        swap.run(two, tmp_path / "again.mkv", people=theirs, plan=tmp_path / "job")
    assert_same(tmp_path / "theirs.mkv", tmp_path / "again.mkv")
