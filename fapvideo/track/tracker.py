"""Follows every face through a clip: the first of the two passes over the video.

Call `update` once per frame in order, then `tracks`. Landmarks are spooled to a scratch folder and
mapped, so a long clip costs disk and not memory. For a stream without an end, `newest` after every
`update` takes what was measured out of the tracker, which then keeps nothing.

A measurement counts if something independent agrees: the mesh is placed by the frame before, and
when a head moves fast it can slide off the face and still look sure of itself. So the detector
looks at the same place, too, and its eyes, nose and mouth have to be the mesh's. What disagrees is
measured anew from what the detector sees about there; what still disagrees is not measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from fapvideo.config.schema import TrackConfig
from fapvideo.ops import mesh
from fapvideo.ops.geometry import box_areas, iou
from fapvideo.ops.memory import release
from fapvideo.ops.pose import head_pose
from fapvideo.ops.scratch import LastRow, Rows, mapped_file
from fapvideo.structs import NUM_LANDMARKS, Bytes, Face, Floats, Track
from fapvideo.track import smoother
from fapvideo.track.detector import FaceDetector, fine_windows
from fapvideo.track.landmarks import FaceMesh, upright_square
from fapvideo.track.linker import associate

SHAPE = (NUM_LANDMARKS, 3)
NEUTRAL_SAMPLES = 400
LOST_AFTER_S = 0.5
"""Time without a measurement after which a track ends."""
NEAR, WIDE = 2.5, 3.5
"""Sides of the squares in which the detector looks for a followed face, in the face's sides: to
ask whether it is there, and to find where it has gone."""
AGREE = 0.2
"""Distance of the detector's points from the mesh's up to which they agree, in the head's scale:
0.05 to 0.15 on faces, 0.25 to 1.1 where the mesh has slid off."""
ALONE = 0.95
"""Presence from which the mesh counts where the detector sees nothing at all: in profile, covered,
blurred."""

REST_S = 0.2
"""Time after which a face that rests is measured again: nobody moves out of sight by then."""
NOSE_TIP = 4
FINE_ROUND = 24
"""Frames in which all places are searched for small faces once."""

MEASURED, NOT_MEASURED, DISAGREES, TOO_SMALL = "", "not_measured", "disagrees", "too_small"
"""What can be said of a track's frame; see `structs.REASONS`."""
RESTED = "rested"
"""Nobody looked; such frames are between measured ones, and count as measured in the end."""


