"""Small video clips for tests, each one with the trait that its name says.

Every picture carries its frame number as a barcode along the top edge (`read_barcode`), so that
lost, doubled and swapped frames show. Give `paint` to draw something else below it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

Paint = Callable[[int], np.ndarray]
"""Frame index -> uint8 [height, width, 3] RGB, as coded (before rotation)."""

BITS = 8
MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
MAX_CLL = "1000,400"
VFR_GAPS = (3003, 3003, 9009, 1500, 3003, 12000, 700, 3003, 3003, 6006, 3003)


@dataclass(frozen=True)
class Clip:
    """How a clip is made."""

    suffix: str = ".mp4"
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (96, 64)
    frames: int = 12
    rate: Fraction = Fraction(25)
    time_base: Fraction = Fraction(1, 12800)
    gaps: Sequence[int] = ()
    """Ticks between frames, for a variable rate; otherwise `rate` decides."""
    start: int = 0
    """Presentation time of the first frame, in ticks."""
    rotation: int = 0
    """Clockwise degrees for display."""
    display_matrix: tuple[int, ...] = ()
    """In place of `rotation`."""
    sar: Fraction = Fraction(1)
    matrix: int = 1
    primaries: int = 1
    transfer: int = 1
    full_range: bool = False
    options: dict[str, str] = field(default_factory=dict)
    muxer: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    stream_metadata: dict[str, str] = field(default_factory=dict)
    audio: tuple[str, ...] = ()
    """One track per codec name."""
    subtitle: str = ""
    chapters: int = 0
    attachment: bool = False

    @property
    def pts(self) -> list[int]:
        """Presentation times of all frames."""
        if self.gaps:
            gaps = [self.gaps[i % len(self.gaps)] for i in range(self.frames - 1)]
            return [self.start + sum(gaps[:i]) for i in range(self.frames)]
        step = 1 / (self.rate * self.time_base)
        return [self.start + round(i * step) for i in range(self.frames)]


_TITLE = {"title": "A clip", "artist": "somebody"}
_HDR_PARAMETERS = f"log-level=none:master-display={MASTERING}:max-cll={MAX_CLL}:hdr10-opt=1"
_QUIET = {"x265-params": "log-level=none"}

CLIPS: dict[str, Clip] = {
    "plain": Clip(audio=("aac",), metadata=_TITLE),
    "b_frames": Clip(options={"bf": "3", "g": "8"}, frames=24),
    "open_gop": Clip(options={"bf": "3", "g": "6", "x264-params": "open-gop=1"}, frames=25),
    "vfr_mp4": Clip(time_base=Fraction(1, 90000), gaps=VFR_GAPS, options={"bf": "2"}),
    "vfr_mkv": Clip(".mkv", time_base=Fraction(1, 1000), gaps=(33, 40, 100, 17, 33, 210)),
    "ntsc": Clip(rate=Fraction(30000, 1001), time_base=Fraction(1, 30000)),
    "ntsc_mkv": Clip(".mkv", rate=Fraction(30000, 1001), time_base=Fraction(1, 1000)),
    "rotated_90": Clip(rotation=90, audio=("aac",)),
    "rotated_180": Clip(rotation=180),
    "rotated_270": Clip(".mov", rotation=270),
    "ten_bit": Clip(".mkv", "libx265", "yuv420p10le", time_base=Fraction(1, 1000), options=_QUIET),
    "hdr10": Clip(
        ".mp4", "libx265", "yuv420p10le", matrix=9, primaries=9, transfer=16,
        options={"x265-params": _HDR_PARAMETERS},
    ),
    "yuv422": Clip(pixel_format="yuv422p"),
    "yuv444": Clip(pixel_format="yuv444p"),
    "yuv422_ten": Clip(".mov", "prores_ks", "yuv422p10le"),
    "gbrp": Clip(".mkv", "libx264rgb", "rgb24", time_base=Fraction(1, 1000), matrix=0,
                 full_range=True),
    "gbrp10": Clip(".mkv", "ffv1", "gbrp10le", time_base=Fraction(1, 1000), matrix=0,
                   full_range=True),
    "gray": Clip(".mkv", "ffv1", "gray", time_base=Fraction(1, 1000), full_range=True),
    "odd_size": Clip(".mkv", "ffv1", size=(97, 65), time_base=Fraction(1, 1000)),
    "odd_422": Clip(".mkv", "ffv1", "yuv422p", size=(97, 65), time_base=Fraction(1, 1000)),
    "yuv411": Clip(".mkv", "ffv1", "yuv411p", time_base=Fraction(1, 1000)),
    "sixteen_bit": Clip(".mkv", "ffv1", "yuv444p16le", time_base=Fraction(1, 1000)),
    "sar": Clip(sar=Fraction(16, 11)),
    "sar_mkv": Clip(".mkv", sar=Fraction(4, 3), time_base=Fraction(1, 1000)),
    "pal_601": Clip(".mkv", "mpeg2video", size=(176, 144), time_base=Fraction(1, 25), matrix=5,
                    primaries=5, transfer=6, sar=Fraction(12, 11), options={"bf": "2"}),
    "avi": Clip(".avi", "mpeg4", time_base=Fraction(1, 25), options={"bf": "2"},
                audio=("libmp3lame",), matrix=2, primaries=2, transfer=2),
    "full_range": Clip(full_range=True),
    "mjpeg": Clip(".mov", "mjpeg", "yuvj420p", matrix=5, full_range=True),
    "untagged": Clip(matrix=2, primaries=2, transfer=2),
    "prores_alpha": Clip(".mov", "prores_ks", "yuva444p10le", options={"profile": "4444"}),
    "ffv1_alpha": Clip(".mkv", "ffv1", "yuva420p", time_base=Fraction(1, 1000)),
    "rgb24": Clip(".mov", "png", "rgb24", matrix=0, full_range=True),
    "nv12": Clip(".nut", "rawvideo", "nv12", muxer="nut", time_base=Fraction(1, 25),
                 matrix=2, primaries=2, transfer=2),
    "yuyv422": Clip(".nut", "rawvideo", "yuyv422", muxer="nut", time_base=Fraction(1, 25),
                    matrix=2, primaries=2, transfer=2),
    "late_start": Clip(start=6400, audio=("aac",)),
    "mpegts": Clip(".ts", time_base=Fraction(1, 90000), start=90000, audio=("aac",),
                   muxer="mpegts"),
    "raw_h264": Clip(".h264", muxer="h264", options={"bf": "2"}),
    "webm": Clip(".webm", "libvpx-vp9", time_base=Fraction(1, 1000), audio=("libopus",),
                 options={"deadline": "realtime", "cpu-used": "8"}),
    "timecode": Clip(".mov", stream_metadata={"timecode": "01:00:00:00"}, audio=("pcm_s16le",)),
    "custom_tags": Clip(metadata={**_TITLE, "com.example.scene": "12"}),
    "tracks_mkv": Clip(
        ".mkv", time_base=Fraction(1, 1000), audio=("aac", "flac"), subtitle="subrip",
        chapters=2, attachment=True, metadata=_TITLE, frames=25,
    ),
    "tracks_mp4": Clip(
        audio=("aac", "aac"), subtitle="mov_text", chapters=2, metadata=_TITLE, frames=25
    ),
}  # fmt: skip


ODD_CLIPS = {"edit_list": Clip(start=-1536)}
"""Clips that do not deliver every frame they hold."""


def picture(index: int, size: tuple[int, int]) -> np.ndarray:
    """Draw a gradient, a moving disc and some texture: uint8 [height, width, 3] RGB."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack(
        [60 + 120 * x / width, 70 + 100 * y / height, 150 - 60 * x / width + 20 * np.sin(x * y)],
        axis=-1,
    )
    centre = width * (0.2 + 0.6 * (index % 25) / 25)
    disc = (x - centre) ** 2 + (y - height * 0.6) ** 2 < (height * 0.2) ** 2
    rgb[disc] = (200, 60, 40)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def add_barcode(rgb: np.ndarray, index: int) -> np.ndarray:
    """Write `index` along the top eighth of the picture."""
    height, width = rgb.shape[:2]
    rgb = rgb.copy()
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        rgb[: height // 8, left:right] = 220 if index >> bit & 1 else 35
    return rgb


def read_barcode(rgb: np.ndarray, rotation: int = 0) -> int:
    """Read the frame number from a picture as displayed."""
    coded = np.rot90(rgb, rotation // 90)
    height, width = coded.shape[:2]
    value = 0
    for bit in range(BITS):
        middle = (2 * bit + 1) * width // (2 * BITS)
        value |= int(coded[height // 16, middle].mean() > 127) << bit
    return value


def make_clip(folder: Path, name: str, paint: Paint | None = None, **changes: object) -> Path:
    """Write the clip `CLIPS[name]`, with `changes` to its fields, and return its path."""
    clip = replace(CLIPS[name] if name in CLIPS else ODD_CLIPS[name], **changes)
    path = folder / f"{name}{clip.suffix}"
    write_clip(path, clip, paint)
    return path


def write_clip(path: Path, clip: Clip, paint: Paint | None = None) -> None:
    """Write one clip."""
    options = {"movflags": "use_metadata_tags"} if "com.example.scene" in clip.metadata else {}
    with av.open(path, "w", format=clip.muxer, container_options=options) as output:
        output.metadata.update(clip.metadata)
        video = _add_video(output, clip)
        tracks = [_add_audio(output, codec, n) for n, codec in enumerate(clip.audio)]
        subtitle = _add_subtitle(output, clip)
        if clip.attachment:
            output.add_attachment("note.txt", "text/plain", b"attached")
        if clip.chapters:
            output.set_chapters(_chapters(clip))
        for track in tracks:
            output.mux(_encode_audio(track, clip))
        if subtitle is not None:
            _mux_subtitle(output, subtitle, clip)
        for index, pts in enumerate(clip.pts):
            rgb = paint(index) if paint is not None else picture(index, clip.size)
            frame = _frame(add_barcode(rgb, index), clip)
            frame.pts, frame.time_base = pts, clip.time_base
            output.mux(video.encode(frame))
        output.mux(video.encode(None))


def audio_only(path: Path) -> None:
    """Write a file with sound and no picture."""
    with av.open(path, "w") as output:
        track = _add_audio(output, "aac", 0)
        output.mux(_encode_audio(track, Clip()))


def no_frames(path: Path) -> None:
    """Write a file that declares a video stream and holds no packet of it."""
    with av.open(path, "w") as output:
        _add_video(output, Clip())
        output.start_encoding()


def truncated(source: Path, path: Path, share: float = 0.6) -> None:
    """Copy the first part of a file."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def damaged(source: Path, path: Path, packets: Sequence[int]) -> None:
    """Copy a file and overwrite some video packets (counted in file order) with zeros."""
    data = bytearray(source.read_bytes())
    with av.open(source) as container:
        for number, packet in enumerate(container.demux(video=0)):
            if number in packets:
                payload = bytes(packet)
                at = bytes(data).find(payload)
                data[at : at + len(payload)] = bytes(len(payload))
    path.write_bytes(data)


# ------------------------------------------------------------------------------------ parts


def _add_video(output: av.container.OutputContainer, clip: Clip) -> av.VideoStream:
    options = {"crf": "16", "preset": "ultrafast"} if "x26" in clip.codec else {}
    stream = output.add_stream(clip.codec, rate=clip.rate, options={**options, **clip.options})
    stream.width, stream.height = clip.size
    stream.pix_fmt = clip.pixel_format
    stream.time_base = stream.codec_context.time_base = clip.time_base
    stream.codec_context.sample_aspect_ratio = clip.sar
    stream.codec_context.thread_count = 1
    _tag(stream.codec_context, clip)
    if clip.display_matrix:
        stream.set_display_matrix(clip.display_matrix)
    elif clip.rotation:
        stream.set_display_rotation(-clip.rotation)
    stream.metadata.update(clip.stream_metadata)
    return stream


def _tag(target: object, clip: Clip) -> None:
    target.colorspace = clip.matrix  # type: ignore[attr-defined]
    target.color_primaries = clip.primaries  # type: ignore[attr-defined]
    target.color_trc = clip.transfer  # type: ignore[attr-defined]
    target.color_range = 2 if clip.full_range else 1  # type: ignore[attr-defined]


def _frame(rgb: np.ndarray, clip: Clip) -> av.VideoFrame:
    wide = rgb.astype(np.uint16) * 257
    frame = av.VideoFrame.from_ndarray(wide, format="rgb48le")
    matrix = {0: 1, 2: 5, 6: 5}.get(clip.matrix, clip.matrix)
    frame = frame.reformat(
        format=clip.pixel_format,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=2 if clip.full_range else 1,
    )
    _tag(frame, clip)
    return frame


def _add_audio(output: av.container.OutputContainer, codec: str, number: int) -> av.AudioStream:
    stream = output.add_stream(codec, rate=48000, layout="stereo")
    stream.time_base = Fraction(1, 48000)
    stream.metadata["language"] = ("eng", "deu")[number % 2]
    stream.metadata["title"] = f"Track {number}"
    return stream


def _encode_audio(stream: av.AudioStream, clip: Clip) -> list[av.Packet]:
    """Encode a tone as long as the video."""
    last = clip.pts[-1] + (clip.gaps[0] if clip.gaps else 1 / (clip.rate * clip.time_base))
    count = int((last - clip.start) * clip.time_base * 48000)
    begin = round(clip.start * clip.time_base * 48000)
    size = stream.codec_context.frame_size or 1024
    packets = []
    pitch = 440 * (stream.index + 1)
    for first in range(0, count, size):
        t = np.arange(first, first + size) / 48000
        tone = (8000 * np.sin(2 * np.pi * pitch * t)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(
            np.repeat(tone, 2)[None, :], format="s16", layout="stereo"
        )
        frame.sample_rate = 48000
        frame.pts, frame.time_base = begin + first, Fraction(1, 48000)
        resampler = av.AudioResampler(stream.format.name, "stereo", 48000, size)
        for part in resampler.resample(frame):
            packets += stream.encode(part)
    return packets + stream.encode(None)


def _add_subtitle(output: av.container.OutputContainer, clip: Clip) -> av.stream.Stream | None:
    if not clip.subtitle:
        return None
    stream = output.add_mux_stream(clip.subtitle)
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "fra"
    return stream


def _mux_subtitle(
    output: av.container.OutputContainer, stream: av.stream.Stream, clip: Clip
) -> None:
    for number, text in enumerate((b"Bonjour", b"Au revoir")):
        if clip.subtitle == "mov_text":
            text = len(text).to_bytes(2, "big") + text
        packet = av.Packet(text)
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = 100 + 400 * number
        packet.duration = 300
        output.mux(packet)


def _chapters(clip: Clip) -> list[dict[str, object]]:
    length = 1000 * len(clip.pts) // 25 // clip.chapters
    return [
        {
            "id": number,
            "start": number * length,
            "end": (number + 1) * length,
            "time_base": Fraction(1, 1000),
            "metadata": {"title": f"Chapter {number}"},
        }
        for number in range(clip.chapters)
    ]
