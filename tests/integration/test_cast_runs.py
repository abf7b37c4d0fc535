"""Whole runs with a cast: each person with their own parts, through cuts and absences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import clips
import cv2
import face_clips
import numpy as np
import pytest
from face_clips import FPS, GREY, START
from runs import BRAND, FAST, Decoded, decode, swapper

from fapvideo import Person
from fapvideo.errors import NoFaceFound, PresetError
from fapvideo.ops.files import write_atomically
from fapvideo.paint.pasted import PastedPainter
from fapvideo.structs import Bytes, RunReport
from fapvideo.swapper import VideoSwapper

SIDE = 192
TOP, BOTTOM = slice(0, 200), slice(200, 400)


def astronaut(index: int) -> Bytes:
    return face_clips.one_face(index % 12)[0][:, 60:252]


def brand(index: int) -> Bytes:
    return face_clips.rendered(face_clips.animated_brand_face(), START + 1 + index % 12 / FPS)[0]


def shot(left: Bytes, right: Bytes) -> Bytes:
    picture = np.full((240, 2 * SIDE, 3), GREY, np.uint8)
    picture[-len(left) :, :SIDE], picture[-len(right) :, SIDE:] = left, right
    return picture


def with_a_cut(index: int) -> Bytes:
    """Show the astronaut left and the brand face right, then the other way round in the dark."""
    if index < 5:
        return shot(astronaut(index), brand(index))
    return (shot(brand(index), astronaut(index)) * 0.5).astype(np.uint8)


def crossing(index: int) -> Bytes:
    """Let the astronaut go right at the top, the brand face left at the bottom, past each other."""
    picture = np.full((400, 400, 3), GREY, np.uint8)
    away = 14 * index
    picture[:192, away : away + SIDE] = astronaut(0)[40:232]
    picture[205:397, 208 - away : 208 - away + SIDE] = brand(0)
    return picture


def write(folder: Path, name: str) -> Path:
    """Return a small lossless clip, made once."""
    paint, size, frames = {
        "cut": (with_a_cut, (2 * SIDE, 240), 10),
        "crossing": (crossing, (400, 400), 15),
    }[name]
    path = folder / f"{name}.mkv"
    if not path.exists():
        plain = replace(face_clips.FACE_CLIPS["one_face"][0], size=size, frames=frames, audio=(),
                        metadata={}, codec="ffv1", suffix=".mkv", options={})  # fmt: skip
        with write_atomically(path) as fresh:
            clips.write_clip(fresh, plain, lambda index: paint(index).copy())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cast")


def swapped(source: Path, output: Path, people: Any, **tables: Any) -> tuple[RunReport, Any, Any]:
    with swapper(**tables) as swap:
        report = swap.run(source, output, people=people)
    assert report.outside_changed_samples == 0
    return report, decode(source), decode(output)


def changed(before: Decoded, after: Decoded, index: int) -> np.ndarray:
    """Return [H, W] where the luma of a frame differs."""
    return before.frames[index].planes[0] != after.frames[index].planes[0]


def where(mask: np.ndarray, columns: slice) -> float:
    """Return the height of the middle of what changed in some columns; NaN where nothing did."""
    rows = np.nonzero(mask[:, columns])[0]
    return float(rows.mean()) if len(rows) > 30 else float("nan")


@pytest.mark.slow
def test_everybody_keeps_their_own_part_across_a_cut(folder: Path, tmp_path: Path) -> None:
    people = [Person({"left": 1}, {"mouth": BRAND}), Person(BRAND, {"eyes": BRAND})]
    report, before, after = swapped(write(folder, "cut"), tmp_path / "o.mkv", people)
    assert report.warnings == ()
    assert [(t["person"], t["cast"].split()[0]) for t in report.tracks] in (
        [(0, "left"), (1, "photo"), (1, "photo"), (0, "left")],
        [(0, "left"), (1, "photo"), (0, "left"), (1, "photo")],
    )
    left, right = slice(0, SIDE), slice(SIDE, None)
    for index in range(10):
        mask = changed(before, after, index)
        speaker, other = (left, right) if index < 5 else (right, left)
        assert where(mask, speaker) > 155, "the astronaut's mouth"
        assert where(mask, other) < 140, "the brand face's eyes"
    assert {(row["part"], row["cast"].split()[0]) for row in report.references} == {
        ("mouth", "left"), ("eyes", "photo"),
    }  # fmt: skip


def test_two_people_who_cross_keep_their_own_part(folder: Path, tmp_path: Path) -> None:
    people = [Person({"left": 1}, {"mouth": BRAND}), Person({"everyone_else": True}, keep=True)]
    report, before, after = swapped(write(folder, "crossing"), tmp_path / "o.mkv", people)
    assert sorted(track["swapped"] for track in report.tracks) == [False, True]
    for index in range(15):
        mask = changed(before, after, index)
        assert mask[TOP].sum() > 30
        assert mask[BOTTOM].sum() == 0


@pytest.mark.slow
def test_who_leaves_and_returns_is_the_same_person(clip: Any, tmp_path: Path) -> None:
    source = clip("leaving", codec="ffv1", suffix=".mkv", options={})
    people = [Person({"track": 0}, strength=0.4), Person({"everyone_else": True}, keep=True)]
    report, _, _ = swapped(source, tmp_path / "o.mkv", people)
    assert len(report.tracks) == 2
    assert {track["person"] for track in report.tracks} == {0}
    assert all(track["swapped"] and track["cast"] == "track 0" for track in report.tracks)
    assert report.warnings == ("people.1 (everyone_else): nobody in the clip is meant by it",)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["guided", "published", "pasted"])
def test_people_do_not_change_each_other(folder: Path, mode: str) -> None:
    """A batch of faces with other parts, seeds and strengths is what each alone is."""
    tables: dict[str, Any] = {"denoise": {"mode": "guided", "steps": 1}}
    if mode == "published":
        tables = {"bundle": "tiny_sd15", "denoise": {"mode": "published", "steps": 1}}
    source = write(folder, "cut")
    one = Person({"left": 1}, {"mouth": BRAND}, seed=5)
    other = Person({"left": 2}, {"eyes": BRAND, "nose": BRAND}, strength=0.5)

    def frames(*people: Person) -> list[np.ndarray]:
        """Return each plane of the samples that would be written, all frames of it."""
        with swapper(**tables, video={**FAST, "end_s": 0.09}) as plain:
            painter = PastedPainter(plain.preset, "paste") if mode == "pasted" else None
            swap = VideoSwapper(plain.preset, "cpu", painter=painter) if painter else plain
            made = [f.planes for b in swap.stream(source, people=people) for f in b.frames]
            return [np.stack(planes).astype(int) for planes in zip(*made, strict=True)]

    nobody = frames(Person({"left": 1}, keep=True))
    planes = zip(frames(one, other), frames(one), frames(other), nobody, strict=True)
    for both, left, right, plain in planes:
        middle = both.shape[2] // 2
        halves = np.concatenate([left[:, :, :middle], right[:, :, middle:]], axis=2)
        apart = np.abs(both - halves)
        assert apart.max() <= 1
        assert np.mean(apart > 0) < 1e-3
        assert (left[:, :, middle:] == plain[:, :, middle:]).all()
        assert (left != right).any()


@pytest.mark.slow
def test_strength_is_opacity_and_a_simple_preset_is_the_cast_of_one(folder: Path) -> None:
    source = write(folder, "cut")

    def frames(given: Any, **tables: Any) -> np.ndarray:
        with swapper(video={**FAST, "end_s": 0.05}, **tables) as swap:
            return np.concatenate([b.rgb for b in swap.stream(source, people=given)]).astype(int)

    left = {"left": 1}
    simple = frames(None, track={"faces": "left:1"})
    np.testing.assert_array_equal(frames([Person(left)]), simple)
    np.testing.assert_array_equal(frames(None, people=[{"who": left}]), simple)
    none = frames([Person(left, strength=0.0)])
    np.testing.assert_array_equal(none, frames([Person(left, keep=True)]))
    half = frames([Person(left, strength=0.5)])
    part = np.abs(simple - none).max(axis=-1) > 30
    assert part.sum() > 30
    assert np.abs((simple + none) / 2 - half)[part].mean() < 3


@pytest.mark.slow
def test_pictures_clips_and_sheets_take_people_too(folder: Path) -> None:
    source, eyes = write(folder, "cut"), Person({"left": 2}, {"eyes": BRAND})
    with swapper() as swap, swap.open(source, people=[eyes]) as opened:
        kept = [Person({"everyone_else": True}, keep=True)]
        before = np.concatenate([batch.rgb for batch in swap.stream(source, people=kept)])
        still = opened.still(0.0)
        assert (still[:, :SIDE] == before[0][:, :SIDE]).all()
        np.testing.assert_array_equal(opened.still(0.0, settings={"mask.dilate": 0.07}), still)
        later = opened.still(0.3)
        assert (later[:, SIDE:] == before[7][:, SIDE:]).all(), "changed sides"
        assert (later[:, :SIDE] != before[7][:, :SIDE]).any()
        picture = swap.swap_image(before[0], people=[eyes])
        assert (picture[:, :SIDE] == before[0][:, :SIDE]).all()
        assert (picture[:, SIDE:] != before[0][:, SIDE:]).any()
        sheet = swap.preview(source, [0.0], people=[Person({"left": 2}, keep=True)])
        assert np.abs(np.subtract(*np.split(sheet.astype(int), 4)[::3])).mean() < 1.5
        with pytest.raises(NoFaceFound, match=r"people\.0"):
            swap.swap_image(before[0], people=[Person({"left": 5})])


@pytest.mark.slow
def test_inspect_says_who_is_cast_as_whom(folder: Path, tmp_path: Path) -> None:
    """Without looking at any reference."""
    photo = tmp_path / "her.png"
    cv2.imwrite(str(photo), face_clips.one_face(10)[0][..., ::-1])
    people = [{"who": {"photo": str(photo)}, "references": {"eyes": "gone.png"}},
              {"who": {"track": 9}, "keep": True}]  # fmt: skip
    with swapper(people=people) as swap:
        found = swap.inspect(write(folder, "cut"))
    assert [t["swapped"] for t in found["tracks"]].count(True) == 2
    assert {t["person"] for t in found["tracks"] if t["swapped"]} == {0}
    assert found["warnings"] == ["people.1 (track 9): nobody in the clip is meant by it"]


def test_what_is_wrong_with_people_is_said_before_the_work(folder: Path) -> None:
    with swapper(references={}) as swap, pytest.raises(PresetError, match="names no reference"):
        next(swap.stream(write(folder, "cut"), people=[Person({"left": 1})]))
