"""What flows between the stages. Everything is frozen; arrays are numpy, shapes are checked.

Coordinates are (x, y) pixels with the origin at the outer corner of the top left pixel, in the
frame *as displayed* (after rotation) unless a docstring says "crop". "Left" and "right" in part
names are the person's own. Colour arrays are RGB.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.floating[Any]]
"""Stored as float32."""
Bytes = NDArray[np.uint8]

NUM_LANDMARKS = 478
"""468 points of the MediaPipe face mesh, then 5 iris points of the right and 5 of the left eye."""

FieldOrder = Literal["progressive", "tff", "bff"]
"""Whole pictures, or two fields of lines of which the upper or the lower one comes first."""
FrameState = Literal["swapped", "held", "faded", "left"]
"""Of one face in one frame: swapped in full; with an earlier frame's geometry; in part; not."""
STATES: tuple[FrameState, ...] = get_args(FrameState)
"""The most intact first."""

REASONS: Mapping[str, str] = {
    "not_measured": "no face was measured here",
    "disagrees": "the mesh disagrees with an independent look at the picture",
    "jumps": "the mesh is out of shape against the frames beside it",
    "profile": "turned too far to the side",
    "too_small": "the face is too small",
    "numeric": "a number is not finite",
    "leaves_frame": "the parts lie outside the picture",
    "covered": "something that stays covers the parts",
    "looks_wrong": "what was painted failed its check",
    "beside": "next to frames where it is not swapped",
    "protected": "on the list of people who are left as they are",
    "not_cast": "not asked for",
}
"""Code -> what it says: why a face is not plainly swapped in a frame. Figures stand elsewhere."""


def _expect(name: str, array: Array, shape: tuple[int | None, ...]) -> None:
    """Raise `ValueError` unless `array` has `shape` (`None` matches any length)."""
    if array.ndim != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")


# ---------------------------------------------------------------------------------- video


@dataclass(frozen=True, slots=True)
class ColorTags:
    """Colour description as the stream carries it: H.273 code points, 2 = unspecified."""

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    full_range: bool = False


@dataclass(frozen=True, slots=True)
class HdrMetadata:
    """HDR10 static metadata in x265's own notation; empty strings where absent."""

    mastering_display: str = ""
    max_cll: str = ""
    dynamic: str = ""
    """Dynamic metadata that is there but cannot be kept, by name: `HDR10+`, `Dolby Vision`."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of the container."""

    index: int
    kind: Literal["video", "audio", "subtitle", "data", "attachment"]
    codec: str
    language: str = ""
    title: str = ""
    default: bool = False