@dataclass(slots=True)
class _Open:
    """A track that may still grow."""

    id: int
    first_frame: int
    rows: Rows | LastRow
    """Its landmarks."""
    face: Face
    presence: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seen_s: float = 0.0
    """When it was measured last."""

    @property
    def missing(self) -> bool:
        """Whether the last frame could not be measured."""
        return bool(self.faults) and self.faults[-1] not in (MEASURED, RESTED)


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one track in one frame."""

    track_id: int
    landmarks: Floats
    """[478, 3] raw; where it was measured last if it was not here."""
    presence: float
    """0 where it was not measured."""
    fault: str
    """Why not, a code of `structs.REASONS`; empty where it was."""


def scratch_bytes(frames: int) -> int:
    """Return how much scratch a face takes that is there in so many frames: raw and smoothed."""
    return 2 * 4 * NUM_LANDMARKS * 3 * frames


class FaceTracker:
    """Finds faces, measures their meshes, links them over time and cuts tracks at scene cuts."""

    def __init__(
        self, config: TrackConfig, scratch: Path | None, mesh: FaceMesh | None = None
    ) -> None:
        """Use `config`; keep spooled landmarks in the existing folder `scratch`.

        Without a folder only the newest frame is kept, for `newest`. `mesh` is what measures, if it
        is to be another one than `FaceMesh`.
        """
        self.config = config
        self.cuts: list[int] = []
        self.measured = 0
        self.resting: set[int] = set()
        """Ids of tracks that are nobody's: they are measured every REST_S seconds, and faces that
        are waiting take their places among `max_faces`."""
        self.overlooked: dict[int, int] = {}
        """Frame -> faces seen in it that are not followed, being more than `max_faces`."""
        self._scratch = scratch
        self._detector = FaceDetector(config.detect_score)
        self._mesh = mesh or FaceMesh()
        self._open: list[_Open] = []
        self._closed: list[_Open] = []
        self._histogram: Floats | None = None
        self._next_id = 0
        self._times: list[float] = []
        self._frame = -1
        """Index of the newest frame."""

    def update(self, rgb: Bytes, time_s: float) -> None:
        """Take the next frame, uint8 [H, W, 3], shown at `time_s`."""
        self._times.append(time_s)
        self._frame += 1
        if self._is_cut(rgb):
            self.cuts.append(self._frame)
            self._closed += self._open
            self._open = []
        lost = False
        for track in self._open:
            rests = track.id in self.resting and not track.missing
            if rests and time_s - track.seen_s < REST_S:
                self._append(track, track.face, RESTED)
                continue
            face, fault = self._follow(rgb, track.face.landmarks)
            self._append(track, face, fault)
            lost |= track.missing
        self._drop_duplicates()
        waiting = self._frame - 1 in self.overlooked and self._room() > 0
        due = waiting or self._frame % self.config.detect_every == 0
        cut = bool(self.cuts) and self.cuts[-1] == self._frame
        # Without any face there is time to look at every frame: one that comes back shows at once.
        if due or lost or cut or not self._open:
            self._detect(rgb, tiles=due or cut, all_small=cut or not self._frame)
        else:
            self._detect_small(rgb)
        for track in [t for t in self._open if time_s - t.seen_s > LOST_AFTER_S]:
            self._open.remove(track)
            self._closed.append(track)

    def seen(self) -> list[tuple[int, Face]]:
        """Return track ids and faces that were measured in the last frame."""
        return [(track.id, track.face) for track in self._open if track.faults[-1] == MEASURED]

    def newest(self) -> tuple[bool, list[Measured]]:
        """Return whether the last frame begins a shot, and what became of every track in it.

        A track that is missing has ended. What came before is forgotten.
        """
        begins = bool(self.cuts) and self.cuts[-1] == self._frame
        self._closed.clear()
        del self._times[:-1], self.cuts[:-1]
        self.overlooked.clear()
        for track in self._open:
            del track.presence[:-1], track.faults[:-1]
        return begins, [
            Measured(track.id, track.face.landmarks, track.presence[-1], track.faults[-1])
            for track in self._open
        ]

    def tracks(self) -> tuple[Track, ...]:
        """Return all tracks, smoothed, in the order they appeared.

        Tracks shorter than a tenth of a second are dropped: a face that brief is a misdetection.
        """
        self._closed += self._open
        self._open = []
        times = np.array(self._times, np.float64)
        shortest = shortest_track(times, len(times))
        done = [self._finish(t, times) for t in sorted(self._closed, key=lambda t: t.id)]
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

    # ------------------------------------------------------------------------ measuring

    def _follow(self, rgb: Bytes, landmarks: Floats) -> tuple[Face, str]:
        """Measure the face that was at `landmarks` in the frame before; say what is wrong with it.

        Measured at its old place, and if that is not convincing from what the detector sees there.
        """
        face = self._mesh.from_landmarks(rgb, landmarks)
        fault = self._fault(rgb, face)
        if fault in (MEASURED, TOO_SMALL):
            return face, fault
        centre, direction, side = upright_square(landmarks)
        seen = self._detector.near(rgb, centre, WIDE * side, direction)
        if seen is None:
            return face, fault
        again = self._mesh.from_box(rgb, seen[0], seen[2])
        if not 0.5 < mesh.interocular(again.landmarks) / mesh.interocular(landmarks) < 2.0:
            return face, fault
        return again, self._fault(rgb, again)

    def _fault(self, rgb: Bytes, face: Face) -> str:
        """Return what speaks against a measurement; empty where nothing does."""
        if face.presence < self.config.presence:
            return NOT_MEASURED
        if min(face.box[2:] - face.box[:2]) < self.config.min_face_px / 2:
            return TOO_SMALL
        centre, direction, side = upright_square(face.landmarks)
        seen = self._detector.near(rgb, centre, NEAR * side, direction)
        if seen is None:
            return MEASURED if face.presence >= ALONE else NOT_MEASURED
        return MEASURED if disagreement(face.landmarks, seen[2]) <= AGREE else DISAGREES

    def _append(self, track: _Open, face: Face, fault: str) -> None:
        """Add one frame to a track; a measurement with a fault leaves the face where it was."""
        track.presence.append(face.presence if fault == RESTED else 0.0)
        track.faults.append(fault)
        track.rows.append(track.face.landmarks)
        if fault == MEASURED:
            self._measure_last(track, face)

    def _measure_last(self, track: _Open, face: Face) -> None:
        """Put a measurement in place of the newest frame's missing one."""
        track.rows.replace_last(face.landmarks)
        track.face, track.seen_s = face, self._times[-1]
        track.presence[-1], track.faults[-1] = face.presence, MEASURED
        self.measured += 1

    # -------------------------------------------------------------------------- finding

    def _detect(self, rgb: Bytes, *, tiles: bool, all_small: bool) -> None:
        """Look for faces; revive lost tracks, start new ones."""
        fine = fine_windows(rgb.shape[1], rgb.shape[0]) if all_small else ()
        boxes, _, points = self._detector(rgb, tiles=tiles, fine=fine)
        self._take(rgb, boxes, points)

    def _detect_small(self, rgb: Bytes) -> None:
        """Look for small faces in a few places, others in every frame."""
        windows = fine_windows(rgb.shape[1], rgb.shape[0])[self._frame % FINE_ROUND :: FINE_ROUND]
        if windows:
            boxes, _, points = self._detector.among(rgb, windows)
            self._take(rgb, boxes, points)

    def _take(self, rgb: Bytes, boxes: Floats, points: Floats) -> None:
        """Revive lost tracks with what was found, and start new ones."""
        known = np.array([t.face.box for t in self._open], np.float32).reshape(-1, 4)
        pairs = associate(known, boxes)
        for i, j in pairs:
            track = self._open[i]
            if track.missing:
                face = self._mesh.from_box(rgb, boxes[j], points[j])
                if self._fault(rgb, face) == MEASURED:
                    self._measure_last(track, face)
        new = sorted(set(range(len(boxes))) - {j for _, j in pairs})
        if len(new) > self._room():  # a crowd: the largest are followed
            new.sort(key=lambda j: -float(box_areas(boxes[[j]])[0]))
        more = 0
        for j in new:
            if self._room() > 0:
                self._start(rgb, self._mesh.from_box(rgb, boxes[j], points[j]))
            else:
                more += self._large(boxes[j])
        if more:
            self.overlooked[self._frame] = max(more, self.overlooked.get(self._frame, 0))
        self._drop_duplicates()

    def _room(self) -> int:
        """Return how many more faces may be followed."""
        return self.config.max_faces - sum(t.id not in self.resting for t in self._open)

    def _large(self, box: Floats) -> bool:
        """Tell whether a face with this box is large enough to be followed."""
        return float(min(box[2:] - box[:2])) >= self.config.min_face_px

    def _start(self, rgb: Bytes, face: Face) -> None:
        """Begin a track with `face` if it is one."""
        if not self._large(face.box) or self._fault(rgb, face) != MEASURED:
            return
        rows: Rows | LastRow = LastRow()
        if self._scratch is not None:
            rows = Rows(self._scratch / f"track{self._next_id}.f32", SHAPE)
        track = _Open(self._next_id, self._frame, rows, face)
        self._next_id += 1
        self._append(track, face, MEASURED)
        self._open.append(track)

    def _drop_duplicates(self) -> None:
        """End the younger of two tracks that have slid onto the same face.

        What it measured last was the other's face, and does not count.
        """
        live = [t for t in self._open if t.faults[-1] == MEASURED]
        boxes = np.array([t.face.box for t in live], np.float32).reshape(-1, 4)
        same = iou(boxes, boxes) > 0.6
        for i in range(len(live)):
            for j in range(i + 1, len(live)):
                if same[i, j] and live[j] in self._open:
                    live[j].presence[-1], live[j].faults[-1] = 0.0, DISAGREES
                    self._open.remove(live[j])
                    self._closed.append(live[j])

    def _finish(self, track: _Open, times_s: smoother.Times) -> Track | None:
        """Trim, fill, measure and smooth one track."""
        presence = np.array(track.presence, np.float32)
        looked = np.array([fault != RESTED for fault in track.faults])
        seen = np.nonzero(presence > 0)[0]
        if not len(seen):
            return None
        count = int(seen[-1]) + 1
        presence, looked = presence[:count], looked[:count]
        faults = tuple(MEASURED if code == RESTED else code for code in track.faults[:count])
        times_s = times_s[track.first_frame : track.first_frame + count]
        if isinstance(track.rows, LastRow):
            raise ValueError("a tracker without a folder keeps no tracks")
        raw = track.rows.mapped(count)
        smoother.fill_gaps(raw, (presence > 0) & looked, times_s)
        path = track.rows.path.with_suffix(".smooth.f32")
        out = mapped_file(path, (count, *SHAPE))
        smoother.smooth_into(raw, out, times_s, self.config.smooth_s)
        jump, neutral = smoother.jumps(raw), _neutral(out, presence)
        release(out)
        del raw  # some systems keep a file that is mapped
        track.rows.path.unlink()
        return Track(track.id, track.first_frame, out, presence, jump, neutral, faults)


