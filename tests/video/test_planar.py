import av
import clips
import numpy as np
import pytest

from fapvideo.errors import VideoReadError
from fapvideo.ops.yuv import plane_layout
from fapvideo.structs import VideoFrame
from fapvideo.video.planar import _PACKED, av_frame_of, planar_format, planes_of

PLANAR = [
    "yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "gray", "gbrp", "gbrap",
    "yuva420p", "yuva444p10le", "yuv420p10le", "yuv422p12le", "gbrp10le", "gray10le", "gray16le",
    "yuv444p16le", "gbrp16le",
]  # fmt: skip


def random_frame(pixel_format, size=(37, 23), seed=0):
    """Return a planar frame of random samples."""
    layout = plane_layout(pixel_format)
    rng = np.random.default_rng(seed)
    planes = tuple(
        rng.integers(0, 1 << layout.bits, layout.plane_shape(i, *size)).astype(layout.dtype)
        for i in range(layout.planes)
    )
    return VideoFrame(0, 0, 0.0, pixel_format, planes)


@pytest.mark.parametrize("pixel_format", PLANAR)
def test_planes_to_frame_and_back(pixel_format):
    """Odd sizes, padded lines, every layout."""
    frame = random_frame(pixel_format)
    name, planes = planes_of(av_frame_of(frame))
    assert name == pixel_format
    assert all(map(np.array_equal, planes, frame.planes))


@pytest.mark.parametrize("pixel_format", PLANAR)
def test_our_idea_of_a_layout_is_ffmpegs(pixel_format):
    layout, theirs = plane_layout(pixel_format), av.VideoFormat(pixel_format, 37, 23)
    assert layout.planes == len(theirs.components)
    assert layout.bits == max(component.bits for component in theirs.components)
    for component in theirs.components:
        index = component.plane
        assert layout.plane_shape(index, 37, 23) == (component.height, component.width)
    assert layout.alpha == any(component.is_alpha for component in theirs.components)


def put(pixel_format, pixels):
    """Return an FFmpeg frame whose first plane holds `pixels` [h, samples of a line]."""
    height, line = pixels.shape
    width = line // {"yuyv422": 2, "uyvy422": 2, "yvyu422": 2, "y210le": 2}.get(pixel_format, 1)
    frame = av.VideoFrame(width, height, pixel_format)
    memory = np.frombuffer(frame.planes[0], pixels.dtype)
    memory.reshape(-1, frame.planes[0].line_size // pixels.itemsize)[:height, :line] = pixels
    return frame


RGB = ["rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "rgb0", "bgr0", "0rgb", "0bgr",
       "rgb48le", "bgr48le", "rgba64le", "bgra64le"]  # fmt: skip


@pytest.mark.parametrize("packed", RGB)
def test_packed_rgb_is_unpacked_without_loss(packed):
    """The order of the bytes is in the name; swscale packs the test picture independently."""
    twin = planar_format(packed)
    source = random_frame(twin)
    frame = av_frame_of(source).reformat(format=packed)
    assert frame.format.name == packed
    name, planes = planes_of(frame)
    assert name == twin
    assert all(map(np.array_equal, planes, source.planes))


@pytest.mark.parametrize(
    ("packed", "twin"),
    [("nv12", "yuv420p"), ("nv21", "yuv420p"), ("nv16", "yuv422p"), ("nv24", "yuv444p"),
     ("nv42", "yuv444p"), ("yuyv422", "yuv422p"), ("uyvy422", "yuv422p"), ("yvyu422", "yuv422p"),
     ("p010le", "yuv420p10le"), ("p210le", "yuv422p10le"), ("p410le", "yuv444p10le"),
     ("p012le", "yuv420p12le"), ("p016le", "yuv420p16le"), ("y210le", "yuv422p10le")],
)  # fmt: skip
def test_packed_yuv_is_unpacked_without_loss(packed, twin):
    """swscale converts flat areas exactly, which is enough to tell the planes and bits apart."""
    layout = plane_layout(twin)
    value = (40, 90, 200)
    planes = tuple(
        np.full(layout.plane_shape(i, 32, 16), value[i] << (layout.bits - 8), layout.dtype)
        for i in range(3)
    )
    frame = av_frame_of(VideoFrame(0, 0, 0.0, twin, planes)).reformat(format=packed)
    name, found = planes_of(frame)
    assert name == twin
    assert all(map(np.array_equal, found, planes))


def test_the_places_of_packed_samples():
    """Distinct values in distinct places, where a flat area would not show a mistake."""
    line = np.arange(12, dtype=np.uint8)[None].repeat(4, axis=0)
    _, (y, u, v) = planes_of(put("yuyv422", line))
    assert (y[0].tolist(), u[0].tolist(), v[0].tolist()) == (
        [0, 2, 4, 6, 8, 10],
        [1, 5, 9],
        [3, 7, 11],
    )
    _, (y, u, v) = planes_of(put("uyvy422", line))
    assert (y[0].tolist(), u[0].tolist(), v[0].tolist()) == (
        [1, 3, 5, 7, 9, 11],
        [0, 4, 8],
        [2, 6, 10],
    )


def test_semi_planar_odd_size():
    frame = av.VideoFrame(5, 3, "nv12")
    for index, plane in enumerate(frame.planes):
        np.frombuffer(plane, np.uint8)[:] = np.arange(plane.buffer_size) % 251 + index
    _, (y, u, v) = planes_of(frame)
    assert (y.shape, u.shape, v.shape) == ((3, 5), (2, 3), (2, 3))
    assert u[0].tolist() == [1, 3, 5]
    assert v[0].tolist() == [2, 4, 6]


@pytest.mark.parametrize("big", ["yuv420p10be", "gray16be", "gbrp12be"])
def test_big_endian_becomes_little(big):
    little = big[:-2] + "le"
    source = random_frame(little)
    name, planes = planes_of(av_frame_of(source).reformat(format=big))
    assert name == little
    assert all(map(np.array_equal, planes, source.planes))
    assert all(plane.dtype.isnative for plane in planes)


def test_palettes_and_few_bits_are_expanded():
    assert planar_format("pal8") == "gbrap"
    assert planar_format("monow") == "gray"
    frame = av.VideoFrame.from_ndarray(clips.picture(0, (32, 16)), format="rgb24")
    name, planes = planes_of(frame.reformat(format="rgb565le"))
    assert name == "gbrp"
    assert len(planes) == 3


@pytest.mark.parametrize("name", ["bayer_rggb8", "xyz12le", "cuda", "rgb48be"])
def test_what_cannot_be_held_is_named(name):
    with pytest.raises(VideoReadError, match=name):
        planar_format(name)


def test_yuvj_is_yuv_with_a_tag():
    assert planar_format("yuvj422p") == "yuv422p"


def test_all_twins_are_planar():
    for packing in _PACKED.values():
        assert plane_layout(packing.twin).planes == len(packing.components)
