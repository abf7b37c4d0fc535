import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from portrait import astronaut_face, posed, scene

from fapvideo.config.schema import TrackConfig
from fapvideo.ops import mesh
from fapvideo.ops.pose import head_pose
from fapvideo.structs import Face, Track
from fapvideo.track import landmarks
from fapvideo.track.choose import select
from fapvideo.track.landmarks import FaceMesh
from fapvideo.track.tracker import (
    DISAGREES,
    FINE_ROUND,
    LOST_AFTER_S,
    NOT_MEASURED,
    FaceTracker,
)

RATE = 25.0
SIZE = (320, 180)
BROKEN = np.full((478, 3), np.nan, np.float32)


def follow(pictures, folder, rate=RATE, **config):
    """Return the tracks of a list of pictures, and the tracker."""
    scratch = Path(tempfile.mkdtemp(dir=folder))
    tracker = FaceTracker(TrackConfig(**config), scratch)
    for number, picture in enumerate(pictures):
        tracker.update(picture, number / rate)
    return tracker.tracks(), tracker


def centres(track):
    """Return [T, 2] the middle of the eyes in every frame."""
    return np.array([mesh.eye_centres(shape)[:, :2].mean(axis=0) for shape in track.landmarks])


def eyes_at(x, y, width):
    """Return where `scene` puts the middle of the eyes of a face at (x, y)."""
    face = astronaut_face()
    box = face.box
    middle = (box[:2] + box[2:]) / 2
    eyes = mesh.eye_centres(face.landmarks)[:, :2].mean(axis=0)
    scale = abs(width) / (box[2] - box[0])
    return np.array([x, y]) + (eyes - middle) * scale * [np.sign(width), 1]


def test_a_moving_face_is_one_track_that_follows_it(tmp_path):
    places = [(90 + 7 * i, 80 + 1.5 * i, 70 + i) for i in range(15)]
    (track,), tracker = follow([scene(SIZE, [place]) for place in places], tmp_path)
    assert (track.id, track.first_frame, track.last_frame, len(track)) == (0, 0, 14, 15)
    expected = np.array([eyes_at(*place) for place in places])
    unit = mesh.interocular(track.landmarks[0])
    assert np.abs(centres(track) - expected).max() < 0.06 * unit
    assert (track.presence > 0.9).all()
    assert track.jump.max() < 0.1
    assert mesh.interocular(track.neutral) == pytest.approx(1, abs=0.05)
    assert tracker.cuts == []
    assert tracker.measured == 15


@pytest.mark.slow
def test_two_faces_that_pass_each_other_keep_their_numbers(tmp_path):
    """One above the other: they swap sides without ever touching."""
    size = (400, 360)
    pictures, first, second = [], [], []
    for i in range(14):
        a, b = (100 + 15 * i, 90, 70), (300 - 15 * i, 270, -70)
        pictures.append(scene(size, [a, b]))
        first.append(eyes_at(*a))
        second.append(eyes_at(*b))
    tracks, _ = follow(pictures, tmp_path)
    assert [(t.id, t.first_frame, len(t)) for t in tracks] == [(0, 0, 14), (1, 0, 14)]
    a, b = sorted(tracks, key=lambda t: centres(t)[0, 0])
    assert np.abs(centres(a) - first).max() < 4
    assert np.abs(centres(b) - second).max() < 4


def test_a_cut_ends_every_track_and_starts_new_ones(tmp_path):
    """The same face in the same place in another scene is another track."""
    place = (160, 90, 80)
    red, blue = (150, 60, 50), (40, 60, 150)
    pictures = [scene(SIZE, [place], red)] * 7 + [scene(SIZE, [place], blue)] * 7
    tracks, tracker = follow(pictures, tmp_path)
    assert tracker.cuts == [7]
    assert [(t.first_frame, t.last_frame) for t in tracks] == [(0, 6), (7, 13)]


def test_smoothing_never_mixes_two_shots(tmp_path):
    """Before and after a cut the landmarks are those of the shot alone."""
    red, blue = (150, 60, 50), (40, 60, 150)
    near, far = scene(SIZE, [(100, 90, 80)], red), scene(SIZE, [(190, 95, 80)], blue)
    tracks, _ = follow([near] * 6 + [far] * 6, tmp_path, smooth_s=0.2)
    alone, _ = follow([near] * 6, tmp_path, smooth_s=0.2)
    np.testing.assert_allclose(tracks[0].landmarks[-1], alone[0].landmarks[-1], atol=1e-3)
    assert np.abs(centres(tracks[1])[0] - eyes_at(190, 95, 80)).max() < 3


