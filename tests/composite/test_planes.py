from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fapvideo.composite.planes import FrameCanvas, blend, changed_outside, read_rgb
from fapvideo.ops.yuv import plane_layout, resolve_matrix
from fapvideo.structs import ColorTags, HdrMetadata, VideoFrame, VideoInfo

FORMATS = [
    "yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "gray", "gbrp",
    "yuva420p", "gbrap", "yuv420p10le", "yuv422p10le", "yuv444p10le", "gbrp10le", "yuv420p12le",
    "yuva444p12le", "gray10le", "yuv444p16le", "gbrp16le",
]  # fmt: skip
ROTATIONS = (0, 90, 180, 270)
SIZES = ((32, 24), (33, 25), (35, 22))


def make(pixel_format, size=(33, 25), rotation=0, color=None, seed=0):
    """Return a frame of random samples and the description of its video."""
    rng = np.random.default_rng(seed)
    width, height = size
    layout = plane_layout(pixel_format)
    planes = tuple(
        rng.integers(0, 1 << layout.bits, layout.plane_shape(i, width, height)).astype(layout.dtype)
        for i in range(layout.planes)
    )
    info = VideoInfo(
        path=Path("x"), container="mov", width=width, height=height, rotation=rotation,
        sample_aspect_ratio=Fraction(1), frame_rate=Fraction(25), time_base=Fraction(1, 25),
        vfr=False, frames=1, duration_s=1.0, pixel_format=pixel_format, bit_depth=layout.bits,
        color=color or ColorTags(1, 1, 1), hdr=HdrMetadata(), video_stream=0, streams=(),
    )  # fmt: skip
    return VideoFrame(0, 0, 0.0, pixel_format, planes), info


def planes_equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_painting_what_was_read_changes_no_sample(pixel_format, size, rotation):
    """Any samples at all, legal or not, in a box with odd edges and over the whole picture."""
    frame, info = make(pixel_format, size, rotation)
    width, height = info.display_size
    for box in ((0, 0, width, height), (3, 5, width - 2, height - 1), (1, 1, 2, 2)):
        rgb = read_rgb(frame, info, box, clip=False)
        after = blend(frame, info, rgb, np.ones(rgb.shape[:2], np.float32), box)
        assert planes_equal(frame, after)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [0, 1, 2, 4, 5, 6, 7, 8, 9, 10])
def test_every_matrix_and_range_is_inverted(matrix, full):
    for pixel_format in ("yuv420p", "yuv444p10le", "gray"):
        frame, info = make(pixel_format, color=ColorTags(matrix, 2, 2, full))
        box = (0, 0, *info.display_size)
        rgb = read_rgb(frame, info, box, clip=False)
        assert planes_equal(frame, blend(frame, info, rgb, np.ones(rgb.shape[:2], "f4"), box))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "gbrp"])
