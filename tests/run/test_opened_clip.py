"""`VideoSwapper.open`: followed once, then painted frame by frame, under other settings too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import face_clips
import numpy as np
import pytest
from portrait import astronaut
from runs import BRAND, decode, swapper

from fapvideo.errors import Cancelled, FapVideoError, PresetError, VideoReadError, VideoWriteError
from fapvideo.plan import follow
from fapvideo.plan.search import BoxFinder
from fapvideo.plan.store import made_from
from fapvideo.run.clip import Clip
from fapvideo.run.engine import Engine
from fapvideo.run.followed import followed
from fapvideo.run.sources import FrameSource
from fapvideo.structs import Bytes, Floats
from fapvideo.swapper import VideoSwapper

FRAMES = 12


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clips.face_clip(tmp_path_factory.mktemp("clips"), "one_face", frames=FRAMES)


@pytest.fixture(scope="module")
def swap() -> Iterator[VideoSwapper]:
    with swapper() as one:
        yield one


@pytest.fixture(scope="module")
def clip(swap: VideoSwapper, source: Path) -> Iterator[Clip]:
    with swap.open(source) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(swap: VideoSwapper, source: Path) -> Bytes:
    """Every frame, as a stream gives them."""
    return np.concatenate([batch.rgb for batch in swap.stream(source)])


def test_a_still_is_the_frame_of_the_whole_run(clip: Clip, whole: Bytes) -> None:
    for time_s, index in ((0.0, 0), (0.2, 5), (0.21, 5), (0.4399, 10), (0.44, 11), (0.47, 11)):
        np.testing.assert_array_equal(clip.still(time_s), whole[index], err_msg=str(time_s))


def test_a_strip_is_the_frames_on_display(clip: Clip, whole: Bytes) -> None:
    np.testing.assert_array_equal(clip.strip(0.08, 0.2), whole[2:7])
    np.testing.assert_array_equal(clip.strip(0.4, 9.0), whole[10:])


@pytest.mark.parametrize("time_s", [-1.0, 99.0, float("nan")])
def test_a_time_outside_the_clip(clip: Clip, time_s: float) -> None:
    with pytest.raises(VideoReadError, match="no frame at"):
        clip.still(time_s)


@pytest.mark.slow
def test_settings_are_those_of_a_swapper_that_has_them(
    clip: Clip, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is followed again."""
    changes = {"mask.dilate": 0.3, "guide.light": 0.0, "composite.opacity": 0.5}
    with swapper(mask={"dilate": 0.3}, guide={"light": 0.0},
                 composite={"max_size": 64, "opacity": 0.5}) as other:  # fmt: skip
        wanted = np.concatenate([batch.rgb for batch in other.stream(source)])
    monkeypatch.setattr(follow, "FaceTracker", None)
    np.testing.assert_array_equal(clip.still(0.2, settings=changes), wanted[5])
    assert (clip.still(0.2) != wanted[5]).any()


