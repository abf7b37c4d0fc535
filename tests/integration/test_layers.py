"""Layers: the source under them is the finished video, and other programs read them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from runs import BRAND, decode
from runs import swapper as any_swapper

from fapvideo import FrameSource, Person
from fapvideo.config.schema import VideoConfig
from fapvideo.errors import Cancelled, ProvenanceError, VideoWriteError
from fapvideo.layers.frame import FrameLayers, LayeredBatch, over
from fapvideo.layers.images import image_writer
from fapvideo.layers.movie import movie_frame, movie_info
from fapvideo.layers.numbers import Numbers
from fapvideo.ops.display import to_coded
from fapvideo.ops.files import sha256_file
from fapvideo.progress import Progress
from fapvideo.run.job import Job, job_folder
from fapvideo.structs import Floats, VideoFrame, VideoInfo
from fapvideo.swapper import VideoSwapper
from fapvideo.trust.credentials import read_credentials
from fapvideo.trust.recognition import available
from fapvideo.video.writer import VideoWriter

UNSIGNED = {"enabled": False}
CONTENTS = ("swap", "parts", "inner_mouth", "occluders", "guide", "st")
LUMA = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593), 6: (0.299, 0.114)}
"""Weights of red and blue in luma, by H.273's code of the matrix."""


def swapper(**tables: Any) -> VideoSwapper:
    return any_swapper(**{"provenance": UNSIGNED, **tables})