def test_clipped_colours_still_reproduce_within_one(pixel_format):
    """With the default clipping, a picture that is legal RGB loses nothing but rounding."""
    frame, info = make(pixel_format, (32, 24))
    box = (0, 0, 32, 24)
    legal = np.random.default_rng(1).uniform(0.2, 0.8, (3, 4, 3)).astype(np.float32)
    legal = legal.repeat(8, axis=0).repeat(8, axis=1)
    frame = blend(frame, info, legal, np.ones((24, 32), "f4"), box)
    rgb = read_rgb(frame, info, box)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    assert np.abs(rgb - legal).max() < 2.5 / (1 << info.bit_depth)
    after = blend(frame, info, rgb, np.ones((24, 32), "f4"), box)
    for old, new in zip(frame.planes, after.planes, strict=True):
        assert np.abs(old.astype(int) - new).max() <= 1


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_box_is_where_it_is_displayed(rotation):
    """Paint red into one corner of the upright picture and look where it lands in the planes."""
    frame, info = make("gbrp", (40, 20), rotation)
    box = (1, 2, 4, 5)  # near the top left corner as displayed
    red = np.zeros((3, 3, 3), np.float32)
    red[..., 0] = 1
    red[0, 0] = (0, 1, 0)  # its top left pixel is green
    after = blend(frame, info, red, np.ones((3, 3), np.float32), box)
    shown = [np.rot90(plane, -rotation // 90) for plane in after.planes]
    assert (shown[2][2:5, 1:4].ravel()[1:] == 255).all()
    assert (shown[2][2, 1], shown[0][2, 1]) == (0, 255)
    assert changed_outside(frame, after, info, [(box, np.ones((3, 3)))]) == 0
    full = read_rgb(after, info, (0, 0, *info.display_size))
    np.testing.assert_allclose(full[2:5, 1:4], red)


def test_known_colours():
    """BT.709 limited: white is (235, 128, 128), red (63, 102, 240); BT.601 red is (81, 90, 240)."""
    for matrix, expected in ((1, (63, 102, 240)), (6, (81, 90, 240))):
        frame, info = make("yuv444p", (8, 8), color=ColorTags(matrix, 1, 1))
        red = np.zeros((8, 8, 3), np.float32)
        red[..., 0] = 1
        after = blend(frame, info, red, np.ones((8, 8), np.float32), (0, 0, 8, 8))
        assert tuple(int(plane[0, 0]) for plane in after.planes) == expected
        white = blend(frame, info, np.ones_like(red), np.ones((8, 8), "f4"), (0, 0, 8, 8))
        assert tuple(int(plane[3, 3]) for plane in white.planes) == (235, 128, 128)


def test_an_untagged_matrix_goes_by_the_size():
    assert resolve_matrix(2, 1920, 1080) == 1
    assert resolve_matrix(2, 720, 576) == 6
    assert resolve_matrix(9, 720, 576) == 9


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_nothing_changes_where_alpha_is_zero(pixel_format, rotation):
    frame, info = make(pixel_format, (35, 27), rotation)
    rng = np.random.default_rng(2)
    box = (4, 3, 21, 22)
    alpha = rng.uniform(0, 1, (19, 17)).astype(np.float32)
    alpha[rng.uniform(size=alpha.shape) < 0.6] = 0
    rgb = rng.uniform(0, 1, (19, 17, 3)).astype(np.float32)
    rgb[alpha == 0] = np.nan  # must not leak
    before = [plane.copy() for plane in frame.planes]
    after = blend(frame, info, rgb, alpha, box)
    assert changed_outside(frame, after, info, [(box, alpha)]) == 0
    assert not planes_equal(frame, after)
    assert all(np.array_equal(a, b) for a, b in zip(before, frame.planes, strict=True))
    if plane_layout(pixel_format).alpha:
        assert after.planes[-1] is frame.planes[-1]


def test_alpha_blends_linearly_and_chroma_by_its_cell():
    frame, info = make("yuv420p", (8, 8))
    grey = VideoFrame(
        0, 0, 0.0, "yuv420p", tuple(np.full(p.shape, 128, np.uint8) for p in frame.planes)
    )
    white = np.ones((8, 8, 3), np.float32)
    alpha = np.full((8, 8), 0.25, np.float32)
    after = blend(grey, info, white, alpha, (0, 0, 8, 8))
    assert (after.planes[0] == round(128 * 0.75 + 235 * 0.25)).all()
    assert (after.planes[1] == 128).all()
    alpha[:] = 0
    alpha[2, 2] = 1  # one of the four luma samples of chroma cell (1, 1)
    red = np.zeros((8, 8, 3), np.float32)
    red[..., 0] = 1
    after = blend(grey, info, red, alpha, (0, 0, 8, 8))
    assert after.planes[0][2, 2] == 63
    assert after.planes[2][1, 1] == round(128 * 0.75 + 240 * 0.25)
    assert np.count_nonzero(after.planes[2] != 128) == 1


def test_the_counter_sees_a_change_outside():
    """One wrong sample in each plane, also in the plane of transparency, also next to the part."""
    frame, info = make("yuva420p", (32, 24))
    box, alpha = (8, 8, 16, 16), np.zeros((8, 8), np.float32)
    alpha[2:6, 2:6] = 1
    for plane, where in ((0, (9, 9)), (0, (0, 0)), (1, (0, 0)), (2, (4, 4)), (3, (11, 11))):
        planes = [p.copy() for p in frame.planes]
        planes[plane][where] ^= 1
        after = VideoFrame(0, 0, 0.0, "yuva420p", tuple(planes))
        assert changed_outside(frame, after, info, [(box, alpha)]) == 1
        assert changed_outside(frame, after, info) == 1
    inside = [p.copy() for p in frame.planes]
    inside[0][11, 11] ^= 1
    inside[1][5, 5] ^= 1
    after = VideoFrame(0, 0, 0.0, "yuva420p", tuple(inside))
    assert changed_outside(frame, after, info, [(box, alpha)]) == 0


def test_a_canvas_takes_many_boxes_and_copies_once():
    frame, info = make("yuv420p", (64, 48))
    canvas = FrameCanvas(frame, info)
    assert canvas.frame() is frame
    regions = []
    for x in (2, 20, 41):
        box = (x, 5, x + 11, 18)
        alpha = np.ones((13, 11), np.float32)
        canvas.blend(np.zeros((13, 11, 3), np.float32), alpha, box)
        assert canvas.read_rgb(box)[1:-1, 1:-1].max() == pytest.approx(0, abs=1e-6)
        regions.append((box, alpha))
    after = canvas.frame()
    assert changed_outside(frame, after, info, regions) == 0
    assert changed_outside(frame, after, info, regions[:2]) > 0
    saved = after.planes[0].copy()
    canvas.blend(np.ones((13, 11, 3), np.float32), np.ones((13, 11), np.float32), (2, 25, 13, 38))
    assert np.array_equal(after.planes[0], saved)  # a delivered frame stays as it was


@pytest.mark.parametrize("box", [(-1, 0, 4, 4), (0, 0, 26, 4), (3, 3, 3, 5), (0, 0, 5, 34)])
def test_a_box_outside_the_picture_is_refused(box):
    frame, info = make("yuv420p", (33, 25), rotation=90)  # 25 wide, 33 high as displayed
    with pytest.raises(ValueError, match="25x33"):
        read_rgb(frame, info, box)


def test_shapes_and_formats_are_checked():
    frame, info = make("yuv420p", (16, 16))
    with pytest.raises(ValueError, match="needs rgb"):
        blend(frame, info, np.zeros((4, 4, 3), "f4"), np.zeros((4, 5), "f4"), (0, 0, 4, 4))
    with pytest.raises(ValueError, match="nv12"):
        FrameCanvas(VideoFrame(0, 0, 0.0, "nv12", frame.planes), info)