def test_references_of_one_still(clip: Clip, whole: Bytes) -> None:
    eyes = clip.still(0.2, references={"eyes": BRAND})
    same = clip.still(0.2, settings={"references.mouth": [BRAND]})
    assert (eyes != whole[5]).any()
    np.testing.assert_array_equal(same, whole[5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bundle": "tiny_sd15"}, "bundle cannot be changed"),
        ({"track.smooth_s": 0.4}, r"track\.smooth_s cannot be changed"),
        ({"video.start_s": 0.1}, r"video\.start_s cannot be changed"),
        ({"denoise.precision": "bf16"}, r"denoise\.precision cannot be changed"),
        ({"mask.dilat": 0.1}, "unknown"),
    ],
)
def test_what_cannot_be_changed_is_said(
    clip: Clip, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(PresetError, match=message):
        clip.still(0.0, settings=settings)


def test_a_stretch_of_the_video_is_a_clip_too(source: Path, whole: Bytes) -> None:
    video = {"codec": "ffv1", "start_s": 0.16, "end_s": 0.32}
    with swapper(video=video) as one, one.open(source) as part:
        assert part.plan.frames == 4
        assert part.still(0.2).shape == whole[5].shape
        with pytest.raises(VideoReadError):
            part.still(0.05)


@pytest.mark.slow
def test_a_run_of_an_open_clip_follows_nobody_again(
    swap: VideoSwapper, clip: Clip, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "plan", None)
    report = swap.run(clip, tmp_path / "o.mkv")
    assert report.frames["swapped"] == FRAMES
    assert report.references[0]["path"] == BRAND
    monkeypatch.undo()
    swap.run(source, tmp_path / "again.mkv")
    clips = [decode(tmp_path / name) for name in ("o.mkv", "again.mkv")]
    assert all(clips[0].same_samples(clips[1], index) for index in range(FRAMES))


def test_a_kept_plan_is_found_again(
    swap: VideoSwapper, source: Path, whole: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "plan"
    with pytest.raises(VideoWriteError, match="no folder"):
        swap.open(source, folder=tmp_path / "no" / "plan")
    with swap.open(source, folder=folder) as first:
        np.testing.assert_array_equal(first.still(0.2), whole[5])
    monkeypatch.setattr(follow, "FaceTracker", None)
    with swap.open(source, folder=folder) as again:
        np.testing.assert_array_equal(again.still(0.2), whole[5])
    monkeypatch.undo()
    with swapper(mask={"dilate": 0.3}) as other, other.open(source, folder=folder) as fresh:
        assert (fresh.still(0.2) != whole[5]).any()
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


@pytest.mark.slow
def test_frames_from_python_are_a_clip(swap: VideoSwapper, tmp_path: Path) -> None:
    frames = np.stack([np.roll(astronaut(), shift, axis=1) for shift in range(0, 8, 2)])
    with swap.open(FrameSource(frames, 10)) as opened:
        still = opened.still(0.2)
        assert still.shape == frames[2].shape
        assert 0 < (still != frames[2]).any(axis=-1).mean() < 0.1
        with pytest.raises(VideoReadError, match="no file"):
            swap.open(opened.source, folder=tmp_path / "plan")
    report = swap.run(FrameSource(frames, 10), tmp_path / "o.mkv")
    assert report.frames["total"] == decode(tmp_path / "o.mkv").info.frames or 4
    np.testing.assert_array_equal(decode(tmp_path / "o.mkv").rgb[2], still)


def test_a_clip_ends_with_its_swapper(source: Path) -> None:
    with swapper() as one:
        opened = one.open(source)
    with pytest.raises(FapVideoError, match="closed"):
        opened.still(0.0)
    opened.close()


def test_looks_have_before_and_masks(clip: Clip, whole: Bytes, source: Path) -> None:
    looks = list(clip.looks(0.08, 0.12))
    assert [look.index for look in looks] == [2, 3, 4]
    filmed = decode(source).rgb
    for look in looks:
        np.testing.assert_array_equal(look.after, whole[look.index])
        np.testing.assert_array_equal(look.before, filmed[look.index])
        assert (look.masks != look.before).any()


def test_a_clip_that_another_swapper_has_open(
    clip: Clip, whole: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "FaceTracker", None)
    with swapper() as other, other.open(clip) as same:
        np.testing.assert_array_equal(same.still(0.2), whole[5])
        np.testing.assert_array_equal(clip.still(0.2), whole[5], err_msg="and that one still")


@pytest.mark.slow
def test_fewer_parts_are_not_looked_for_again(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"eyes": BRAND, "nose": BRAND}
    with swapper(references=wanted) as few, few.open(source) as clip:
        alone = clip.still(0.2)
    parts = dict.fromkeys(("eyes", "brows", "nose", "mouth"), BRAND)
    with swapper(references=parts) as many, many.open(source) as clip:
        monkeypatch.setattr(BoxFinder, "_look", None)
        np.testing.assert_array_equal(clip.still(0.2, references=wanted), alone)


def test_a_part_has_a_strength_and_an_expression_of_its_own(clip: Clip) -> None:
    """Half a mouth is half way to the filmed one, and the eyes stay as they are painted."""

    def still(parts: dict[str, dict[str, float]], **more: object) -> Floats:
        given = {"eyes": BRAND, "mouth": BRAND}
        one = {"who": {"largest": True}, "references": given, "parts": parts}
        return clip.still(0.2, settings={"people": [one], **more}).astype(np.float32)

    whole, none = still({}), clip.still(0.2, settings={"composite.opacity": 0.0})
    half = still({"mouth": {"strength": 0.5}})
    np.testing.assert_array_equal(still({"mouth": {"strength": 1.0}}), whole)
    np.testing.assert_array_equal(
        still({"mouth": {"strength": 0.0}}), clip.still(0.2, references={"eyes": BRAND})
    )
    mouth = (half != whole).any(axis=-1)
    assert mouth.sum() > 100
    above = slice(None, np.flatnonzero(mouth.any(axis=1)).min())
    assert (whole[above] != none[above]).any(axis=-1).sum() > 100, "the eyes are as before"
    all_half = still({}, **{"composite.opacity": 0.5})
    np.testing.assert_array_equal(half[mouth], all_half[mouth])
    wide = still({"mouth": {"expression": 1.8}})
    np.testing.assert_array_equal(wide, still({}, **{"guide.expression.mouth": 1.8}))
    assert (wide != whole).any()


def test_a_run_goes_on_from_a_kept_plan_of_other_settings(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes out is what comes out without it; a plan of something else is not taken."""
    parts = dict.fromkeys(("eyes", "brows", "nose", "mouth"), BRAND)
    with swapper(references=parts, track={"faces": "all"}) as all_of_it:
        all_of_it.open(source, folder=tmp_path / "plan").close()
    other = {"references": {"nose": BRAND, "brows": BRAND}, "mask": {"dilate": 0.2},
             "video": {"codec": "h264"}, "provenance": {"enabled": False}}  # fmt: skip
    with swapper(**other) as one:
        one.run(source, tmp_path / "fresh.mp4")
        monkeypatch.setattr(follow, "FaceTracker", None)
        monkeypatch.setattr(BoxFinder, "_look", None)
        report = one.run(source, tmp_path / "plan.mp4", plan=tmp_path / "plan")
        monkeypatch.undo()
        assert report.frames["swapped"] == FRAMES
    same = [(tmp_path / name).read_bytes() for name in ("fresh.mp4", "plan.mp4")]
    assert same[0] == same[1]
    known = made_from(tmp_path / "plan")
    (seen,) = followed(tmp_path / "plan", known).targets
    known["preset"]["denoise"]["runtime"] = "torch"
    (unseen,) = followed(tmp_path / "plan", known).targets
    assert seen.occlusion is not None
    assert unseen.occlusion is None, "another library rounds otherwise"
    with swapper(track={"smooth_s": 0.2}) as smoother:
        smoother.run(source, tmp_path / "smooth.mkv", plan=tmp_path / "plan")
    assert "is of something else, so the faces are followed: track.smooth_s (0.1" in caplog.text


def test_opening_tells_and_can_be_cancelled(swap: VideoSwapper, source: Path) -> None:
    told: list[str] = []
    with swap.open(source, progress=lambda now: told.append(now.stage)):
        assert {"analyse", "detect"} <= set(told)
    with pytest.raises(Cancelled):
        swap.open(source, cancel=lambda: True)
