"""The second pass with a visible label: put on last, on every frame, and counted like the rest."""

from __future__ import annotations

from dataclasses import replace

from fapvideo.composite.planes import FrameCanvas, Stroke, changed_outside
from fapvideo.pipeline import SwappedBatch
from fapvideo.run.stretches import Painted
from fapvideo.structs import VideoFrame, VideoInfo
from fapvideo.trust.label import Label


class Labelled:
    """Puts a plate into every frame of a clip with targets; a `Finish` of `Stretches`.

    Into every frame, not only into those that were painted: whoever begins to look later, takes a
    still or cuts a piece out has to be told, too, and a plate that comes and goes with the swap
    would flicker. Whether there are targets is the plan's to say, so that every segment of a job
    has it or none. A clip in which nobody is to be swapped gets none: it would be untrue. A stream
    gets it when somebody is first swapped, and keeps it.
    """

    def __init__(self, label: Label, info: VideoInfo, *, record: bool = False) -> None:
        """Put `label` on frames; `record` adds it to the strokes that are kept."""
        self._label, self._info, self._record = label, info, record

    def __call__(self, painted: Painted, swapped: SwappedBatch) -> SwappedBatch:
        """Label."""
        if not painted[0][1].prepared.plan.swaps:
            return swapped
        frames, changed = [], 0
        for frame in swapped.frames:
            shown, beyond = self._put_on(frame)
            frames.append(shown)
            changed += beyond
        strokes = swapped.strokes
        if self._record:
            plate = Stroke(self._label.box, self._label.rgb, self._label.alpha)
            strokes = tuple((*before, plate) for before in swapped.strokes)
        changed += swapped.outside_changed
        return replace(swapped, frames=tuple(frames), outside_changed=changed, strokes=strokes)

    def _put_on(self, frame: VideoFrame) -> tuple[VideoFrame, int]:
        """Return the frame with the plate, and how many samples beyond the plate changed."""
        canvas, label = FrameCanvas(frame, self._info), self._label
        canvas.blend(label.rgb, label.alpha, label.box)
        shown = canvas.frame()
        declared = [(label.box, label.alpha)]
        return shown, changed_outside(frame, shown, self._info, declared)