def rebuilt(frame: VideoFrame, info: VideoInfo, rgba: Floats) -> list[np.ndarray]:
    """Return the source's planes with a straight layer over them, by none of our own code.

    In words: chroma is repeated over its cell, the layer's R'G'B' becomes luma and chroma, both
    are mixed by alpha, chroma is averaged over its cell again, and all is rounded.
    """
    bits = info.bit_depth
    kr, kb = LUMA[info.color.matrix]
    coded = to_coded(rgba, info).astype(np.float64)
    red, green, blue, alpha = np.moveaxis(coded, -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    new = [luma, (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    step, out = 1 << (bits - 8), []
    for plane, (old, value) in enumerate(zip(frame.planes, new, strict=True)):
        down, across = luma.shape[0] // old.shape[0], luma.shape[1] // old.shape[1]
        value = value * 224 * step + 128 * step if plane else value * 219 * step + 16 * step
        mixed = np.kron(old.astype(np.float64), np.ones((down, across))) * (1 - alpha)
        mixed += value * alpha
        cells = mixed.reshape(old.shape[0], down, old.shape[1], across)
        out.append(np.rint(cells.mean(axis=(1, 3))))
    return out


def furthest(planes: list[np.ndarray], finished: VideoFrame) -> int:
    """Return the largest difference of any sample, code values."""
    pairs = zip(planes, finished.planes, strict=True)
    return max(int(np.abs(one.astype(np.int64) - other).max()) for one, other in pairs)


def read_png(path: Path) -> Floats:
    """Read a picture by FFmpeg, [h, w, C] in [0, 1]."""
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        kind = {"rgba64be": "rgba64le", "rgb48be": "rgb48le", "gray16be": "gray16le"}
        picture = frame.to_ndarray(format=kind[frame.format.name])
    return picture / 65535


def read_exr(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read an OpenEXR file by its library: header, and channels of the size of the frame."""
    exr = pytest.importorskip("OpenEXR")
    file = exr.File(str(path), separate_channels=True)
    header = file.header()
    (left, top), (right, bottom) = header["displayWindow"]
    (x0, y0), (x1, y1) = header["dataWindow"]
    channels = {}
    for name, channel in file.channels().items():
        whole = np.zeros((bottom - top + 1, right - left + 1), np.float64)
        whole[y0 : y1 + 1, x0 : x1 + 1] = channel.pixels
        channels[name] = whole
    return header, channels


FFV1 = {"frames": 3, "suffix": ".mkv", "codec": "ffv1", "options": {}}
HDR = {"matrix": 9, "primaries": 9, "transfer": 16}
SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "8 bit": ("one_face", {"frames": 3}),
    "10 bit HDR, turned": ("rotated", {**FFV1, **HDR, "pixel_format": "yuv422p10le"}),
    "16 bit": ("one_face", {**FFV1, "pixel_format": "yuv420p16le"}),
}
Row = tuple[VideoFrame, VideoFrame, FrameLayers]
"""A frame of the source, the finished one, its layers."""


@pytest.fixture(scope="module", params=SOURCES)
def painted(
    request: pytest.FixtureRequest, clip: Callable[..., Path]
) -> tuple[VideoInfo, list[Row]]:
    """A clip, frame by frame."""
    name, changes = SOURCES[request.param]
    path = clip(name, **changes)
    source, rows = decode(path), []
    with swapper() as one:
        for batch in one.stream(path, layers=True):
            assert isinstance(batch, LayeredBatch)
            rows += zip(batch.frames, batch.layers, strict=True)
    return source.info, [(filmed, *row) for filmed, row in zip(source.frames, rows, strict=True)]


def test_source_over_layers_is_the_finished_frame(painted: Any, tmp_path: Path) -> None:
    info, rows = painted
    numbers = Numbers.of(info.frame_rate, 0.0, "")
    writers = {kind: image_writer(kind, CONTENTS, info, numbers) for kind in ("png", "exr")}
    for filmed, finished, layers in rows:
        swap = layers.whole(layers.swap)
        assert furthest(rebuilt(filmed, info, swap), finished) <= 1
        assert furthest(list(over(filmed, info, swap).planes), finished) <= 1
        assert (swap[..., 3] > 0.9).any()
        for writer in writers.values():
            writer.write(layers, tmp_path)
        number = layers.frame
        straight = read_png(tmp_path / f"swap/swap.{number:06}.png")
        assert furthest(rebuilt(filmed, info, straight), finished) <= 1
        assert not straight[straight[..., 3] == 0].any(), "nothing but the change"
        _, channels = read_exr(tmp_path / f"exr/exr.{number:06}.exr")
        colour = np.stack([channels[name] for name in "RGB"], axis=-1)
        alpha = channels["A"][..., None]
        straight = np.concatenate([colour / np.where(alpha > 0, alpha, 1), alpha], axis=-1)
        assert furthest(rebuilt(filmed, info, straight), finished) <= 1
        changed = finished.planes[0] != filmed.planes[0]
        assert changed.any()
        assert not changed[to_coded(swap, info)[..., 3] == 0].any(), "outside alpha is 0"


PAINTED_LAST: list[Any] = [
    pytest.param({"provenance": {"enabled": False, "label": "modified"}}, id="label"),
    pytest.param(
        {
            "provenance": {"enabled": False, "label": "modified"},
            "anonymize": {"distance": 0.6},
            "spans": [{"from": 0.04, "to": 1.0, "composite": {"opacity": 0.5}}],
        },
        id="spans, blur and label",
        marks=pytest.mark.skipif(not available(), reason="needs the extra identity"),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("tables", PAINTED_LAST)
def test_what_is_painted_last_is_in_the_layers(tables: Any, clip: Callable[..., Path]) -> None:
    path = clip("one_face", frames=3)
    source, number = decode(path), 0
    with swapper(**tables) as one:
        for batch in one.stream(path, layers=True):
            assert isinstance(batch, LayeredBatch)
            for finished, layers in zip(batch.frames, batch.layers, strict=True):
                filmed, swap = source.frames[number], layers.whole(layers.swap)
                assert furthest(rebuilt(filmed, source.info, swap), finished) <= 1
                assert swap[:40, 160:, 3].max() > 0.9, "the plate in the upper right corner"
                if "anonymize" in tables:
                    assert (swap[..., 3] > 0.9).mean() > 0.05, "the whole face"
                number += 1
    assert number == 3


def test_headers_name_colours_numbers_and_what_is_in_there(painted: Any, tmp_path: Path) -> None:
    info, rows = painted
    numbers = Numbers.of(Fraction(30000, 1001), 10.0, "01:00:00;02")
    image_writer("exr", CONTENTS, info, numbers).write(rows[1][2], tmp_path)
    image_writer("png", CONTENTS, info, numbers).write(rows[1][2], tmp_path)
    header, channels = read_exr(tmp_path / "exr/exr.000301.exr")
    hdr = info.color.transfer == 16
    assert header["colorInteropID"] == ("pq_rec2020_display" if hdr else "g24_rec709_display")
    assert header["framesPerSecond"] == Fraction(30000, 1001)
    assert header["fapvideo:frame"] == 301
    time = header["timeCode"]
    assert (time.hours, time.minutes, time.seconds, time.frame) == (1, 0, 10, 3)
    assert set(channels) == {
        *"RGBA", "mattes.mouth", "mattes.inner_mouth", "mattes.occluders",
        "guide.R", "guide.G", "guide.B", "guide.A", "st.R", "st.G", "st.A",
    }  # fmt: skip
    with av.open(str(tmp_path / "swap/swap.000301.png")) as file:
        frame = next(file.decode(video=0))
        assert (frame.width, frame.height) == info.display_size
        assert (frame.color_primaries, frame.color_trc) == ((9, 16) if hdr else (1, 1))
    data = (tmp_path / "swap/swap.000301.png").read_bytes()
    assert b"tEXtTimecode\x0001:00:10;03" in data
    inside = channels["mattes.mouth"] > 0.5
    s, t = channels["st.R"][inside], channels["st.G"][inside]
    assert abs(s.mean() - 0.5) < 0.06, "the mouth lies in the middle of the mean face"
    assert 0.1 < t.mean() < 0.45, "and below its eyes, y up"


MOVIE_OFF = {8: 1, 10: 4, 16: 200}
"""By bits of the source: the movie has 10 bits, through a codec that loses some."""


def test_the_movie_rebuilds_nearly(painted: Any, tmp_path: Path) -> None:
    info, rows = painted
    made = tmp_path / "swap.mov"
    movie = movie_info(info, Numbers.of(info.frame_rate, 0.0, ""))
    with VideoWriter(made, movie, VideoConfig(codec="prores")) as writer:
        writer.write([movie_frame(filmed, layers, movie) for filmed, _, layers in rows])
    read = decode(made)
    assert read.info.pixel_format.startswith("yuva444p")
    for (filmed, finished, _), frame in zip(rows, read.frames, strict=True):
        mixed = movie_over(filmed, frame, read.info.bit_depth, info.bit_depth)
        assert furthest(mixed, finished) <= MOVIE_OFF[info.bit_depth]


def movie_over(
    filmed: VideoFrame, layer: VideoFrame, bits: int, depth: int = 8
) -> list[np.ndarray]:
    """Return the planes of a source of `depth` bits with a frame of the movie over them."""
    alpha, out = layer.planes[3] / ((1 << bits) - 1), []
    for old, new in zip(filmed.planes, layer.planes[:3], strict=True):
        down, across = alpha.shape[0] // old.shape[0], alpha.shape[1] // old.shape[1]
        mixed = np.kron(old.astype(float), np.ones((down, across))) * (1 - alpha)
        mixed += new * 2.0 ** (depth - bits) * alpha
        cells = mixed.reshape(old.shape[0], down, old.shape[1], across)
        out.append(np.rint(cells.mean(axis=(1, 3))))
    return out


def test_the_mattes_of_two_people_can_be_told_apart(
    clip: Callable[..., Path], tmp_path: Path
) -> None:
    """The astronaut is left and gets a mouth, the brand face right and gets eyes as well."""
    people = [
        Person({"left": 1}, {"mouth": BRAND}),
        Person({"left": 2}, {"mouth": BRAND, "eyes": BRAND}),
    ]
    place = tmp_path / "layers"
    with swapper(layers={"images": "exr", "movie": False}) as one:
        one.run(clip("two_faces", frames=3), people=people, layers=place)
    told = json.loads((place / "layers.json").read_text("utf-8"))
    first, second = ({who: n for n, who in told["people"].items()}[f"left {n}"] for n in (1, 2))
    own = [f"mouth_person{first}", f"mouth_person{second}", f"eyes_person{second}"]
    assert {*own, "eyes", "mouth"} <= set(told["mattes"])
    assert f"eyes_person{first}" not in told["mattes"]
    _, channels = read_exr(place / "exr/exr.000001.exr")
    left, right, eyes = (channels[f"mattes.{name}"] for name in own)
    assert left[:, :192].max() > 0.9
    assert right[:, 192:].max() > 0.9
    assert not left[:, 192:].any()
    assert not right[:, :192].any()
    assert np.array_equal(np.maximum(left, right), channels["mattes.mouth"])
    assert np.array_equal(eyes, channels["mattes.eyes"])
    rows = lines(place / "tracks.jsonl")
    cast = {str(face["person"]): face["cast"] for face in rows[1]["faces"]}
    assert cast == told["people"], "the numbers of tracks.jsonl"


# --------------------------------------------------------------------------------- whole runs

SEGMENTS = {"codec": "h264", "speed": "ultrafast", "segment_s": 0.3}
"""Two segments of a clip of 16 frames with a key frame every eight."""
LISTS = ["corner_pins.nk", "layers.json", "layers.otio", "tracks.jsonl", "tracks.usda"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, clip: Callable[..., Path]) -> Path:
    """A clip with a timecode, in a folder of its own."""
    timecode = {"timecode": "01:00:00:00"}
    made = clip("one_face", suffix=".mov", frames=16, options={"g": "8"}, stream_metadata=timecode)
    return Path(shutil.copy(made, tmp_path_factory.mktemp("layers") / "in.mov"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """What a run writes that nobody stopped: `out.mp4` and `layers`."""
    place = tmp_path_factory.mktemp("whole")
    with swapper(video=SEGMENTS) as one:
        report = one.run(source, place / "out.mp4", layers=place / "layers")
    assert report.output["path"] == str(place / "out.mp4")
    return place


def contents(folder: Path) -> dict[str, str]:
    """Return every file in a folder and its hash, but for paths that are told."""
    told = ("layers.otio", "layers.json")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in told)
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of tracks."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_every_frame_is_there_under_its_number(folder: Path, source: Path) -> None:
    layers = folder / "layers"
    images = ["guide", "matte_inner_mouth", "matte_mouth", "matte_occluders", "st", "swap"]
    assert sorted(path.name for path in layers.iterdir()) == sorted([*LISTS, *images, "swap.mov"])
    for name in images:
        names = sorted(path.name for path in (layers / name).iterdir())
        assert names == [f"{name}.{number:06}.png" for number in range(16)]
    told = json.loads((layers / "layers.json").read_text("utf-8"))
    assert told["source"]["timecode"] == "01:00:00:00"
    assert told["mattes"] == ["mouth", "inner_mouth", "occluders"]
    with av.open(str(layers / "swap.mov")) as file:
        assert file.streams.video[0].metadata["timecode"] == "01:00:00:00"
        assert len(file.streams.audio) == 0, "pictures only: sound is the source's"
    finished, filmed = decode(folder / "out.mp4"), decode(source)
    movie = decode(layers / "swap.mov")
    assert movie.times == filmed.times == finished.times
    for number, frame in enumerate(movie.frames):
        near = np.array(movie_over(filmed.frames[number], frame, movie.info.bit_depth)[0])
        off = np.abs(near - finished.frames[number].planes[0])
        assert off.mean() < 1.0, "but for what H.264 loses"


@pytest.mark.slow
def test_a_run_that_was_stopped_makes_the_same_layers(
    folder: Path, source: Path, tmp_path: Path
) -> None:
    painted = [0]

    def progress(now: Progress) -> None:
        painted[0] = now.done if now.stage == "swap" else painted[0]

    def run(**more: Any) -> None:
        with swapper(video=SEGMENTS) as one:
            one.run(source, tmp_path / "out.mp4", layers=tmp_path / "layers", **more)

    with pytest.raises(Cancelled):
        run(progress=progress, cancel=lambda: painted[0] >= 8)
    assert [path.name for path in tmp_path.iterdir()] == [".out.mp4.fapvideo"]
    job = Job.read(job_folder(tmp_path / "out.mp4"))
    assert [segment.index for segment in job.missing()] == [1]
    done = job.folder / "segments" / "0000.layers"
    times = {path: path.stat().st_mtime_ns for path in done.rglob("*.png")}
    assert len(times) == 6 * 8
    (done / "swap" / "swap.000003.png").unlink()
    assert [segment.index for segment in job.missing()] == [0, 1], "a segment without its layers"
    run()
    assert contents(tmp_path / "layers") == contents(folder / "layers")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "layers", "out.mp4", "out.mp4.report.json", "out.mp4.tracks.jsonl",
    ]  # fmt: skip


@pytest.mark.slow
def test_layers_alone_signed_with_frames_that_show_no_face(
    clip: Callable[..., Path], tmp_path: Path
) -> None:
    place, source = tmp_path / "layers", clip("leaving")
    before = sha256_file(source)
    with any_swapper(layers={"images": "exr", "contents": ["swap"]}) as one:
        report = one.run(source, layers=place)
        with pytest.raises(VideoWriteError, match="exists already"):
            one.run(source, layers=place)
    assert sha256_file(source) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "layers", "layers.report.json", "layers.tracks.jsonl",
    ]  # fmt: skip
    assert report.output["path"] == str(place)
    assert report.provenance["signed"]
    found = read_credentials(place / "swap.mov")
    assert found is not None
    assert found.whole
    shown = []
    for number in range(30):
        header, channels = read_exr(place / f"exr/exr.{number:06}.exr")
        assert set(channels) == set("RGBA")
        shown.append(bool(channels["A"].any()))
        assert header["displayWindow"][1].tolist() == [319, 239]
    rows = lines(place / "tracks.jsonl")
    painted = [any(face["weight"] > 0 for face in row["faces"]) for row in rows]
    assert shown == painted
    assert not all(shown), "some frames show no face"
    alpha = [frame.planes[3].any() for frame in decode(place / "swap.mov").frames]
    assert alpha == shown


def test_mattes_alone_are_layers_too(clip: Callable[..., Path], tmp_path: Path) -> None:
    with swapper(layers={"movie": False, "contents": ["inner_mouth"]}) as one:
        one.run(clip("one_face", frames=3), layers=tmp_path / "layers")
    written = sorted(path.name for path in (tmp_path / "layers").iterdir())
    assert written == sorted([*LISTS, "matte_inner_mouth"])
    tracks = json.loads((tmp_path / "layers" / "layers.otio").read_text("utf-8"))["tracks"]
    assert [track["name"] for track in tracks["children"]] == ["source"]


def test_frames_from_python_have_layers_too(clip: Callable[..., Path], tmp_path: Path) -> None:
    pictures = decode(clip("one_face", frames=3)).rgb
    taken: list[Any] = []
    from fapvideo.run.sinks import FrameSink

    with swapper() as one:
        one.run(FrameSource(pictures), FrameSink(taken.append), layers=tmp_path / "layers")
    (batch,) = taken
    for number, finished in enumerate(batch.rgb):
        rgba = read_png(tmp_path / f"layers/swap/swap.{number:06}.png")
        mixed = pictures[number] * (1 - rgba[..., 3:]) + 255 * rgba[..., :3] * rgba[..., 3:]
        assert np.abs(np.rint(mixed) - finished).max() <= 1


def test_otio_puts_the_layers_over_the_source(folder: Path, source: Path) -> None:
    otio = pytest.importorskip("opentimelineio")
    path = folder / "layers" / "layers.otio"
    timeline = otio.adapters.read_from_file(str(path))
    below, above = timeline.video_tracks()
    (clip_below,), (clip_above,) = below, above
    there = path.parent / clip_below.media_reference.target_url
    assert there.resolve() == source.resolve()
    assert clip_above.media_reference.target_url == "swap.mov"
    images = clip_above.media_references()["images"]
    urls = [images.target_url_for_image_number(number) for number in (0, 15)]
    assert all((path.parent / url).is_file() for url in urls)
    assert images.number_of_images_in_sequence() == 16
    for one in (clip_below, clip_above):
        shown = one.trimmed_range()
        assert shown.duration == otio.opentime.RationalTime(16, 25)
        assert otio.opentime.to_timecode(shown.start_time, 25) == "01:00:00:00"


def test_tracks_say_what_a_compositor_needs(folder: Path, checkout: Path) -> None:
    rows = lines(folder / "layers" / "tracks.jsonl")
    assert [row["number"] for row in rows] == list(range(16))
    assert [row["timecode"] for row in rows[:2]] == ["01:00:00:00", "01:00:00:01"]
    row, face = rows[5], rows[5]["faces"][0]
    page = (checkout / "docs" / "recipes" / "compositing.md").read_text("utf-8")
    documented = page[page.index("## `tracks.jsonl`") :]
    assert {key for key in (*row, *face) if f"`{key}`" not in documented} == set()
    points, matrix = np.array(face["points"]), np.array(face["crop"])
    assert points.shape == (478, 3)
    left, _, _, bottom = face["box"]
    assert abs(points[:468, 0].min() - left) < 0.1
    assert abs(points[:468, 1].max() - bottom) < 0.1
    eyes = points[[33, 263], :2] @ matrix[:, :2].T + matrix[:, 2]
    assert abs(eyes[:, 1] - 0.34).max() < 0.05, "the crop's eyes are where they belong"
    assert len(face["expression"]) == 52
    assert all(0 <= value <= 1 for value in face["expression"].values())
    ordinary = lines(folder / "out.mp4.tracks.jsonl")
    for more, less in zip(rows, ordinary, strict=True):
        for face, old in zip(more["faces"], less["faces"], strict=True):
            assert {key: face[key] for key in old} == old


def pins(text: str, knob: str) -> Iterator[float]:
    """Yield the values of a knob of a corner pin, x then y of every frame."""
    line = next(line for line in text.splitlines() if line.startswith(f" {knob} "))
    for curve in line.split("{curve L ")[1:]:
        yield from (float(word.strip("}")) for word in curve.split() if word[0] != "x")


def test_corner_pins_and_the_scene_lie_on_the_face(folder: Path) -> None:
    layers = folder / "layers"
    rows = lines(layers / "tracks.jsonl")
    matrix = np.array(rows[0]["faces"][0]["crop"])
    inverse = np.linalg.inv(matrix[:, :2])
    corner = inverse @ (np.array([0.0, 1.0]) - matrix[:, 2])
    values = list(pins((layers / "corner_pins.nk").read_text("utf-8"), "to1"))
    assert len(values) == 2 * 16
    assert abs(values[0] - corner[0]) < 0.01
    assert abs(values[16] - (240 - corner[1])) < 0.01
    scene = (layers / "tracks.usda").read_text("utf-8")
    line = next(line for line in scene.splitlines() if line.startswith("            5: [("))
    numbers = line.partition(":")[2].translate({ord("("): "[", ord(")"): "]"}).rstrip(",")
    points = np.array(json.loads(numbers))
    want = np.array(rows[5]["faces"][0]["points"]) * (1, -1, -1) + (0, 240, 0)
    assert np.abs(points - want).max() < 0.02


def test_nothing_else_is_touched(source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep me")
    with swapper() as one:
        with pytest.raises(VideoWriteError, match="is no folder of layers"):
            one.run(source, layers=mine, overwrite=True)
        with pytest.raises(VideoWriteError, match="holds the input"):
            one.run(source, layers=source.parent, overwrite=True)
        with pytest.raises(VideoWriteError, match="does not exist"):
            one.run(source, layers=tmp_path / "no" / "layers")
        for name in (".", "", tmp_path / ".."):
            with pytest.raises(VideoWriteError, match="no name for a folder of layers"):
                one.run(source, layers=name)
        both = tmp_path / "both.mp4"
        for output in (both, both / "new.mp4"):
            with pytest.raises(VideoWriteError, match="where the layers are"):
                one.run(source, output, layers=both)
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with (
        swapper(layers={"images": "exr"}) as one,
        pytest.raises(VideoWriteError, match="OpenEXR, which is not installed"),
    ):
        one.run(source, layers=tmp_path / "layers")
    site = tmp_path / "site.toml"
    site.write_text("require_provenance = true\n")
    monkeypatch.setenv("FAPVIDEO_SITE_CONFIG", str(site))
    with (
        any_swapper(layers={"movie": False}) as one,
        pytest.raises(ProvenanceError, match="images cannot be signed"),
    ):
        one.run(source, layers=tmp_path / "layers")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site.toml"]
    assert (mine / "notes.txt").read_text() == "keep me"
