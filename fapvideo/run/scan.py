"""Looking through a clip before it is rendered: where it will be hard, why, and what may help.

A few looks a second instead of every frame: that costs about a tenth of a render, and finds
what lasts longer than the time from one look to the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fapvideo.config.schema import RunPreset
from fapvideo.ops.files import scratch_folder
from fapvideo.ops.prefetch import prefetch
from fapvideo.plan.decide import decide
from fapvideo.plan.follow import follow
from fapvideo.plan.people import CastReader
from fapvideo.plan.targets import Plan, Target
from fapvideo.run.advice import Advice, advise, spans_toml
from fapvideo.run.difficulties import DIFFICULTIES, LASTING, Spotter, difficulties
from fapvideo.run.sources import Source
from fapvideo.structs import REASONS, FrameBatch, VideoInfo

LOOKS_PER_S = 4.0
"""Looks at a second of video, or every frame where there are fewer."""
DETECT_EVERY = 5
"""Looks between searches for faces that are not followed yet: they are noticed within a second."""
CROP = 64
"""Any size of crops does: none is made."""
BATCH = 8

Hard = Mapping[int, set[str]]
"""Look -> codes of one track, empty where nothing is hard."""


@dataclass(frozen=True, slots=True)
class HardSpan:
    """A stretch of time in which somebody who is to be swapped is hard to swap."""

    start_s: float
    end_s: float
    track: int
    person: int
    codes: Mapping[str, int]
    """Code of `REASONS` or `DIFFICULTIES` -> at how many looks; the most frequent first."""
    advice: Advice

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "start_s": self.start_s,
            "end_s": self.end_s,
            "track": self.track,
            "person": self.person,
            "codes": dict(self.codes),
            "settings": dict(self.advice.tables),
            "set": self.advice.key,
            "why": self.advice.words,
            "toml": spans_toml([(self.start_s, self.end_s, self.advice.tables)]),
        }


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found."""

    info: VideoInfo
    looks: int
    every: int
    """Frames from one look to the next."""
    faces: int
    """Tracks that are to be swapped."""
    cuts_s: tuple[float, ...]
    spans: tuple[HardSpan, ...]
    """In time."""
    warnings: tuple[str, ...]
    step_s: float
    """From one look to the next: nothing is known more precisely than that."""
    taken: tuple[tuple[float, float], ...] = ()
    """Stretches that the preset has spans for."""

    def toml(self) -> str:
        """Return all suggestions as `[[spans]]` that do not overlap each other or the preset's."""
        rows = [(span.start_s, span.end_s, span.advice.tables) for span in self.spans]
        return spans_toml(rows, self.taken)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "input": str(self.info.path),
            "duration_s": round(self.info.duration_s, 3),
            "looks": self.looks,
            "every": self.every,
            "precision_s": round(self.step_s, 3),
            "faces": self.faces,
            "cuts_s": list(self.cuts_s),
            "spans": [span.to_dict() for span in self.spans],
            "toml": self.toml(),
            "warnings": list(self.warnings),
        }


def stride(source: Source) -> int:
    """Return how many frames it is from one look at a clip to the next."""
    return max(1, round(float(source.info.frame_rate) / LOOKS_PER_S))


def scan(
    source: Source, preset: RunPreset, advance: Callable[[int], None] = lambda looks: None
) -> Scan:
    """Look through a clip; nothing is painted, and no weights are loaded.

    Args:
        source: the clip.
        preset: whose faces are looked at, and which limits hold.
        advance: called with the number of looks done.

    Raises:
        VideoReadError: the video cannot be read.
        ReferenceImageError: a photo of `[[people]]` without a usable face.
    """
    every = stride(source)
    config = preset.track.model_copy(update={"detect_every": DETECT_EVERY})
    cast, spotter = CastReader().bystanders(preset), Spotter()
    photos = any(role.looks is not None for role in cast)
    batches = prefetch(_thinned(source.batches(BATCH), every), preset.video.prefetch_batches)
    with scratch_folder() as scratch:
        plan = follow(
            batches,
            source.info,
            config,
            scratch,
            advance,
            look=spotter,
            identify_single=photos,
        )
        plan = decide(plan, preset, cast, CROP)
        targets = [target for target in plan.targets if _counts(target, plan)]
        step_s = every / float(source.info.frame_rate)
        found = [
            span for target in targets for span in _spans(target, plan, spotter, preset, step_s)
        ]
    warnings = list(plan.warnings)
    if not plan.tracks:
        warnings.append("no face was found at any look")
    elif not targets and not plan.warnings:
        warnings.append("no face matches track.faces")
    return Scan(
        source.info,
        plan.frames,
        every,
        len(targets),
        tuple(round(float(plan.times_s[cut]), 3) for cut in plan.cuts),
        tuple(sorted(found, key=lambda span: (span.start_s, span.track))),
        tuple(warnings),
        step_s,
        tuple((span.from_s, span.to_s) for span in preset.spans),
    )


