from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from fapvideo.composite.paste import cut, paste, place, share_outside
from fapvideo.composite.planes import FrameCanvas, changed_outside
from fapvideo.ops.geometry import invert, transform
from fapvideo.ops.yuv import plane_layout
from fapvideo.structs import ColorTags, HdrMetadata, VideoFrame, VideoInfo

RNG = np.random.default_rng(4)
SIZE = 48


def picture(width, height, channels=3):
    """Return a smooth picture in [0, 1]."""
    noise = RNG.uniform(size=(height, width, channels)).astype(np.float32)
    return np.clip(0.5 + 3 * (cv2.GaussianBlur(noise, (0, 0), 3.0) - 0.5), 0.05, 0.95)


def clip_of(rgb, pixel_format="yuv444p", rotation=0):
    """Return a frame that shows `rgb` as displayed, and its video's description."""
    coded = np.rot90(rgb, rotation // 90)
    height, width = coded.shape[:2]
    layout = plane_layout(pixel_format)
    info = VideoInfo(
        path=Path("x"), container="mov", width=width, height=height, rotation=rotation,
        sample_aspect_ratio=Fraction(1), frame_rate=Fraction(25), time_base=Fraction(1, 25),
        vfr=False, frames=1, duration_s=1.0, pixel_format=pixel_format, bit_depth=layout.bits,
        color=ColorTags(1, 1, 1), hdr=HdrMetadata(), video_stream=0, streams=(),
    )  # fmt: skip
    planes = tuple(
        np.zeros(layout.plane_shape(i, width, height), layout.dtype) for i in range(layout.planes)
    )
    canvas = FrameCanvas(VideoFrame(0, 0, 0.0, pixel_format, planes), info)
    shown_height, shown_width = rgb.shape[:2]
    canvas.blend(
        rgb, np.ones((shown_height, shown_width), np.float32), (0, 0, shown_width, shown_height)
    )
    return canvas.frame(), info


def crop_at(x, y, scale=1.0, degrees=0.0, size=SIZE):
    """Return the frame -> crop transform with the frame's (x, y) in the crop's middle."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    linear = np.array([[c, -s], [s, c]])
    return np.column_stack([linear, np.full(2, size / 2) - linear @ [x, y]])


def disc(size=SIZE, radius=0.35, soft=0.1):
    """Return a feathered disc in the middle of a crop."""
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size - 0.5
    return np.clip((radius - np.hypot(x, y)) / soft, 0, 1).astype(np.float32)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p10le", "gbrp"])
def test_a_crop_shows_the_frame_where_it_is_displayed(pixel_format, rotation):
    shown = picture(90, 70)
    frame, info = clip_of(shown, pixel_format, rotation)
    canvas = FrameCanvas(frame, info)
    crop = cut(canvas, crop_at(40, 30), SIZE, info.display_size)
    assert crop.shape == (SIZE, SIZE, 3)
    assert crop.dtype == np.float32
    expected = shown[30 - 24 : 30 + 24, 40 - 24 : 40 + 24]
    tolerance = 0.03 if "420" in pixel_format else 0.012
    assert np.abs(crop - expected).mean() < tolerance


def test_ten_bits_are_read_as_ten_bits():
    """A ramp finer than 8 bits keeps its steps."""
    shown = np.full((60, 60, 3), 0.5, np.float32)
    shown += np.linspace(0, 0.02, 60, dtype=np.float32)[None, :, None]
    frame, info = clip_of(shown, "yuv444p10le")
    crop = cut(FrameCanvas(frame, info), crop_at(30, 30), SIZE, info.display_size)
    assert len(np.unique(np.round(crop[24, :, 0] * 4000))) > 12
    assert np.abs(crop - shown[6:54, 6:54]).max() < 0.002


def test_beyond_the_frame_its_border_is_repeated():
    shown = picture(64, 64)
    shown[:, 0] = (0.9, 0.1, 0.1)
    frame, info = clip_of(shown)
    crop = cut(FrameCanvas(frame, info), crop_at(4, 32), SIZE, info.display_size)
    np.testing.assert_allclose(crop[20, :18], np.tile((0.9, 0.1, 0.1), (18, 1)), atol=0.02)
    away = cut(FrameCanvas(frame, info), crop_at(900, 900), SIZE, info.display_size)
    assert not away.any()


@pytest.mark.parametrize("degrees", [0, 17, -60])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.9])
def test_pasting_back_what_was_cut_out_changes_little(scale, degrees):
    """Alpha 1 within: the round trip costs resampling, nothing moves."""
    shown = picture(120, 100)
    frame, info = clip_of(shown, "yuv444p10le")
    matrix = crop_at(58.3, 51.7, scale, degrees, size=96)
    canvas = FrameCanvas(frame, info)
    crop = cut(canvas, matrix, 96, info.display_size)
    assert paste(canvas, crop, disc(96), matrix, info.display_size) is not None
    after = FrameCanvas(canvas.frame(), info).read_rgb((0, 0, 120, 100))
    assert np.abs(after - shown).max() < 0.03
    assert np.abs(after - shown).mean() < 0.004


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p10le", "yuv420p10le"])
def test_no_sample_changes_outside_the_alpha(pixel_format, rotation):
    shown = picture(99, 77)
    frame, info = clip_of(shown, pixel_format, rotation)
    matrix = crop_at(45.2, 38.9, 1.3, 20)
    canvas = FrameCanvas(frame, info)
    white = np.ones((SIZE, SIZE, 3), np.float32)
    region = paste(canvas, white, disc(), matrix, info.display_size)
    after = canvas.frame()
    assert region is not None
    assert changed_outside(frame, after, info, [region]) == 0
    # Independently of the returned region: far from the disc every sample is the same.
    far = np.ones((77, 99), bool)
    y, x = np.mgrid[0:77, 0:99] + 0.5
    points = transform(matrix, np.stack([x, y], -1).reshape(-1, 2)).reshape(77, 99, 2)
    far = np.hypot(*(points / SIZE - 0.5).transpose(2, 0, 1)) > 0.35 + 3 / SIZE
    layout = plane_layout(pixel_format)
    for plane, (old, new) in enumerate(zip(frame.planes, after.planes, strict=True)):
        upright = np.rot90(old != new, -rotation // 90)
        shift = layout.shifts(plane)
        if rotation in (90, 270):
            shift = shift[::-1]
        cells = upright.repeat(1 << shift[1], 0).repeat(1 << shift[0], 1)[:77, :99]
        # A chroma cell may reach from inside to outside by itself.
        kernel = np.ones((2 * (1 << shift[1]) - 1, 2 * (1 << shift[0]) - 1), np.uint8)
        quite_far = cv2.erode(far.astype(np.uint8), kernel) > 0
        assert not (cells & quite_far).any()
        assert upright.any()


def test_a_mask_that_reaches_the_crops_edge_ends_there():
    frame, info = clip_of(picture(120, 120))
    canvas = FrameCanvas(frame, info)
    white, full = np.ones((SIZE, SIZE, 3), np.float32), np.ones((SIZE, SIZE), np.float32)
    box, opacity = paste(canvas, white, full, crop_at(60, 60, degrees=45), info.display_size)
    assert opacity[:8, :8].max() == opacity[-8:, -8:].max() == 0
    assert opacity.sum() == pytest.approx(SIZE**2, rel=0.05)
    assert np.array_equal(canvas.frame().planes[0][:, : box[0]], frame.planes[0][:, : box[0]])


def test_inside_the_new_picture_shows_where_it_belongs():
    shown = np.full((80, 100, 3), 0.3, np.float32)
    frame, info = clip_of(shown)
    matrix = crop_at(60, 33)
    crop = np.zeros((SIZE, SIZE, 3), np.float32)
    crop[:, : SIZE // 2, 0] = crop[:, SIZE // 2 :, 2] = 1
    canvas = FrameCanvas(frame, info)
    box, opacity = paste(canvas, crop, disc(), matrix, info.display_size)
    after = canvas.read_rgb((0, 0, 100, 80))
    np.testing.assert_allclose(after[33, 50], (1, 0, 0), atol=0.03)
    np.testing.assert_allclose(after[33, 70], (0, 0, 1), atol=0.03)
    assert opacity.shape == (box[3] - box[1], box[2] - box[0])
    assert opacity.max() == pytest.approx(1)
    half = np.argwhere(np.abs(opacity - 0.5) < 0.05)[0] + (box[1], box[0])
    mixed = after[half[0], half[1]]
    assert 0.1 < mixed.max() < 0.8


def test_half_the_opacity_is_half_the_change():
    shown = np.full((60, 60, 3), 0.2, np.float32)
    levels = []
    for opacity in (0.0, 0.25, 0.5, 1.0):
        frame, info = clip_of(shown, "yuv444p10le")
        canvas = FrameCanvas(frame, info)
        crop = np.full((SIZE, SIZE, 3), 0.6, np.float32)
        region = paste(canvas, crop, disc() * opacity, crop_at(30, 30), info.display_size)
        assert (region is None) == (opacity == 0)
        levels.append(float(canvas.read_rgb((30, 30, 31, 31)).mean()))
    np.testing.assert_allclose(levels, [0.2, 0.3, 0.4, 0.6], atol=0.004)


def test_an_alpha_too_weak_for_a_sample_leaves_the_frame_alone():
    frame, info = clip_of(picture(60, 60))
    canvas = FrameCanvas(frame, info)
    paste(canvas, np.ones((SIZE, SIZE, 3), "f4"), disc() / 600, crop_at(30, 30), (60, 60))
    assert canvas.frame() is frame


@pytest.mark.parametrize("at", [(0, 0), (60, 30), (30, 60), (-2, 30)])
def test_a_face_over_the_border_is_pasted_as_far_as_it_is_there(at):
    frame, info = clip_of(picture(60, 60))
    canvas = FrameCanvas(frame, info)
    region = paste(canvas, np.ones((SIZE, SIZE, 3), "f4"), disc(), crop_at(*at), (60, 60))
    assert region is not None
    x0, y0, x1, y1 = region[0]
    assert 0 <= x0 < x1 <= 60
    assert 0 <= y0 < y1 <= 60
    assert changed_outside(frame, canvas.frame(), info, [region]) == 0


def test_a_face_outside_the_frame_is_no_trouble():
    frame, info = clip_of(picture(60, 60))
    canvas = FrameCanvas(frame, info)
    matrix = crop_at(500, 500)
    assert paste(canvas, np.ones((SIZE, SIZE, 3), "f4"), disc(), matrix, (60, 60)) is None
    assert canvas.frame() is frame


def test_how_much_of_a_hole_the_edge_cuts_off():
    """As the mask says that is placed in a frame; the ends are exact."""
    size = 400
    hole = cv2.circle(np.zeros((size, size), np.float32), (200, 200), 120, 1.0, -1)
    hole = cv2.GaussianBlur(hole, (0, 0), 6.0)
    for turn in (0.0, 30.0):
        found = []
        for x in (80.0, 30.0, 10.0, 0.0, -20.0, -80.0):
            matrix = crop_at(x, 60, 1.5, turn) * (size / SIZE)
            inside = place(hole, matrix, (160, 120)).sum()
            whole = place(hole, crop_at(80, 60, 1.5, turn) * (size / SIZE), (160, 120)).sum()
            found.append(share_outside(hole, matrix, (160, 120)))
            assert found[-1] == pytest.approx(1 - inside / whole, abs=0.02)
        assert (found[0], found[-1]) == (0.0, 1.0)
        assert found[3] == pytest.approx(0.5, abs=0.02)
    assert share_outside(np.zeros((size, size), np.float32), matrix, (160, 120)) == 0.0


def test_place_puts_a_mask_into_the_frame():
    matrix = crop_at(40, 30, 2.0, 30)
    placed = place(disc(), matrix, (90, 70))
    assert placed.shape == (70, 90)
    y, x = np.mgrid[0:70, 0:90] + 0.5
    centre = [(placed * x).sum() / placed.sum(), (placed * y).sum() / placed.sum()]
    np.testing.assert_allclose(centre, [40, 30], atol=0.2)
    assert placed.sum() == pytest.approx(disc().sum() / 4, rel=0.05)
    np.testing.assert_allclose(invert(invert(matrix)), matrix, atol=1e-9)
