"""What the first pass hands to the second: targets and the plan that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fapvideo.mask.leftovers import Growth
from fapvideo.mask.occlusion import TrackOcclusion
from fapvideo.mask.open_set import TrackBoxes
from fapvideo.mask.policy import TrackPlan
from fapvideo.structs import Floats, Placement, Reference, Track


@dataclass(frozen=True, slots=True)
class Target:
    """One track that is swapped: with which references, and what happens to each of its frames."""

    track: Track
    references: Mapping[str, Sequence[Reference]]
    """Part -> its references, in the order of painting; what is swapped on this face."""
    frames: TrackPlan
    """What is done with each of the track's frames."""
    crop_size: int
    """Side of the full-resolution crop, pixels."""
    chosen: Mapping[str, Sequence[int]]
    """Part -> index of the reference to use, per frame of the track."""
    seed: int
    """Of the noise, together with the track's id."""
    boxes: TrackBoxes | None = None
    """What an open-set detector found; None where the masks are the mesh's alone."""
    strength: float = 1.0
    """Opacity in [0, 1], on top of what the policy allows."""
    occlusion: TrackOcclusion | None = None
    """What stands in front of the face; None where nobody looked."""
    growth: Growth | None = None
    """How far its own parts reach beyond their outlines; None where nobody looked."""
    strengths: Mapping[str, float] = field(default_factory=dict)
    """Part -> opacity in [0, 1] on top of `strength`, where it is not 1."""
    expression: Mapping[str, float] = field(default_factory=dict)
    """Part -> gain of the expression, where it is not that of `guide.expression`."""

    @property
    def parts(self) -> tuple[str, ...]:
        """What is swapped."""
        return tuple(self.references)

    def placement(self, frame: int) -> Placement | None:
        """Return where the face is in a frame of the clip; None where it is not painted."""
        i = frame - self.track.first_frame
        if not 0 <= i < len(self.track) or self.frames.weight[i] <= 0:
            return None
        source = int(self.frames.source[i])
        landmarks = np.asarray(self.track.landmarks[source], np.float32)
        weight, state = self.strength * float(self.frames.weight[i]), self.frames.state[i]
        return Placement(self.track.id, i, source, landmarks, weight, state)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the first pass found; the second pass paints from this alone."""

    times_s: NDArray[np.float64]
    """[N] presentation time of every frame."""
    cuts: tuple[int, ...]
    """First frames of the shots after the first one."""
    tracks: tuple[Track, ...]
    """Every face that was followed."""
    targets: tuple[Target, ...]
    """Those that are swapped."""
    warnings: tuple[str, ...] = ()
    people: Mapping[int, int] = field(default_factory=dict)
    """Track id -> the person's id, the lowest of their tracks'."""
    looks: Mapping[int, Floats] = field(default_factory=dict)
    """Track id -> what the face looks like, for `track.identity`; not of every track."""
    cast: Mapping[int, str] = field(default_factory=dict)
    """Track id -> the entry of `[[people]]` that means this person: `left 1`."""
    protected: Mapping[int, str] = field(default_factory=dict)
    """Track id -> whom of `trust.protected` it shows, who would have been swapped."""
    keys: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """[N] whether the input can be read from this frame on."""
    fingerprints: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    """[N] of every frame (`VideoFrame.fingerprint`)."""
    damaged: int = 0
    """Packets of the input that gave no frame."""
    faces: Mapping[int, Floats] = field(default_factory=dict)
    """Track id -> what `trust.recognition` makes of it, where somebody is protected."""
    rested: tuple[int, ...] = ()
    """Tracks that were nobody's, and not measured in every frame."""
    overlooked: Mapping[int, int] = field(default_factory=dict)
    """Frame -> faces seen in it that are not followed, being more than `track.max_faces`."""

    @property
    def frames(self) -> int:
        """How many frames the clip has."""
        return len(self.times_s)

    @property
    def swaps(self) -> bool:
        """Whether somebody is swapped: frames in which nobody is are labelled like the others."""
        return bool(self.targets)

    def placements(self, frame: int) -> list[tuple[Target, Placement]]:
        """Return the faces to be swapped in one frame."""
        places = ((target, target.placement(frame)) for target in self.targets)
        return [(target, place) for target, place in places if place is not None]
