"""Follows every face through a clip: the first of the two passes over the video.

Call `update` once per frame in order, then `tracks`. Landmarks are spooled to a scratch folder and
mapped, so a long clip costs disk and not memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from fapvideo.config.schema import TrackConfig
from fapvideo.ops import mesh
from fapvideo.ops.geometry import iou
from fapvideo.ops.pose import head_pose
from fapvideo.structs import NUM_LANDMARKS, Bytes, Face, Floats, Track
from fapvideo.track import smoother
from fapvideo.track.detector import FaceDetector
from fapvideo.track.landmarks import FaceMesh
from fapvideo.track.linker import associate

ROW = NUM_LANDMARKS * 3
NEUTRAL_SAMPLES = 400
LOST_AFTER = 12
"""Frames without a measurement after which a track ends."""


@dataclass(slots=True)
class _Open:
    """A track that may still grow."""

    id: int
    first_frame: int
    path: Path
    face: Face
    presence: list[float] = field(default_factory=list)
    missing: int = 0


class FaceTracker:
    """Finds faces, measures their meshes, links them over time and cuts tracks at scene cuts."""

    def __init__(self, config: TrackConfig, scratch: Path) -> None:
        """Use `config`; keep spooled landmarks in the existing folder `scratch`."""
        self.config = config
        self.cuts: list[int] = []
        self.measured = 0
        self._scratch = scratch
        self._detector = FaceDetector(config.detect_score)
        self._mesh = FaceMesh()
        self._open: list[_Open] = []
        self._closed: list[_Open] = []
        self._histogram: Floats | None = None
        self._next_id = 0
        self._frame = -1

    def update(self, rgb: Bytes) -> None:
        """Take the next frame, uint8 [H, W, 3]."""
        self._frame += 1
        if self._is_cut(rgb):
            self.cuts.append(self._frame)
            self._closed += self._open
            self._open = []
        lost = False
        for track in self._open:
            lost |= not self._append(track, self._mesh.from_landmarks(rgb, track.face.landmarks))
        self._drop_duplicates()
        due = self._frame % self.config.detect_every == 0
        cut = bool(self.cuts) and self.cuts[-1] == self._frame
        # Without any face there is time to look at every frame: one that comes back shows at once.
        if due or lost or cut or not self._open:
            self._detect(rgb, tiles=due or cut)
        for track in [t for t in self._open if t.missing > LOST_AFTER]:
            self._open.remove(track)
            self._closed.append(track)

    def seen(self) -> list[tuple[int, Face]]:
        """Return track ids and faces that were measured in the last frame."""
        return [(track.id, track.face) for track in self._open if not track.missing]

    def tracks(self, frame_rate: float) -> tuple[Track, ...]:
        """Return all tracks, smoothed, in the order they appeared.

        Tracks shorter than a tenth of a second are dropped: a face that brief is a misdetection.
        """
        self._closed += self._open
        self._open = []
        shortest = max(1, min(round(0.1 * frame_rate), (self._frame + 1) // 2))
        done = [self._finish(t, frame_rate) for t in sorted(self._closed, key=lambda t: t.id)]
        return tuple(track for track in done if track is not None and len(track) >= shortest)

    def _is_cut(self, rgb: Bytes) -> bool:
        """Compare the colour histogram with the frame before."""
        small = cv2.resize(rgb, (64, 64), interpolation=cv2.INTER_AREA)
        histogram = np.concatenate(
            [np.bincount(small[..., c].ravel() >> 4, minlength=16) for c in range(3)]
        ).astype(np.float32) / (3 * 64 * 64)
        before, self._histogram = self._histogram, histogram
        if before is None:
            return False
        return float(np.abs(histogram - before).sum()) / 2 > self.config.cut_threshold

    def _append(self, track: _Open, face: Face) -> bool:
        """Add one measurement if it is trustworthy; return whether it was."""
        size = float(min(face.box[2:] - face.box[:2]))
        good = face.presence >= self.config.presence and size >= self.config.min_face_px / 2
        if good:
            track.face = face
            track.missing = 0
        else:
            track.missing += 1
        self.measured += good
        track.presence.append(face.presence if good else 0.0)
        with track.path.open("ab") as file:
            file.write(np.ascontiguousarray(track.face.landmarks, np.float32).tobytes())
        return good

    def _replace_last(self, track: _Open, face: Face) -> None:
        """Put a fresh measurement in place of this frame's missing one."""
        with track.path.open("r+b") as file:
            file.seek(-ROW * 4, 2)
            file.write(np.ascontiguousarray(face.landmarks, np.float32).tobytes())
        track.face, track.missing = face, 0
        track.presence[-1] = face.presence
        self.measured += 1

    def _detect(self, rgb: Bytes, *, tiles: bool) -> None:
        """Look for faces; revive lost tracks, start new ones."""
        boxes, _, points = self._detector(rgb, tiles=tiles)
        known = np.array([t.face.box for t in self._open], np.float32).reshape(-1, 4)
        pairs = associate(known, boxes)
        for i, j in pairs:
            track = self._open[i]
            if track.missing:
                face = self._mesh.from_box(rgb, boxes[j], points[j])
                if face.presence >= self.config.presence:
                    self._replace_last(track, face)
        for j in sorted(set(range(len(boxes))) - {j for _, j in pairs}):
            if len(self._open) < self.config.max_faces:
                self._start(self._mesh.from_box(rgb, boxes[j], points[j]))
        self._drop_duplicates()

    def _start(self, face: Face) -> None:
        """Begin a track with `face` if it is one."""
        size = float(min(face.box[2:] - face.box[:2]))
        if face.presence < self.config.presence or size < self.config.min_face_px:
            return
        path = self._scratch / f"track{self._next_id}.f32"
        path.write_bytes(b"")
        track = _Open(self._next_id, self._frame, path, face)
        self._next_id += 1
        self._append(track, face)
        self._open.append(track)

    def _drop_duplicates(self) -> None:
        """End the younger of two tracks that have slid onto the same face.

        What it measured last was the other's face, and does not count.
        """
        live = [t for t in self._open if not t.missing]
        boxes = np.array([t.face.box for t in live], np.float32).reshape(-1, 4)
        same = iou(boxes, boxes) > 0.6
        for i in range(len(live)):
            for j in range(i + 1, len(live)):
                if same[i, j] and live[j] in self._open:
                    live[j].presence[-1] = 0.0
                    self._open.remove(live[j])
                    self._closed.append(live[j])

    def _finish(self, track: _Open, frame_rate: float) -> Track | None:
        """Trim, fill, measure and smooth one track."""
        presence = np.array(track.presence, np.float32)
        seen = np.nonzero(presence > 0)[0]
        if not len(seen):
            return None
        count = int(seen[-1]) + 1
        presence = presence[:count]
        raw = np.memmap(track.path, np.float32, "r+", shape=(count, NUM_LANDMARKS, 3))
        smoother.fill_gaps(raw, presence > 0)
        path = track.path.with_suffix(".smooth.f32")
        out = np.memmap(path, np.float32, "w+", shape=(count, NUM_LANDMARKS, 3))
        smoother.smooth_into(raw, out, round(self.config.smooth_s * frame_rate))
        return Track(
            track.id, track.first_frame, out, presence, smoother.jumps(raw), _neutral(out, presence)
        )


