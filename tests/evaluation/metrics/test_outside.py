"""What is counted outside the part: one changed sample, losses of an encoder, other formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from broken_results import BAD, followed, nothing, painted, pairs, run, scratch, source
from face_clips import face_clip

from fapvideo.composite.paste import place
from fapvideo.evaluation.metrics.outside import EQUAL_DB, Outside
from fapvideo.evaluation.views import Clip, FaceView, FramePair
from fapvideo.structs import Array, Bytes, Floats, VideoFrame


def one_pixel(index: int, rgb: Bytes, face: FaceView) -> Bytes:
    """Change one pixel in the corner of one frame."""
    out = rgb.copy()
    out[200, 3] += 1 if index == BAD else 0
    return out


def beside_the_ring(index: int, rgb: Bytes, face: FaceView) -> Floats:
    """An edit that spills over: everything within 24 px of the mask is darker."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (49, 49))
    return painted(rgb, face, cv2.dilate(face.mask.astype(np.uint8), kernel), -6.0)


def mask_and_ring(index: int, rgb: Bytes, face: FaceView) -> Floats:
    return painted(rgb, face, face.mask | face.ring, -60.0)


def everywhere(index: int, rgb: Bytes, face: FaceView) -> Floats:
    return rgb + 3.0 * np.sin(np.arange(rgb.shape[1]) / 3)[None, :, None]


def metric() -> Outside:
    return Outside(source().info)


def test_doing_nothing_changes_nothing() -> None:
    values, curves = run(metric(), pairs(nothing))
    assert values == {"outside.changed": 0, "outside.psnr": EQUAL_DB}
    assert set(curves) == set(values) == {one.key for one in Outside.definitions}


def test_one_changed_pixel_is_three_changed_samples_in_that_frame() -> None:
    values, curves = run(metric(), pairs(one_pixel))
    assert values["outside.changed"] == pytest.approx(3 / len(pairs()))
    assert [index for index, count in curves["outside.changed"].items() if count] == [BAD]
    assert curves["outside.changed"][BAD] == 3
    assert curves["outside.psnr"][BAD] < EQUAL_DB == curves["outside.psnr"][BAD - 1]


def test_mask_and_ring_may_change() -> None:
    values, _ = run(metric(), pairs(mask_and_ring))
    assert values == {"outside.changed": 0, "outside.psnr": EQUAL_DB}


def test_an_edit_that_spills_over_the_ring_is_counted() -> None:
    metric_ = metric()
    values, _ = run(metric_, pairs(beside_the_ring))
    assert values["outside.changed"] > 1000
    assert 35 < values["outside.psnr"] < 55
    assert metric_.notes() == []


def test_where_everything_is_changed_a_count_says_nothing_and_a_note_says_so() -> None:
    metric_ = metric()
    values, _ = run(metric_, pairs(everywhere))
    assert set(values) == {"outside.psnr"}
    expected = 10 * np.log10(255**2 / 4.5)  # a sine of amplitude 3
    assert values["outside.psnr"] == pytest.approx(expected, abs=0.3)
    assert "in 24 of 24 frames; the result was encoded with loss" in metric_.notes()[0]


def test_frames_without_a_face_are_outside_as_a_whole() -> None:
    frames = [replace(pair, faces=()) for pair in pairs(mask_and_ring)]
    values, _ = run(metric(), frames)
    assert values["outside.psnr"] < 25


def test_another_pixel_format_is_not_comparable_sample_by_sample() -> None:
    def as_yuv(frame: VideoFrame) -> VideoFrame:
        return replace(frame, pixel_format="yuv444p")

    frames = [replace(pair, result=as_yuv(pair.result)) for pair in pairs()]
    metric_ = metric()
    values, _ = run(metric_, frames)
    assert values == {"outside.psnr": EQUAL_DB}
    assert "another size or pixel format" in metric_.notes()[0]


# -------------------------------------------------------------- subsampled and turned pictures


def yuv(frames: int = 3, **container: object) -> tuple[Clip, list[FramePair]]:
    """Return an encoded 4:2:0 clip and its pairs with itself."""
    path = face_clip(scratch(), "one_face", frames=frames, audio=(), **container)
    clip = followed(path, ("mouth",))
    return clip, list(clip.pairs(path))


def with_planes(pair: FramePair, damage: Callable[[tuple[Array, ...]], None]) -> FramePair:
    """Return `pair` with the result's planes damaged in place."""
    planes = tuple(plane.copy() for plane in pair.result.planes)
    damage(planes)
    return replace(pair, result=replace(pair.result, planes=planes))


@pytest.mark.slow
@pytest.mark.parametrize("plane", [0, 1, 2])
def test_a_changed_sample_of_luma_or_chroma_is_one(plane: int) -> None:
    def damage(planes: tuple[Array, ...]) -> None:
        planes[plane][-1, -1] ^= 1

    clip, frames = yuv()
    values, _ = run(Outside(clip.info), [with_planes(pair, damage) for pair in frames])
    assert values["outside.changed"] == 1


def test_equal_samples_are_equal_whatever_the_files_tags_say() -> None:
    """FFV1 does not carry where chroma lies: the same samples are shown a level apart."""
    clip, frames = yuv()
    shown = [replace(pair, result_rgb=pair.source_rgb ^ 1) for pair in frames]
    values, _ = run(Outside(clip.info), shown)
    assert values == {"outside.changed": 0, "outside.psnr": EQUAL_DB}


def test_a_lossy_file_is_told_by_what_changed_far_from_the_face() -> None:
    clip, frames = yuv()
    noise = np.random.default_rng(0).integers(0, 2, frames[0].source.planes[0].shape)

    def damage(planes: tuple[Array, ...]) -> None:
        planes[0][:] ^= noise.astype(np.uint8)

    values, _ = run(Outside(clip.info), [with_planes(pair, damage) for pair in frames])
    assert "outside.changed" not in values


def test_a_turned_picture_is_compared_where_it_is_shown() -> None:
    path = face_clip(scratch(), "rotated", frames=3)
    clip = followed(path, ("mouth",))
    frames = list(clip.pairs(path))
    (face,) = frames[0].faces
    x, y = (place(face.mask.astype(np.float32), face.matrix, face.frame_size) > 0.9).nonzero()[::-1]
    shown_x, shown_y = int(np.median(x)), int(np.median(y))
    height = clip.info.height

    def inside(planes: tuple[Array, ...]) -> None:
        planes[0][height - 1 - shown_x, shown_y] ^= 1

    def outside(planes: tuple[Array, ...]) -> None:
        planes[0][height - 1 - 2, shown_y] ^= 1

    for damage, count in ((inside, 0), (outside, 1)):
        values, _ = run(Outside(clip.info), [with_planes(pair, damage) for pair in frames])
        assert values["outside.changed"] == count