def test_a_light_that_goes_on_is_no_cut(tmp_path):
    pictures = [np.clip(scene(SIZE, [(160, 90, 80)]) * (1 + 0.02 * i), 0, 255).astype(np.uint8)
                for i in range(8)]  # fmt: skip
    tracks, tracker = follow(pictures, tmp_path)
    assert tracker.cuts == []
    assert [len(t) for t in tracks] == [8]


def test_a_face_hidden_for_some_frames_is_one_track_with_a_gap(tmp_path):
    """Missing frames have presence 0 and landmarks on the way between."""
    places = [(90 + 5 * i, 90, 80) for i in range(16)]
    pictures = [scene(SIZE, [] if 6 <= i < 10 else [p]) for i, p in enumerate(places)]
    (track,), _ = follow(pictures, tmp_path)
    assert len(track) == 16
    assert np.flatnonzero(track.presence == 0).tolist() == [6, 7, 8, 9]
    expected = np.array([eyes_at(*place) for place in places])
    assert np.abs(centres(track) - expected).max() < 5


def test_a_face_that_comes_back_late_is_a_new_track(tmp_path):
    """And the first one ends with its last measurement, not with the wait."""
    gone = round(LOST_AFTER_S * RATE) + 2
    face, empty = scene(SIZE, [(160, 90, 80)]), scene(SIZE, [])
    tracks, _ = follow([face] * 5 + [empty] * gone + [face] * 5, tmp_path)
    assert [(t.first_frame, t.last_frame) for t in tracks] == [(0, 4), (5 + gone, 9 + gone)]
    assert [t.id for t in tracks] == [0, 1]


def test_a_face_that_enters_an_empty_picture_is_found_at_once(tmp_path):
    face, empty = scene(SIZE, [(160, 90, 80)]), scene(SIZE, [])
    tracks, _ = follow([empty] * 3 + [face] * 5, tmp_path)
    assert [(t.first_frame, t.last_frame) for t in tracks] == [(3, 7)]


def test_a_second_face_is_found_by_the_next_search(tmp_path):
    one, two = scene(SIZE, [(90, 90, 70)]), scene(SIZE, [(90, 90, 70), (230, 90, -70)])
    tracks, _ = follow([one] * 3 + [two] * 9, tmp_path, detect_every=4)
    assert [(t.first_frame, t.last_frame) for t in tracks] == [(0, 11), (4, 11)]


@pytest.mark.slow
def test_a_face_of_32_px_in_a_large_picture_is_found_within_a_second(tmp_path):
    """At once in the first frame, later when its turn comes."""
    size = (960, 800)
    first, both = scene(size, [(700, 420, 32)]), scene(size, [(700, 420, 32), (212, 600, 32)])
    tracks, _ = follow([first] + [both] * FINE_ROUND, tmp_path, detect_every=100)
    assert [track.first_frame == 0 for track in tracks] == [True, False]
    assert np.abs(centres(tracks[1])[-1] - eyes_at(212, 600, 32)).max() < 4


def test_a_clip_without_a_face_has_no_track(tmp_path):
    tracks, tracker = follow([scene(SIZE, [])] * 3, tmp_path)
    assert tracks == ()
    assert tracker.measured == 0


def test_no_frames_at_all(tmp_path):
    assert follow([], tmp_path)[0] == ()


def test_one_picture_is_a_track_of_one_frame(tmp_path):
    (track,), _ = follow([scene(SIZE, [(160, 90, 80)])], tmp_path, rate=1.0)
    assert len(track) == 1
    assert np.abs(centres(track)[0] - eyes_at(160, 90, 80)).max() < 4


@pytest.mark.slow
def test_faces_too_small_and_too_many_are_left_out(tmp_path):
    size = (400, 300)
    picture = scene(size, [(70, 150, 40), (200, 150, 90), (330, 150, 60)])
    assert len(follow([picture] * 3, tmp_path)[0]) == 3
    assert len(follow([picture] * 3, tmp_path, min_face_px=50)[0]) == 2
    assert len(follow([picture] * 3, tmp_path, max_faces=1)[0]) == 1