def shortest_track(times_s: smoother.Times, frames: int) -> int:
    """Return how many frames a track has at least, in a clip of `frames`, some of their times."""
    step = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
    return max(1, min(round(0.1 / max(step, 1e-6)), frames // 2))


def disagreement(landmarks: Floats, keypoints: Floats) -> float:
    """Return how far a detector's eyes, nose tip and mouth lie from a mesh's.

    Args:
        landmarks: [478, 3].
        keypoints: [6, 2] of `FaceDetector`.

    Returns:
        The median of the four distances, in the head's scale (its inter-ocular distance as if it
        were seen from the front).
    """
    mouth = landmarks[list(mesh.LIPS_INNER), :2].mean(axis=0)
    points = np.stack([*mesh.eye_centres(landmarks[:, :2]), landmarks[NOSE_TIP, :2], mouth])
    away = np.linalg.norm(points - keypoints[:4], axis=-1)
    return float(np.median(away)) / max(head_pose(landmarks).scale, 1e-3)


def _neutral(landmarks: Floats, presence: Floats) -> Floats:
    """Return [478, 3] the median shape in the head frame over (a sample of) the track."""
    seen = np.nonzero(presence > 0)[0]
    chosen = seen[np.linspace(0, len(seen) - 1, min(len(seen), NEUTRAL_SAMPLES)).astype(int)]
    heads = []
    for number, i in enumerate(chosen):
        heads.append(head_pose(landmarks[i]).to_head(landmarks[i]))
        if number % 16 == 0:  # the system maps the pages around those, too
            release(landmarks)
    return np.median(heads, axis=0).astype(np.float32)
