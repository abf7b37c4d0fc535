"""Finding, aligning and filtering faces: files in, one memory-mapped file of crops out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fapvideo.config.train import DataConfig
from fapvideo.errors import Cancelled, ReferenceImageError
from fapvideo.nets.realesrgan import RRDBNet
from fapvideo.ops import mesh
from fapvideo.ops.files import write_text
from fapvideo.progress import OnProgress, Progress, ShouldStop
from fapvideo.structs import Bytes, Floats
from fapvideo.track.finder import FaceFinder
from fapvideo.track.older import OlderMesh
from fapvideo.training.faces.examine import Finding, examine
from fapvideo.training.faces.page import faces_page
from fapvideo.training.faces.sources import Source

INDEX, PAGE = "faces.json", "report.html"


@dataclass(frozen=True, slots=True)
class FaceSet:
    """Aligned faces in the order of their files' names, those of a video in order of time."""

    crops: Bytes
    """[N or more, S, S, 3] RGB, mapped from disk; the first N rows count."""
    landmarks: Floats
    """[N, 478, 3] in crop pixels."""
    names: tuple[str, ...]
    """Of the photo, or `VIDEO@SECONDS`."""
    people: tuple[str, ...]
    """Whose face it is; empty where nobody says."""
    heldout: tuple[bool, ...]
    """Whether the face is only ever used to measure."""
    dropped: dict[str, str]
    """Name of a photo or video -> why it is not used: `reason: details`."""

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.names)

    @property
    def identities(self) -> int:
        """How many people the faces are sorted into; 0 where they are not sorted."""
        return len(set(self.people) - {""})

    def indices(self, *, heldout: bool) -> list[int]:
        """Return the faces that are (not) held out."""
        return [i for i, held in enumerate(self.heldout) if held == heldout]

    def reasons(self) -> dict[str, int]:
        """Return how many files were dropped for which reason, the most frequent first."""
        counts = Counter(reason.partition(":")[0] for reason in self.dropped.values())
        return dict(counts.most_common())

    def face(self, index: int, *, mirrored: bool = False) -> tuple[Floats, Floats]:
        """Return one crop [S, S, 3] in [0, 1] and its landmarks [478, 3], perhaps mirrored."""
        image = self.crops[index].astype(np.float32) / 255.0
        points = np.array(self.landmarks[index], np.float32)
        if mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
            points = points[mesh.mirror()] * [-1, 1, 1] + [image.shape[1], 0, 0]
        return image, points.astype(np.float32)


def prepare(
    sources: list[Source],
    folder: Path,
    size: int,
    config: DataConfig,
    progress: OnProgress = lambda now: None,
    stop: ShouldStop = lambda: False,
    enlarger: RRDBNet | None = None,
) -> FaceSet:
    """Measure `sources`, keep the usable faces, and cache their crops in `folder`.

    Writes `crops.npy`, `landmarks.npy`, the page `report.html` and, last, `faces.json`, which also
    lists every file that was dropped and why. A finished cache is used again as it is: whoever
    changes files or settings has to give another folder.

    Every `config.holdout`-th file by sorted name, the first included, is held out, whether the
    files between are usable or not. A video is held out as a whole or not at all.

    `size` is the side of the crops, pixels. `progress` is told of every file, `stop` asked after
    every photo and often within a video; on `enlarger` see `data.enlarge`.

    Raises:
        ReferenceImageError: fewer than two usable faces, or all of one video.
        Cancelled: `stop` said so; nothing is kept.
    """
    if not (folder / INDEX).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _measure_all(sources, folder, size, config, progress, stop, enlarger)
    return load_faces(folder)


def load_faces(folder: Path) -> FaceSet:
    """Open a cache that `prepare` wrote."""
    listed = json.loads((folder / INDEX).read_text("utf-8"))
    return FaceSet(
        np.load(folder / "crops.npy", mmap_mode="r"),
        np.load(folder / "landmarks.npy", mmap_mode="r"),
        tuple(listed["names"]),
        tuple(listed["people"]),
        tuple(listed["heldout"]),
        listed["dropped"],
    )


def _measure_all(
    sources: list[Source],
    folder: Path,
    size: int,
    config: DataConfig,
    progress: OnProgress,
    stop: ShouldStop,
    enlarger: RRDBNet | None,
) -> None:
    # FaceLandmarker v2 is sure of a face behind a bar, too, the older mesh is not.
    finder = FaceFinder(min_presence=0.0, doubter=OlderMesh())
    videos = sum(source.is_video for source in sources)
    most = len(sources) - videos + config.video_frames * videos
    crops = np.lib.format.open_memmap(folder / "crops.npy", "w+", np.uint8, (most, size, size, 3))
    landmarks: list[Floats] = []
    findings = []
    for number, source in enumerate(sources):
        if stop():
            raise Cancelled(f"stopped after {number} of {len(sources)} files")
        held = number % config.holdout == 0
        finding, faces = examine(source, finder, size, config, held, stop, enlarger)
        for face in faces:
            crops[len(landmarks)] = face.crop
            landmarks.append(face.landmarks)
        findings.append(finding)
        progress(Progress("faces", number + 1, len(sources)))
    findings = _both_sides(findings)
    crops.flush()
    np.save(folder / "landmarks.npy", np.stack(landmarks))
    write_text(folder / PAGE, faces_page(findings, crops))
    listed = {
        "names": [name for finding in findings for name in finding.names],
        "people": [finding.person for finding in findings for _ in finding.names],
        "heldout": [finding.heldout for finding in findings for _ in finding.names],
        "dropped": {finding.source.name: finding.reason for finding in findings if finding.reason},
    }
    write_text(folder / INDEX, json.dumps(listed, indent=1))


def _both_sides(findings: list[Finding]) -> list[Finding]:
    """Return `findings` with something to train on and something held out, whatever was dropped.

    Raises:
        ReferenceImageError: that is not to be had.
    """
    used = [i for i, finding in enumerate(findings) if finding.names]
    if sum(len(finding.names) for finding in findings) < 2:
        reasons = "; ".join(f"{f.source.name}: {f.reason}" for f in findings[:5] if f.reason)
        raise ReferenceImageError(
            f"{len(used)} of {len(findings)} files have a usable face ({reasons or 'no others'})",
            hint="give at least two photos with one sharp face, seen from the front, or videos",
        )
    if len(used) == 1:
        raise ReferenceImageError(
            f"all usable faces are from {findings[used[0]].source.name}: none is left to measure"
            " on, and frames of one video must not be on both sides",
            hint="give a photo or another video beside it, or cut the video in two",
        )
    held = {i for i in used if findings[i].heldout} or {used[0]}
    if len(held) == len(used):
        held = {used[0]}
    return [replace(finding, heldout=i in held) for i, finding in enumerate(findings)]