@pytest.mark.parametrize("places", [(90, 240), (240, 90)])
def test_of_a_crowd_the_largest_are_followed(tmp_path, places):
    small, large = ((x, 100, width) for x, width in zip(places, (70, 120), strict=True))
    (track,), _ = follow([scene(SIZE, [small, large])] * 3, tmp_path, max_faces=1)
    assert track.landmarks[0, :468, 0].mean() == pytest.approx(large[0], abs=15)


@pytest.mark.slow
def test_a_glimpse_shorter_than_a_tenth_of_a_second_is_dropped(tmp_path):
    face, empty = scene(SIZE, [(160, 90, 80)]), scene(SIZE, [])
    pictures = [face] * 2 + [empty] * 10
    assert len(follow(pictures, tmp_path, rate=10.0)[0]) == 1
    assert len(follow(pictures, tmp_path, rate=50.0)[0]) == 0


@pytest.mark.slow
def test_smoothing_calms_a_noisy_picture(tmp_path):
    """A still face under sensor noise: its landmarks stand still too, at the true place."""
    rng = np.random.default_rng(0)
    clean = scene(SIZE, [(160, 90, 80)])
    pictures = [np.clip(clean + rng.normal(0, 14, clean.shape), 0, 255).astype(np.uint8)
                for _ in range(16)]  # fmt: skip
    (rough,), _ = follow(pictures, tmp_path, smooth_s=0.0)
    (calm,), _ = follow(pictures, tmp_path, smooth_s=0.16)

    def jitter(track):
        return np.abs(np.diff(track.landmarks[:, :468, :2], axis=0)).mean()

    assert jitter(calm) < 0.5 * jitter(rough)
    assert np.abs(centres(calm) - eyes_at(160, 90, 80)).max() < 3


@pytest.mark.slow
def test_a_face_that_darts_to_and_fro_is_followed_in_every_frame(tmp_path):
    """Half its width between two frames, with stops: steadied, it must not lag either."""
    rng = np.random.default_rng(1)
    x = 110 + np.cumsum([0, 40, 40, 0, 0, -40, -38, 0, 0, 0, 35, -35, 20, 40, 0, 0])
    y = 90 + rng.integers(-8, 9, len(x))
    places = [(float(a), float(b), 80) for a, b in zip(x, y, strict=True)]
    (track,), _ = follow([scene(SIZE, [place]) for place in places], tmp_path)
    assert len(track) == len(places)
    assert set(track.faults) == {""}
    away = np.linalg.norm(centres(track) - [eyes_at(*place) for place in places], axis=1)
    assert away.max() < 0.06 * mesh.interocular(track.landmarks[0])


@pytest.mark.slow
def test_a_head_that_turns_over_is_followed_all_the_way_round(tmp_path):
    """360 degrees, 20 a frame, beginning on its head."""
    upright = scene((320, 320), [(160, 160, 110)])
    turns = [180 + 20 * i for i in range(19)]
    pictures = [
        cv2.warpAffine(upright, cv2.getRotationMatrix2D((160, 160), turn, 1.0), (320, 320),
                       borderMode=cv2.BORDER_REPLICATE)
        for turn in turns
    ]  # fmt: skip
    (track,), _ = follow(pictures, tmp_path)
    assert len(track) == len(turns)
    assert set(track.faults) == {""}
    leans = [np.degrees(head_pose(shape).roll) for shape in track.landmarks]
    first = np.degrees(head_pose(astronaut_face().landmarks).roll)
    away = (np.array(leans) - first + turns + 180) % 360 - 180
    assert np.abs(away).max() < 2


def test_a_mesh_that_slid_off_the_face_is_brought_back(tmp_path):
    """The detector sees where the face is; nothing is taken from the neck."""
    picture = scene(SIZE, [(160, 80, 70)])
    tracker = FaceTracker(TrackConfig(), tmp_path)
    for number in range(6):
        tracker.update(picture, number / RATE)
        if number == 2:
            (track,) = tracker._open
            slid = track.face.landmarks + np.array([20, 55, 0], np.float32)
            track.face = Face(track.face.box + np.float32([20, 55, 20, 55]), slid, 0.99)
    (track,) = tracker.tracks()
    assert set(track.faults) == {""}
    assert np.abs(centres(track) - eyes_at(160, 80, 70)).max() < 3


