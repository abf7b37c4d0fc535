"""From photos to aligned crops: what is used, what is not and why, what is held out."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from enlarger import CubicEnlarger
from portrait import finder
from training_setup import tiny_preset

from fapvideo.config.train import DataConfig
from fapvideo.errors import Cancelled, ReferenceImageError
from fapvideo.ops import mesh
from fapvideo.structs import Bytes
from fapvideo.track.landmarks import FaceMesh
from fapvideo.training.faces.prepare import FaceSet, load_faces, prepare
from fapvideo.training.faces.sources import sources_in

DATA = tiny_preset().data


def write(path: Path, picture: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(picture[..., ::-1]))


def fill(folder: Path, pictures: list[Bytes]) -> None:
    """Write what a careless user has: some good photos, each kind of bad one."""
    write(folder / "a_good.png", pictures[0])
    write(folder / "b_blurred.png", cv2.GaussianBlur(pictures[1], (0, 0), 3))
    write(folder / "c_grey.png", np.full((90, 90, 3), 128, np.uint8))
    write(folder / "d_small.png", cv2.resize(pictures[2], None, fx=0.4, fy=0.4))
    write(folder / "e_turned.png", pictures[7])
    (folder / "f_text.jpg").write_text("no picture")
    (folder / "g_notes.txt").write_text("not looked at")
    write(folder / ".hidden.png", pictures[0])
    write(folder / "h_good.png", pictures[6])


@pytest.mark.slow
def test_small_photos_are_enlarged_others_are_not(photos: Path, tmp_path: Path) -> None:
    network = CubicEnlarger()
    plain = prepare(sources_in([photos]), tmp_path / "plain", 256, DATA)
    prepare(sources_in([photos]), tmp_path / "64", 64, DATA, enlarger=network)
    assert network.seen == 0
    drawn = prepare(sources_in([photos]), tmp_path / "256", 256, DATA, enlarger=network)
    assert network.seen == len(drawn) == len(plain)
    np.testing.assert_array_equal(drawn.landmarks, plain.landmarks)
    assert cv2.PSNR(drawn.crops[0], plain.crops[0]) > 35


@pytest.mark.slow
def test_sharpness_is_that_of_the_photo_not_of_stretched_pixels(
    pictures: list[Bytes], tmp_path: Path
) -> None:
    write(tmp_path / "mine" / "a.png", pictures[0])
    write(tmp_path / "mine" / "b.png", cv2.GaussianBlur(pictures[1], (0, 0), 3))
    write(tmp_path / "mine" / "c.png", pictures[2])
    config = DataConfig(min_presence=0, min_sharpness=60)
    sources = sources_in([tmp_path / "mine"])
    with pytest.raises(ReferenceImageError, match="blurred"):
        prepare(sources, tmp_path / "stretched", 512, config)
    drawn = prepare(sources, tmp_path / "drawn", 512, config, enlarger=CubicEnlarger())
    assert drawn.names == ("mine/a.png", "mine/c.png")


def test_bad_photos_are_left_out_with_the_reason(pictures: list[Bytes], tmp_path: Path) -> None:
    fill(tmp_path / "mine", pictures)
    config = DataConfig(min_presence=0, max_yaw_deg=4.0, min_sharpness=60, holdout=2)
    faces = prepare(sources_in([tmp_path / "mine"]), tmp_path / "cache", 96, config)
    assert faces.names == ("mine/a_good.png", "mine/h_good.png")
    kinds = {name.partition("_")[2]: why.partition(":")[0] for name, why in faces.dropped.items()}
    assert kinds == {
        "blurred.png": "blurred",
        "grey.png": "no face found",
        "small.png": "too small",
        "turned.png": "turned away",
        "text.jpg": "not a readable image",
    }
    assert set(faces.reasons().values()) == {1}
    listed = json.loads((tmp_path / "cache" / "faces.json").read_text())
    assert listed["dropped"] == faces.dropped


def test_toned_prints_and_named_files_are_left_out_and_keep_their_place(
    pictures: list[Bytes], tmp_path: Path
) -> None:
    grey = cv2.cvtColor(pictures[1], cv2.COLOR_RGB2GRAY)[..., None] / 255
    sepia = np.round(255 * grey ** np.array([0.8, 1.0, 1.4])).astype(np.uint8)
    given = (pictures[0], sepia, pictures[2], pictures[6], pictures[4])
    for letter, picture in zip("abcde", given, strict=True):
        write(tmp_path / "mine" / f"{letter}.png", picture)
    rules = {"min_presence": 0.0, "holdout": 3, "leave_out": ("c.png",), "min_colour": 2.4}
    faces = prepare(sources_in([tmp_path / "mine"]), tmp_path / "x", 96, DataConfig(**rules))
    kinds = {name: why.partition(":")[0] for name, why in faces.dropped.items()}
    assert kinds == {
        "mine/b.png": "printed in one ink, or toned",
        "mine/c.png": "left out by data.leave_out",
    }
    assert faces.names == ("mine/a.png", "mine/d.png", "mine/e.png")
    assert faces.heldout == (True, True, False)


def test_a_face_behind_something_is_left_out(pictures: list[Bytes], tmp_path: Path) -> None:
    for name, covered in (("a", False), ("b", False), ("c", True)):
        picture = pictures[0].copy()
        if covered:
            picture[95:160] = 90
        write(tmp_path / "mine" / f"{name}.png", picture)
    faces = prepare(
        sources_in([tmp_path / "mine"]), tmp_path / "cache", 64, DataConfig(min_face_px=8)
    )
    (reason,) = faces.dropped.values()
    assert reason.startswith(("face covered or unclear", "no face found"))


def test_every_nth_photo_by_name_is_held_out_whatever_is_dropped(
    pictures: list[Bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    for number in range(7):
        write(folder / f"{number}.png", pictures[number])
    (folder / "1.png").write_text("damaged")
    (folder / "4.png").write_text("damaged")
    config = DATA.model_copy(update={"holdout": 3})
    faces = prepare(sources_in([folder]), tmp_path / "cache", 64, config)
    held = {name for name, out in zip(faces.names, faces.heldout, strict=True) if out}
    # 0, 3 and 6 of the sorted names, though 1 and 4 are gone.
    assert held == {"mine/0.png", "mine/3.png", "mine/6.png"}
    assert sorted(faces.indices(heldout=True) + faces.indices(heldout=False)) == list(range(5))


def test_both_sides_get_a_face_even_if_the_rule_leaves_one_out(
    pictures: list[Bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    (folder).mkdir()
    (folder / "0.png").write_text("damaged")
    write(folder / "1.png", pictures[1])
    write(folder / "2.png", pictures[2])
    faces = prepare(sources_in([folder]), tmp_path / "cache", 64, DATA)
    assert faces.heldout == (True, False)


def test_subfolders_are_people_and_names_tell_them_apart(
    pictures: list[Bytes], tmp_path: Path
) -> None:
    for person in ("anna", "ben"):
        write(tmp_path / "all" / person / "1.png", pictures[0])
    photos = sources_in([tmp_path / "all"])
    assert [photo.name for photo in photos] == ["all/anna/1.png", "all/ben/1.png"]
    assert [photo.person() for photo in photos] == ["all/anna", "all/ben"]
    assert prepare(photos, tmp_path / "cache", 64, DATA).identities == 2


def test_photos_that_are_given_twice_count_once(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "1.png").touch()
    assert len(sources_in([tmp_path, tmp_path, tmp_path / "anna"])) == 1


def test_a_prepared_cache_is_used_again(faces_folder: Path, faces: FaceSet) -> None:
    again = prepare([], faces_folder, 64, DATA)
    np.testing.assert_array_equal(again.landmarks, faces.landmarks)
    assert len(again) == 8
    assert isinstance(again.crops, np.memmap)
    assert load_faces(faces_folder).names == faces.names


def test_a_stopped_preparation_leaves_no_cache(photos: Path, tmp_path: Path) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Cancelled, match="after 2 of 8 files"):
        prepare(sources_in([photos]), tmp_path, 64, DATA, stop=lambda: next(asked))
    assert not (tmp_path / "faces.json").exists()


def test_one_face_is_not_enough(pictures: list[Bytes], tmp_path: Path) -> None:
    write(tmp_path / "mine" / "a.png", pictures[0])
    (tmp_path / "mine" / "b.png").write_text("damaged")
    with pytest.raises(ReferenceImageError, match=r"1 of 2 files .*b.png: not a readable") as e:
        prepare(sources_in([tmp_path / "mine"]), tmp_path / "cache", 64, DATA)
    assert "at least two" in e.value.hint


def test_folders_without_photos(tmp_path: Path) -> None:
    with pytest.raises(ReferenceImageError, match="no photos or videos in"):
        sources_in([tmp_path])
    with pytest.raises(ReferenceImageError, match="is not a folder"):
        sources_in([tmp_path / "nowhere"])


@pytest.mark.slow
def test_landmarks_lie_on_the_crop(faces: FaceSet) -> None:
    for index in range(len(faces)):
        assert landmark_error(*faces.face(index)) < 0.06


@pytest.mark.slow
@pytest.mark.parametrize("index", [4, 6, 7])
def test_mirrored_landmarks_fit_the_mirrored_photo(faces: FaceSet, index: int) -> None:
    image, points = faces.face(index, mirrored=True)
    assert landmark_error(image, points) < 0.06
    # The test can tell: landmarks that keep their numbers are far off.
    plain = faces.face(index)[1]
    unswapped = plain * [-1, 1, 1] + [image.shape[1], 0, 0]
    assert landmark_error(image, unswapped) > 0.5


def landmark_error(image: np.ndarray, points: np.ndarray) -> float:
    """Return the mean distance of `points` to the mesh measured anew, in inter-ocular distances."""
    rgb = cv2.resize((image * 255).astype(np.uint8), (256, 256), interpolation=cv2.INTER_CUBIC)
    scaled = points * (256 / image.shape[0])
    found = FaceMesh().from_landmarks(rgb, first_guess(rgb)).landmarks
    distance = np.linalg.norm(found[:468, :2] - scaled[:468, :2], axis=1).mean()
    return float(distance) / mesh.interocular(found)


def first_guess(rgb: np.ndarray) -> np.ndarray:
    """Return the landmarks as the detector's box gives them."""
    padded = cv2.copyMakeBorder(rgb, 64, 64, 64, 64, cv2.BORDER_REPLICATE)
    (face,) = finder()(padded)
    return face.landmarks - [64, 64, 0]