def _thinned(batches: Iterator[FrameBatch], every: int) -> Iterator[FrameBatch]:
    """Keep every n-th frame; pictures of the others are never made."""
    for batch in batches:
        kept = [i for i, frame in enumerate(batch.frames) if frame.index % every == 0]
        if kept:
            frames = tuple(batch.frames[i] for i in kept)
            thin = FrameBatch(frames, batch.time_base, tuple(batch.views[i] for i in kept))
            _ = thin.rgb  # here, in the thread that decodes
            yield thin


def _counts(target: Target, plan: Plan) -> bool:
    """Tell whether a track is somebody: what is seen at one look only may be no face at all."""
    person = plan.people.get(target.track.id, target.track.id)
    known = sum(len(t) for t in plan.tracks if plan.people.get(t.id, t.id) == person)
    return known > 1 or plan.frames < 3


def _spans(
    target: Target, plan: Plan, spotter: Spotter, preset: RunPreset, step_s: float
) -> list[HardSpan]:
    """Return the hard stretches of one track."""
    track = target.track
    spots = {
        look: spot
        for look, spot in spotter.spots.get(track.id, {}).items()
        if track.first_frame <= look <= track.last_frame
    }
    hard = difficulties(spots, plan.times_s, preset.mask)
    for i, reason in enumerate(target.frames.reason):
        codes = hard.setdefault(track.first_frame + i, set())
        if reason not in ("", "beside"):  # what is beside is there because of its neighbours
            codes.add(reason)
    for look in _absent(target, plan):
        hard[look] = {"not_measured"}
    found = []
    for codes in [{code} for code in LASTING] + [{*REASONS, *DIFFICULTIES}.difference(LASTING)]:
        for looks in _stretches({look: hard[look] & codes for look in sorted(hard)}):
            count = Counter(code for look in looks for code in sorted(hard[look] & codes))
            start = max(0.0, float(plan.times_s[looks[0]]) - step_s / 2)
            end = float(plan.times_s[looks[-1]]) + step_s / 2
            person = plan.people.get(track.id, track.id)
            counted = dict(count.most_common())
            advice = advise(counted, end - start, preset)
            times = round(start, 3), round(end, 3)
            found.append(HardSpan(*times, track.id, person, counted, advice))
    return found


def _absent(target: Target, plan: Plan) -> range:
    """Return the looks from a track's end to where the same person is back in the same shot."""
    track = target.track
    person = plan.people.get(track.id, track.id)
    later = [
        other.first_frame
        for other in plan.tracks
        if plan.people.get(other.id, other.id) == person and other.first_frame > track.last_frame
    ]
    back = min(later, default=track.last_frame + 1)
    cut = any(track.last_frame < at <= back for at in plan.cuts)
    return range(track.last_frame + 1, track.last_frame + 1 if cut else back)


def _stretches(hard: Hard) -> list[list[int]]:
    """Return runs of looks with codes; one look without any does not divide them."""
    runs: list[list[int]] = []
    for look, codes in hard.items():
        if codes and runs and look - runs[-1][-1] <= 2:
            runs[-1].append(look)
        elif codes:
            runs.append([look])
    return runs


def in_words(codes: Sequence[str] | Mapping[str, int]) -> str:
    """Return `moves fast, turned too far to the side`."""
    return ", ".join({**REASONS, **DIFFICULTIES}[code] for code in codes)