def test_a_mesh_that_is_sure_of_a_face_elsewhere_is_not_believed(tmp_path, monkeypatch):
    picture = scene(SIZE, [(160, 80, 70)])
    tracker = FaceTracker(TrackConfig(smooth_s=0), tmp_path)
    for number in range(4):
        tracker.update(picture, number / RATE)
    measure = FaceMesh._measure

    def mistaken(self, rgb, centre, direction, side, *, fine):
        face = measure(self, rgb, centre, direction, side, fine=fine)
        return Face(face.box, face.landmarks + np.float32([0, 30, 0]), 1.0)

    monkeypatch.setattr(FaceMesh, "_measure", mistaken)
    tracker.update(picture, 4 / RATE)
    monkeypatch.undo()
    tracker.update(picture, 5 / RATE)
    (track,) = tracker.tracks()
    assert track.faults == ("", "", "", "", DISAGREES, "")
    assert track.presence[4] == 0
    assert np.abs(centres(track) - eyes_at(160, 80, 70)).max() < 3, "bridged"


def test_points_that_are_no_numbers_are_not_measured(tmp_path, monkeypatch):
    picture = scene(SIZE, [(160, 80, 70)])
    tracker = FaceTracker(TrackConfig(), tmp_path)
    for number in range(4):
        with monkeypatch.context() as patch:
            if number == 1:
                patch.setattr(landmarks, "read_outputs", lambda *_: (BROKEN, 18.0))
            tracker.update(picture, number / RATE)
    (track,) = tracker.tracks()
    assert track.faults == ("", NOT_MEASURED, "", "")
    assert np.isfinite(track.landmarks).all()


def test_two_tracks_on_one_face_become_one(tmp_path):
    """The younger is ended."""
    picture = scene(SIZE, [(160, 90, 80)])
    tracker = FaceTracker(TrackConfig(), tmp_path)
    tracker.update(picture, 0.0)
    (track,) = tracker._open
    moved = Face(track.face.box + 3, track.face.landmarks + 3, 0.99)
    tracker._start(picture, moved)
    assert len(tracker._open) == 2
    for number in range(1, 6):
        tracker.update(picture, number / RATE)
    assert [t.id for t in tracker._open] == [0]
    assert [(t.id, len(t)) for t in tracker.tracks()] == [(0, 6)]


def test_a_long_track_lies_on_disk(tmp_path):
    (track,), _ = follow([scene(SIZE, [(160, 90, 80)])] * 4, tmp_path)
    assert isinstance(track.landmarks, np.memmap)
    assert [path.name for path in tmp_path.rglob("*.f32")] == ["track0.smooth.f32"]


# --------------------------------------------------------------------------------- select


def fake(number, first, last, scale=80.0, x=160.0):
    """Return a track of a still face."""
    count = last - first + 1
    shape = posed(scale=scale, at=(x, 100))
    return Track(
        number, first, np.repeat(shape[None], count, axis=0), np.ones(count, np.float32),
        np.zeros(count, np.float32), mesh.canonical(),
    )  # fmt: skip


def ids(tracks):
    return [track.id for track in tracks]


def test_all_and_by_number():
    tracks = (fake(0, 0, 9), fake(1, 0, 9), fake(2, 20, 29))
    assert ids(select(tracks, "all")) == [0, 1, 2]
    assert ids(select(tracks, "id:1")) == [1]
    assert ids(select(tracks, "id:7")) == []
    assert select((), "largest") == select((), "left:1") == ()


def test_largest_is_decided_shot_by_shot():
    tracks = (fake(0, 0, 9, 60), fake(1, 0, 9, 90), fake(2, 10, 19, 30), fake(3, 12, 19, 20))
    assert ids(select(tracks, "largest")) == [1, 2]


def test_largest_prefers_area_over_time():
    """A passer-by near the camera does not take the presenter's place."""
    presenter, passer_by = fake(0, 0, 199, 80), fake(1, 50, 60, 110)
    assert ids(select((presenter, passer_by), "largest")) == [0]


def test_from_the_left_where_they_appear():
    tracks = (fake(0, 0, 9, x=300), fake(1, 0, 9, x=100), fake(2, 0, 9, x=200))
    assert ids(select(tracks, "left:1")) == [1]
    assert ids(select(tracks, "left:2")) == [2]
    assert ids(select(tracks, "left:3")) == [0]
    assert ids(select(tracks, "left:4")) == []
    alone = (*tracks, fake(3, 20, 29, x=500))
    assert ids(select(alone, "left:1")) == [1, 3], "counted anew in every shot"