@dataclass(frozen=True, slots=True)
class Joint:
    """Where the clock of one stream starts anew."""

    stream: int
    packet: int
    """The first packet of the stream (counted from 0) that runs on the new clock."""
    shift_s: Fraction
    """Added to the times of that packet and of those after it."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What `probe` found. `width` and `height` are as coded, `display_size` after rotation."""

    path: Path
    container: str
    width: int
    height: int
    rotation: Literal[0, 90, 180, 270]
    """Clockwise degrees by which the coded picture is turned for display."""
    sample_aspect_ratio: Fraction
    frame_rate: Fraction
    time_base: Fraction
    vfr: bool
    frames: int
    """Frames the container promises; 0 where it does not say."""
    duration_s: float
    pixel_format: str
    bit_depth: int
    color: ColorTags
    hdr: HdrMetadata
    video_stream: int
    streams: tuple[StreamInfo, ...]
    codec: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    chapters: int = 0
    display_matrix: tuple[int, ...] = ()
    """The 9 numbers behind `rotation` (16.16 and 2.30 fixed point); empty if there are none."""
    start_pts: int = 0
    """Presentation time of the first frame; `VideoFrame.time_s` counts from here."""
    mirrored: bool = False
    """Whether the picture, turned by `rotation`, is then mirrored left to right for display."""
    origin_s: Fraction = Fraction(0)
    """The time on the file's clock that is 0 in an output."""
    times: Literal["shown", "decoded", "some"] = "shown"
    """What packets tell: when they are shown, only when they are decoded (AVI), or not all do."""
    joints: tuple[Joint, ...] = ()
    """Where the file's clock starts anew; all times are on one clock that goes on."""
    promised: int = 0
    """Frames that the container's header or index promises; 0 where it does not say."""
    cut: bool = False
    """Whether the file ends before its own structures do."""
    field_order: FieldOrder = "progressive"
    stereo: str = ""
    """`left_right` or `top_bottom` where a frame is two pictures, one for each eye."""
    decoder: str = ""
    """FFmpeg's decoder where it is not the usual one (VP9 with transparency)."""
    carried: tuple[str, ...] = ()
    """What the first picture carries beside samples, by FFmpeg's name: `STEREO3D`, ..."""
    captions: bool = False
    """Whether pictures carry closed captions (CEA-608/708)."""
    stamp: tuple[int, int] = field(default=(0, 0), compare=False)
    """Bytes and time of the last change (ns) when it was looked at."""
    warnings: tuple[str, ...] = ()
    """What should be known about the file."""

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) of a frame as shown, in its own pixels."""
        return (
            (self.height, self.width) if self.rotation in (90, 270) else (self.width, self.height)
        )

    @property
    def pixel_shape(self) -> tuple[float, float]:
        """(width, height) of a displayed pixel, the shorter one 1: what makes pixels square."""
        aspect = float(self.sample_aspect_ratio)
        if self.rotation in (90, 270):
            aspect = 1 / aspect
        return max(1.0, aspect), max(1.0, 1 / aspect)


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One decoded frame: its own samples, and its place in time."""

    index: int
    pts: int
    """Presentation time in units of the stream's time base."""
    time_s: float
    """Seconds since the video stream's first frame."""
    pixel_format: str
    """A planar FFmpeg format: `yuv420p10le`, `gbrp`, `gray`, ..."""
    planes: tuple[Array, ...]
    """One (height, width) array per plane, as coded (not rotated), uint8 or uint16."""
    duration: int = 0
    key_frame: bool = False
    captions: bytes = b""
    """CEA-608/708 captions of this frame as FFmpeg's `A53_CC`: triplets of `cc_data`."""

    def fingerprint(self) -> int:
        """Return a CRC-32 of every fourth line of the first plane: codecs go wrong by blocks."""
        return zlib.crc32(self.planes[0][::4].tobytes())


@dataclass(frozen=True, repr=False)
class FrameBatch:
    """Consecutive frames; their pictures for viewing are made when they are looked at."""

    frames: tuple[VideoFrame, ...]
    time_base: Fraction
    views: tuple[Callable[[], Bytes], ...]
    """Per frame: makes its picture [height, width, 3] as displayed."""

    def __post_init__(self) -> None:
        """Check that pictures and frames pair up."""
        if len(self.views) != len(self.frames):
            raise ValueError(f"{len(self.frames)} frames, {len(self.views)} pictures")

    @cached_property
    def rgb(self) -> Bytes:
        """[N, height, width, 3] uint8 as displayed."""
        return np.stack([view() for view in self.views])

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames)

    @property
    def pts(self) -> NDArray[np.int64]:
        """[N] presentation times in units of `time_base`."""
        return np.array([frame.pts for frame in self.frames], np.int64)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """[N] presentation times in seconds."""
        return np.array([frame.time_s for frame in self.frames], np.float64)

    def __repr__(self) -> str:
        """Show where it is; no picture is made."""
        first = self.frames[0].index if self.frames else 0
        return f"FrameBatch(first={first}, frames={len(self)})"


# ---------------------------------------------------------------------------------- faces


@dataclass(frozen=True, slots=True)
class Face:
    """One face in one picture."""

    box: Floats
    """[4] x0, y0, x1, y1."""
    landmarks: Floats
    """[478, 3] x, y, z; z is depth towards the viewer negative, in the same pixels."""
    presence: float
    """Probability in [0, 1] that there is a face at all."""

    def __post_init__(self) -> None:
        """Check the shapes."""
        _expect("Face.box", self.box, (4,))
        _expect("Face.landmarks", self.landmarks, (NUM_LANDMARKS, 3))


