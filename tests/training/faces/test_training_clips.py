"""Videos as data: which frames are taken, whose they are, and that no video is on both sides."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip
from portrait import finder, headshot
from training_setup import tiny_preset

from fapvideo.config.train import DataConfig
from fapvideo.errors import Cancelled, ReferenceImageError
from fapvideo.structs import Bytes
from fapvideo.synth.motion import Motion
from fapvideo.synth.portrait import AnimatedPortrait
from fapvideo.training.faces.alignment import LOOKS, Measured
from fapvideo.training.faces.clips import STRETCH_S, clip_faces, most_different
from fapvideo.training.faces.page import spread
from fapvideo.training.faces.prepare import FaceSet, prepare
from fapvideo.training.faces.sources import Source, sources_in

DATA = tiny_preset().data
RATE = 25


@pytest.fixture(scope="module")
def clip(pictures: list[Bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return three seconds: a face, from 1 to 2 s grey, its eyes closed from 2.2 s on."""
    asleep = AnimatedPortrait(headshot(260), (200, 200)).draw(Motion(blink=1.0))[0]

    def paint(index: int) -> Bytes:
        if RATE <= index < 2 * RATE:
            return np.full((200, 200, 3), 128, np.uint8)
        return asleep if index >= 2.2 * RATE else pictures[0]

    folder = tmp_path_factory.mktemp("clip")
    return make_clip(folder, "plain", paint, size=(200, 200), frames=3 * RATE, audio=())


@pytest.mark.slow
def test_frames_are_spread_and_those_without_a_face_are_counted(clip: Path) -> None:
    found = clip_faces(clip, finder(), 64, DATA)
    assert not isinstance(found, str)
    times = [time for time, _ in found.kept]
    assert len(times) == 4  # of six stretches of half a second, two are grey
    assert times == sorted(times)
    assert len({int(time / STRETCH_S) for time in times}) == 4
    assert min(np.diff(times)) > STRETCH_S / 2 - 1 / 25  # to a frame
    assert not any(1.0 <= time < 2.0 for time in times)
    assert found.looked_at == 18
    assert found.reasons == {"no face found": 6}


def test_the_most_different_looks_are_kept(clip: Path) -> None:
    found = clip_faces(clip, finder(), 64, DATA.model_copy(update={"video_frames": 2}))
    assert not isinstance(found, str)
    first, second = (face for _, face in found.kept)
    assert found.kept[1][0] >= 2.2
    eyes = LOOKS.index("eye_open")
    assert second.look[eyes] < 0.5 * first.look[eyes]


def test_the_sharpest_comes_first_then_what_is_farthest() -> None:
    looks, sharpness = (0.0, 0.1, 0.5, 0.9, 1.0), (5, 9, 5, 5, 5)
    blank = np.zeros((1, 1, 3), np.uint8)
    faces = [
        (float(i), Measured(blank, np.zeros((478, 3)), s, np.array([look])))
        for i, (look, s) in enumerate(zip(looks, sharpness, strict=True))
    ]
    assert most_different(faces, 1) == [1]
    assert most_different(faces, 2) == [1, 4]
    assert most_different(faces, 3) == [1, 2, 4]
    assert most_different(faces, 9) == [0, 1, 2, 3, 4]


