"""A small report with everything in it: two systems on a clip, one on pairs of photos.

One system does nothing; the other brightens the nose, and in frame `BAD` paints the mouth. Names
are hostile: nothing that a file or a system is called may become markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from clips import Clip as Container
from clips import write_clip
from face_clips import BRAND, SIZE, one_face
from runs import preset

from fapvideo.config.evaluation import Threshold
from fapvideo.config.schema import ReferenceConfig
from fapvideo.evaluation.definitions import Definition
from fapvideo.evaluation.measure import Measurement, Stretch, Suspect
from fapvideo.evaluation.report.page import write_page
from fapvideo.evaluation.report.record import Record
from fapvideo.evaluation.views import Clip, FramePair
from fapvideo.reference.images import AlignedFace, align
from fapvideo.structs import Bytes
from fapvideo.track.finder import FaceFinder
from fapvideo.track.older import OlderMesh

FRAMES, BAD = 12, 7
HOSTILE = "<script>hacked=1<!--"
OTHER = "\"><img src=x onerror='hacked=2'>"
"""A system's name."""
CLIP, PHOTOS = f"{HOSTILE}.mkv", "pairs & photos"
PAINTED = (200, 30, 40)

DEFINITIONS = (
    Definition("seam.colour", "Step at the seam", "dE", "lower", "How far.", "own", True, True),
    Definition("success.*", "Swap success", "%", "higher", f"Share. {HOSTILE}", "own", True),
    Definition("warp.mask", "Warp error", "", "one", "Relative.", "Lai 2018", True, True),
    Definition("fid", "Frechet distance", "", "lower", "Never measured here.", "Heusel 2017"),
)


THRESHOLDS = {"seam.colour": Threshold(max=2.0), "success.*": Threshold(min=90.0)}


@dataclass(frozen=True)
class Photos:
    """Pairs of photos: frames of the clip that have nothing to do with each other."""

    clip: Clip
    path: Path
    parts: tuple[str, ...]
    frames: int = 3
    frame_rate: float = 1.0

    def pairs(self, result: Path) -> Iterator[FramePair]:
        """Yield three pairs, each with reference photos of its own."""
        for index, pair in enumerate(self.clip.pairs(result)):
            if index < self.frames:
                (face,) = self.clip.references["nose"]
                named = replace(face, path=f"{index}.png", sha256=str(index))
                yield replace(pair, references={"nose": (named,)})


@cache
def references() -> Mapping[str, tuple[AlignedFace, ...]]:
    """Return the brand face as the reference of nose and mouth."""
    face = align(BRAND, FaceFinder(mesh=OlderMesh()), ReferenceConfig())
    return {"nose": (face,), "mouth": (face,)}


@cache
def folder() -> Path:
    """Return a folder that lives as long as the tests."""
    _KEPT.append(TemporaryDirectory(prefix="fapvideo-report-"))
    return Path(_KEPT[0].name)


_KEPT: list[TemporaryDirectory[str]] = []


def result_picture(index: int) -> Bytes:
    """Return what the second system makes of a frame."""
    rgb, landmarks = one_face(index)
    out = rgb.copy()
    x, y = landmarks[4, :2].astype(int)  # the tip of the nose
    out[y - 6 : y + 6, x - 6 : x + 6] = np.minimum(out[y - 6 : y + 6, x - 6 : x + 6] + 12, 255)
    if index == BAD:
        x, y = landmarks[13, :2].astype(int)  # between the lips
        out[y - 5 : y + 5, x - 12 : x + 12] = PAINTED
    return out


@cache
def clip() -> Clip:
    """Return the source, followed; its file has a hostile name."""
    path = folder() / CLIP
    write_clip(path, _container(), lambda index: one_face(index)[0])
    return Clip.open(path, preset(), ("nose", "mouth"), folder(), references())


@cache
def result() -> Path:
    """Return the second system's video."""
    clip()
    path = folder() / "result.mkv"
    write_clip(path, _container(), result_picture)
    return path


@cache
def measurements() -> tuple[Measurement, ...]:
    """Return what was measured: plausible numbers, known peaks."""
    times = [index / 25 for index in range(FRAMES)]
    bump = [None, *(1.0 + 0.01 * index for index in range(1, FRAMES))]
    bump[BAD] = 6.5
    flat = [0.5 + 0.001 * (index % 3) for index in range(FRAMES)]
    common = {"source": str(clip().path), "parts": ("nose", "mouth")}
    bad = Suspect(BAD, times[BAD], f"visible seam {HOSTILE}: 6.5", "seam.colour")
    ours = Measurement(
        system="ours", clip=CLIP, result=str(clip().path), frames=FRAMES, face_frames=FRAMES,
        values={"seam.colour": 0.5, "success.nose": 97.5, "success.mouth": 91, "warp.mask": 1.04},
        times_s=times, curves={"seam.colour": flat, "warp.mask": flat},
        notes=["FID: no weights"], extra={"fps": 2.5, "frames": {"swapped": FRAMES}},
        stretches=[Stretch(times[1], times[3], f"left, {HOSTILE}")], **common,
    )  # fmt: skip
    other = Measurement(
        system=OTHER, clip=CLIP, result=str(result()), frames=FRAMES, face_frames=FRAMES - 1,
        values={"seam.colour": 2.5, "success.nose": 60.0, "warp.mask": 0.9},
        times_s=times, curves={"seam.colour": bump, "warp.mask": flat}, suspects=[bad],
        notes=["FID: no weights", HOSTILE], extra={"fps": float("nan")}, **common,
    )  # fmt: skip
    pairs = Measurement(
        system="ours", clip=PHOTOS, result=str(result()), frames=3, face_frames=3,
        values={"seam.colour": 1.5, "success.nose": 99.5}, times_s=[0.0, 1.0, 2.0],
        curves={"seam.colour": [1.0, 2.0, 1.5]}, **common,
    )  # fmt: skip
    return ours, other, pairs


def earlier() -> dict[str, Any]:
    """Return a report of another day: on the clip ours was worse at the seam."""
    rows = [{"system": "ours", "clip": CLIP, "values": {"seam.colour": 0.9, "success.nose": 97.5}}]
    return {"title": "Yesterday", "created": "2026-01-02T03:04:05+00:00", "measurements": rows}


def record() -> Record:
    """Return the report with everything in it."""
    return Record(
        title=f"Report {HOSTILE}",
        measurements=measurements(),
        definitions=DEFINITIONS,
        thresholds=THRESHOLDS,
        photos=[PHOTOS],
        notes=["Nothing else."],
        command=f"fapvideo eval '{HOSTILE}'",
        licences={"embedded bundle": "Apache-2.0"},
    )


def write_report(where: Path) -> Path:
    """Write it, with all pictures and the changes since `earlier`."""
    clips = {CLIP: clip(), PHOTOS: Photos(clip(), clip().path, clip().parts)}
    return write_page(where, record(), clips, earlier())


def _container() -> Container:
    """Return RGB without loss, so that what was not painted is equal."""
    return Container(".mkv", "ffv1", "bgr0", SIZE, FRAMES, matrix=0, full_range=True)