def _neutral(landmarks: Floats, presence: Floats) -> Floats:
    """Return [478, 3] the median shape in the head frame over (a sample of) the track."""
    seen = np.nonzero(presence > 0)[0]
    chosen = seen[np.linspace(0, len(seen) - 1, min(len(seen), NEUTRAL_SAMPLES)).astype(int)]
    heads = [head_pose(landmarks[i]).to_head(landmarks[i]) for i in chosen]
    return np.median(heads, axis=0).astype(np.float32)


def select(tracks: tuple[Track, ...], rule: str) -> tuple[Track, ...]:
    """Return the tracks that `TrackConfig.faces` asks for.

    `largest` takes, among faces seen at the same time, the one with the largest area over time.
    """
    if rule == "all":
        return tracks
    kind, _, number = rule.partition(":")
    if kind == "id":
        return tuple(t for t in tracks if t.id == int(number))
    if kind == "left":
        return tuple(t for t in tracks if _rank_from_left(t, tracks) == int(number))
    chosen: list[Track] = []
    for track in sorted(tracks, key=area, reverse=True):
        if all(
            t.first_frame > track.last_frame or t.last_frame < track.first_frame for t in chosen
        ):
            chosen.append(track)
    return tuple(sorted(chosen, key=lambda t: t.id))


def area(track: Track) -> float:
    """Return the squared inter-ocular distance summed over (a sample of) the track's frames."""
    step = max(1, len(track) // 50)
    sizes = [mesh.interocular(shape) ** 2 for shape in track.landmarks[::step]]
    return float(np.mean([size for size in sizes if np.isfinite(size)] or [0.0])) * len(track)


def _rank_from_left(track: Track, tracks: tuple[Track, ...]) -> int:
    """Return 1 for the leftmost of the faces that are there when `track` first appears."""

    def x_of(other: Track) -> float:
        return float(other.landmarks[track.first_frame - other.first_frame, :468, 0].mean())

    frame = track.first_frame
    # Faces of the same shot are found within one search interval of each other.
    beside = [t for t in tracks if t.first_frame <= frame <= t.last_frame]
    return 1 + sum(x_of(other) < x_of(track) for other in beside)