def test_the_sharpest_of_a_stretch_stands_for_it(pictures: list[Bytes], tmp_path: Path) -> None:
    blurred = cv2.GaussianBlur(pictures[0], (0, 0), 2)

    def paint(index: int) -> Bytes:
        return pictures[0] if 0.2 <= index / RATE < 0.3 else blurred

    path = make_clip(tmp_path, "plain", paint, size=(200, 200), frames=RATE // 2, audio=())
    found = clip_faces(path, finder(), 64, DATA)
    assert not isinstance(found, str)
    ((time, _),) = found.kept
    assert 0.2 <= time < 0.3  # the second of three looks


@pytest.mark.slow
def test_reading_goes_in_small_passes(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = clip_faces(clip, finder(), 64, DATA)
    monkeypatch.setattr("fapvideo.training.faces.clips.MEMORY", 1)
    asked: list[bool] = []
    parts = clip_faces(clip, finder(), 64, DATA, lambda: bool(asked.append(True)))
    assert len(asked) == 6
    assert not isinstance(whole, str)
    assert not isinstance(parts, str)
    assert [time for time, _ in parts.kept] == [time for time, _ in whole.kept]
    with pytest.raises(Cancelled):
        clip_faces(clip, finder(), 64, DATA, lambda: True)


@pytest.mark.slow
def test_a_video_counts_as_one_file_of_the_rule_and_is_never_on_both_sides(
    clip: Path, pictures: list[Bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("0.png", "2.png", "4.png"):
        cv2.imwrite(str(folder / name), np.ascontiguousarray(pictures[0][..., ::-1]))
    for name in ("1.mp4", "3.mov", "5.mkv"):
        shutil.copy(clip, folder / name)
    config = DATA.model_copy(update={"holdout": 3, "video_frames": 3})
    faces = prepare(sources_in([folder]), tmp_path / "cache", 64, config)
    sides: dict[str, set[bool]] = {}
    for name, held in zip(faces.names, faces.heldout, strict=True):
        sides.setdefault(name.partition("@")[0].removeprefix("mine/"), set()).add(held)
    # Files 0 and 3 of six, the latter a video, are held out, as a whole.
    assert sides == {
        "0.png": {True},
        "1.mp4": {False},
        "2.png": {False},
        "3.mov": {True},
        "4.png": {False},
        "5.mkv": {False},
    }
    assert len(faces) == 3 + 3 * 3
    assert len(faces.landmarks) == len(faces)
    # Videos at top level are persons of their own; nobody says whose the photos are.
    assert set(faces.people) == {"", "mine/1.mp4", "mine/3.mov", "mine/5.mkv"}
    assert faces.identities == 3


@pytest.mark.slow
def test_one_video_alone_cannot_be_split(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(clip, folder)
    (folder / "notes.mp4").write_text("no video")
    with pytest.raises(ReferenceImageError, match=r"all usable faces are from mine/plain") as error:
        prepare(sources_in([folder]), tmp_path / "cache", 64, DATA)
    assert "another video" in error.value.hint
    assert not (tmp_path / "cache" / "faces.json").exists()


def test_videos_that_are_of_no_use_are_left_out_with_the_reason(
    pictures: list[Bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in "ab":
        cv2.imwrite(str(folder / f"{name}.png"), np.ascontiguousarray(pictures[0][..., ::-1]))
    (folder / "c.mp4").write_bytes(b"damaged" * 99)
    make_clip(folder, "plain", lambda i: np.full((64, 96, 3), 99, np.uint8), frames=12, audio=())
    faces = prepare(sources_in([folder]), tmp_path / "cache", 64, DATA)
    assert faces.dropped["mine/c.mp4"].startswith("not a readable video: ")
    assert faces.dropped["mine/plain.mp4"] == "no usable frame: 3 no face found"
    assert faces.reasons() == {"not a readable video": 1, "no usable frame": 1}


@pytest.mark.parametrize(
    ("name", "person", "of_one"),
    [
        ("all/1.jpg", "", "all"),
        ("all/1.MP4", "all/1.MP4", "all"),
        ("all/anna/1.jpg", "all/anna", "all/anna"),
        ("all/anna/2.mp4", "all/anna", "all/anna"),
        ("all/anna/old/3.jpg", "all/anna", "all/anna"),
    ],
)
def test_whose_face_it_is(name: str, person: str, of_one: str) -> None:
    source = Source(name, Path(name))
    assert source.person() == person
    assert source.person(one_person=True) == of_one


def test_a_file_that_changes_has_another_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(300_000))
    before = Source("a.mp4", path).fingerprint()
    assert Source("a.mp4", path).fingerprint() == before
    path.write_bytes(bytes(299_999) + b"x")
    assert Source("a.mp4", path).fingerprint() != before


def test_the_page_says_what_became_of_every_file(faces: FaceSet, faces_folder: Path) -> None:
    page = (faces_folder / "report.html").read_text("utf-8")
    assert "8 faces from 8 of 8 files: 6 to train on, 2 held out. 0 files are left out." in page
    assert len(re.findall(r"src='data:image/jpeg;base64,", page)) == 8
    assert all(name in page for name in faces.names)


def test_thumbnails_that_are_shown_are_spread_over_all() -> None:
    assert spread([4, 5, 6], 3) == [4, 5, 6]
    assert spread(list(range(10)), 5) == [0, 2, 4, 6, 8]


@pytest.mark.slow
def test_the_page_of_a_careless_folder(
    clip: Path, pictures: list[Bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fapvideo.training.faces.page.SHOWN_DROPPED", 2)
    anna = tmp_path / "all" / "anna"
    anna.mkdir(parents=True)
    cv2.imwrite(str(anna / "1.png"), np.ascontiguousarray(pictures[0][..., ::-1]))
    for number in range(3):
        cv2.imwrite(str(anna / f"<b>{number}.png"), np.full((90, 90, 3), 128, np.uint8))
    (anna / "text.jpg").write_text("no picture")
    shutil.copy(clip, tmp_path / "all" / "talk.mp4")
    config = DataConfig(min_presence=0.5, min_sharpness=0, video_frames=2)
    prepare(sources_in([tmp_path / "all"]), tmp_path / "cache", 64, config)
    page = (tmp_path / "cache" / "report.html").read_text("utf-8")
    assert "<td>no face found</td><td class='n'>3</td>" in page
    assert "<td>not a readable image</td><td class='n'>1</td>" in page
    assert "2 more are not shown." in page
    assert "&lt;b&gt;" in page
    assert "<b>0.png" not in page
    assert "<td>all/anna</td><td class='n'>1</td>" in page
    assert "<td class='n'>12</td><td class='n'>2</td><td>4 no face found</td>" in page
    assert not re.search(r"(src|href)=['\"](?!data:)", page)  # opens offline