@dataclass(frozen=True, slots=True)
class Track:
    """One person through consecutive frames of one shot, smoothed over time.

    `landmarks[i]` belongs to frame `first_frame + i`.
    """

    id: int
    first_frame: int
    landmarks: Floats
    """[T, 478, 3] zero-phase smoothed; frames without a measurement are interpolated."""
    presence: Floats
    """[T] mesh presence, 0 where nothing was measured."""
    jump: Floats
    """[T] disagreement of the raw mesh with its neighbours, inter-ocular distances."""
    neutral: Floats
    """[478, 3] median shape in the canonical head frame (inter-ocular distance 1)."""
    faults: tuple[str, ...] = ()
    """[T] why a frame was not measured, a code of `REASONS`; empty where it was."""

    def __post_init__(self) -> None:
        """Check that all per-frame arrays have one length."""
        _expect("Track.landmarks", self.landmarks, (None, NUM_LANDMARKS, 3))
        _expect("Track.presence", self.presence, (len(self.landmarks),))
        _expect("Track.jump", self.jump, (len(self.landmarks),))
        _expect("Track.neutral", self.neutral, (NUM_LANDMARKS, 3))

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.landmarks)

    @property
    def last_frame(self) -> int:
        """Index of the last frame, inclusive."""
        return self.first_frame + len(self.landmarks) - 1


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how strongly one track is swapped in one frame."""

    track_id: int
    index: int
    """Of the frame in its track."""
    source: int
    """Of the track's frame that gives the geometry; another one where it is held."""
    landmarks: Floats
    """[478, 3] smoothed, display pixels."""
    weight: float
    """Opacity in [0, 1] the policy allows."""
    state: FrameState


@dataclass(frozen=True, slots=True)
class PartMasks:
    """Soft masks of one face, in its crop; values in [0, 1]."""

    parts: Mapping[str, Floats]
    """Part name -> [S, S]."""
    hole: Floats
    """[S, S] feathered union of all swapped parts: the composite's alpha."""
    core: Floats
    """[S, S] hard hole (0 or 1) the model fills; contains the support of `hole`."""
    inner_mouth: Floats
    """[S, S] the open mouth between the target's lips, kept from the target."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference image of one part, ready to be used."""

    part: str
    path: str
    sha256: str
    weight: float
    crop: Floats
    """[S, S, 3] aligned face, RGB in [0, 1]."""
    landmarks: Floats
    """[478, 3] in the crop's pixels."""
    shape: Floats
    """[478, 3] in the head frame."""
    expression: Mapping[str, float]
    """Measures of `ops.pose.expression`."""
    tokens: Floats
    """[G*G, C] penultimate tokens of the part alone on black, row-major grid."""
    encoder: str
    """What made the tokens; they fit no other bundle."""
    box: Floats
    """[4] y0, x0, y1, x1 of the part in the crop, in [0, 1]."""
    cached: bool
    """Whether the tokens came from the cache."""
    licence: str = ""
    """Of the image, as it was stated; empty where nobody said."""

    def __post_init__(self) -> None:
        """Check the shapes."""
        _expect("Reference.crop", self.crop, (None, None, 3))
        _expect("Reference.landmarks", self.landmarks, (NUM_LANDMARKS, 3))
        _expect("Reference.tokens", self.tokens, (None, None))
        _expect("Reference.box", self.box, (4,))


# ---------------------------------------------------------------------------------- report


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did; written beside the output as `<output>.report.json`."""

    input: Mapping[str, Any]
    output: Mapping[str, Any]
    preset: Mapping[str, Any]
    seed: int
    bundle: Mapping[str, Any]
    references: Sequence[Mapping[str, Any]]
    tracks: Sequence[Mapping[str, Any]]
    frames: Mapping[str, int]
    """Frames in all and by their most intact face's state; without a face a frame is `left`."""
    outside_changed_samples: int
    timings: Mapping[str, float]
    peak_rss_bytes: int
    warnings: Sequence[str]
    versions: Mapping[str, str]
    frame_log: Sequence[Mapping[str, Any]] = ()
    """Spans of frames in which a face was not plainly swapped: first, last, start_s, end_s, track,
    state, reason (a code of `REASONS`)."""
    faces: Mapping[str, int] = field(default_factory=dict)
    """Faces of all frames, in all and by state."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Code of `REASONS` -> how many faces of frames were not plainly swapped because of it."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What the output says about itself, and what the input did: docs/report.md."""
    anonymity: Mapping[str, Any] = field(default_factory=dict)
    """With `[anonymize]`: how near recognition finds the faces, and what was blurred."""
    schema_version: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return asdict(self)
