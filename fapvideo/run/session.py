"""A stream of frames, swapped while it comes: the whole program within a window that moves along.

    with VideoSwapper.from_preset("brand_avatar") as swapper:
        session = swapper.session(stream_info(1280, 720, 25))
        for frame in camera:
            for finished in session.push(frame):
                show(finished)
        for finished in session.flush():
            show(finished)

A frame comes out once those up to `lookahead_s` after it were seen, a batch at a time.
What comes out is frames, not a file: nothing can be signed or tagged here. Whoever makes a file of
them has to say that it was changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, TypeVar

import numpy as np

from fapvideo.composite.planes import displayed
from fapvideo.errors import VideoReadError
from fapvideo.ops.image import picture_fault
from fapvideo.ops.yuv import plane_layout
from fapvideo.plan.moving import MovingPlan
from fapvideo.plan.people import Cast
from fapvideo.run.engine import Engine
from fapvideo.run.sources import frame_of_picture
from fapvideo.run.stretches import Stretches
from fapvideo.run.tally import Tally
from fapvideo.structs import Bytes, FrameBatch, VideoFrame, VideoInfo
from fapvideo.video import handed
from fapvideo.video.stream import stream_info

LONGEST_S = 60.0
"""Of a lookahead; the frames of so long are kept in memory."""
SHORT_S = 0.25
"""A lookahead under this is warned about: parts that are covered go and come in less than it."""
UNSIGNED = (
    "frames of a stream cannot be signed, nor say that they were changed with AI: whoever makes a"
    " file of them has to say so"
)
Frame = TypeVar("Frame")
"""uint8 RGB [H, W, 3], `av.VideoFrame`, or `structs.VideoFrame`."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A frame that was taken and not given back yet."""

    given: Any
    frame: VideoFrame
    view: Callable[[], Bytes]


class Session:
    """Takes the frames of one stream in order, and gives them back swapped."""

    def __init__(
        self,
        engine: Engine,
        cast: tuple[Cast, Sequence[str]],
        info: VideoInfo,
        lookahead_s: float,
        in_use: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Begin before the first frame.

        Args:
            engine: paints.
            cast: who gets which references, and warnings about those.
            info: of the stream.
            lookahead_s: seconds between the newest frame and one that comes out.
            in_use: holds the networks for one call.

        Raises:
            VideoReadError: a lookahead that is none.
            ConsentError, WeightsError: something forbids it.
        """
        if not 0.0 <= lookahead_s <= LONGEST_S:
            raise VideoReadError(
                f"lookahead_s is {lookahead_s}", hint=f"give 0 to {LONGEST_S:g} seconds"
            )
        _check_anonymity(engine.preset.anonymize.distance, lookahead_s)
        engine.check(cast[0], info)
        self.info, self.lookahead_s = info, lookahead_s
        self._engine, self._cast, self._in_use = engine, cast[0], in_use
        self._batch = engine.batch(info)
        self._waiting: deque[_Waiting] = deque()
        self._count = 0
        self._start: Fraction | None = None
        self._last: Fraction | None = None
        self._kind: type | None = None
        self._moving: MovingPlan | None = None
        self._pipeline: Stretches | None = None
        self._tally = Tally()
        self.warnings: list[str] = [UNSIGNED, *_shortened(engine, lookahead_s), *cast[1]]
        """What should be known of the stream."""

    def push(self, frame: Frame, time_s: float | None = None) -> list[Frame]:
        """Take the next frame; return those that are finished by now, oldest first.

        Args:
            frame: uint8 RGB [H, W, 3], or an `av.VideoFrame` as decoded; all of one kind and size.
                It is not changed, and must not be until it has come back.
            time_s: when it is shown; by default what the frame says, or one frame after the last.

        Returns the same kind. A frame in which nothing was painted is the very same object.

        Raises:
            VideoReadError: a frame of another kind or size, or from before the last one.
            FapVideoError: one of its kinds.
        """
        with self._in_use():
            waiting = self._take(frame, time_s)
            assert self._moving is not None
            self._moving.see(waiting.view(), waiting.frame.time_s)
            self._waiting.append(waiting)
            due_s = waiting.frame.time_s - self.lookahead_s + 1e-6
            due = sum(one.frame.time_s <= due_s for one in self._waiting)
            return self._finish(due) if due >= self._batch else []

    def flush(self) -> list[Any]:
        """Return all frames that are still waiting: the stream has ended. Others may follow."""
        with self._in_use():
            done: list[Any] = []
            while self._waiting:
                done += self._finish(min(self._batch, len(self._waiting)))
            return done

    def stream(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield all frames of a stream, swapped, as they are finished."""
        for frame in frames:
            yield from self.push(frame)
        yield from self.flush()

    def report(self) -> dict[str, Any]:
        """Return what became of the frames so far, as plain JSON types."""
        report = self._tally.describe()
        report["warnings"] = [*self.warnings, *self._nobody(), *self._engine.told()]
        report["lookahead_s"] = self.lookahead_s
        return report

    # ------------------------------------------------------------------------ inside

    def _take(self, given: Any, time_s: float | None) -> _Waiting:
        if self._kind is None:
            self._begin(given)
        elif type(given) is not self._kind:
            raise VideoReadError(
                f"frame {self._count}: {type(given).__name__} after {self._kind.__name__}"
            )
        number = self._count
        if not handed.is_av_frame(given) and not isinstance(given, VideoFrame):
            fault = picture_fault(given)
            if fault:
                raise VideoReadError(f"frame {number}: {fault}", hint=_KINDS)
        width, height = _size_of(given)
        if (width, height) != (self.info.width, self.info.height):
            raise VideoReadError(
                f"frame {number}: {width}x{height} in a stream of"
                f" {self.info.width}x{self.info.height}"
            )
        if isinstance(given, VideoFrame) and given.index != number:
            raise VideoReadError(f"frame {given.index} where frame {number} is next")
        shown_s = self._time_of(given, time_s)
        self._count += 1
        if isinstance(given, VideoFrame):
            frame = replace(given, time_s=shown_s)
        elif handed.is_av_frame(given):
            frame = handed.taken(given, number, shown_s)
        else:
            frame = frame_of_picture(given, number, shown_s)
            return _Waiting(given, frame, lambda: given)
        return _Waiting(given, frame, partial(displayed, frame, self.info))

    def _begin(self, given: Any) -> None:
        """Know by the first frame what kind they are."""
        if handed.is_av_frame(given):
            handed.check_supported(given)
        elif isinstance(given, VideoFrame):
            plane_layout(given.pixel_format)
        else:
            fault = picture_fault(given)
            if fault:
                raise VideoReadError(f"frame 0: {fault}", hint=_KINDS)
            # Pictures are as displayed, whatever the file is like that they come from.
            width, height = self.info.display_size
            self.info = stream_info(width, height, self.info.frame_rate)
        self._kind = type(given)
        painter = self._engine.painter
        self._pipeline = self._engine.pipeline(self.info)
        self._moving = MovingPlan(
            self._engine.preset,
            self._cast,
            self._engine.boxes,
            painter.resolution,
            painter.searched,
            self.info,
            self.lookahead_s,
            self._engine.recognise(),
        )

    def _time_of(self, given: Any, time_s: float | None) -> float:
        """Return the time of a frame, seconds from the first one."""
        own: Fraction | None = None if time_s is None else Fraction(time_s)
        if own is None and isinstance(given, VideoFrame):
            own = Fraction(given.time_s)
        elif own is None and handed.is_av_frame(given):
            own = handed.time_of(given)
        if own is None:
            own = Fraction(0) if self._last is None else self._last + 1 / self.info.frame_rate
        if self._last is not None and own <= self._last:
            raise VideoReadError(
                f"frame {self._count}: shown at {float(own):.6f} s, not after the one before"
                f" ({float(self._last):.6f} s)",
                hint="give frames in the order they are shown",
            )
        self._last = own
        self._start = own if self._start is None else self._start
        return float(own - self._start)

    def _finish(self, count: int) -> list[Any]:
        """Paint the oldest frames, in batches."""
        assert self._moving is not None
        assert self._pipeline is not None
        done: list[Any] = []
        while count > 0:
            size = min(count, self._batch)
            some = [self._waiting[i] for i in range(size)]
            frames = tuple(one.frame for one in some)
            views = tuple(one.view for one in some)
            plan = self._moving.plan(frames[0].index, frames[-1].index + 1)
            batch = FrameBatch(frames, self.info.time_base, views)
            swapped = self._pipeline.swap(batch, plan)
            self._tally.add(batch, swapped, plan)
            for _ in range(size):
                self._waiting.popleft()
            done += [
                _given_back(one.given, one.frame, painted)
                for one, painted in zip(some, swapped.frames, strict=True)
            ]
            count -= size
        return done

    def _nobody(self) -> Sequence[str]:
        """Say which entries of `[[people]]` nobody was meant by."""
        used = self._moving.cast.used if self._moving is not None else set()
        return [
            f"people.{number} ({role.who}): nobody in the stream was meant by it"
            for number, role in enumerate(self._cast)
            if role.who is not None and number not in used
        ]


def _size_of(given: Any) -> tuple[int, int]:
    """Return (width, height) of a frame of any kind."""
    if isinstance(given, VideoFrame):
        height, width = given.planes[0].shape
        return width, height
    if isinstance(given, np.ndarray):
        return given.shape[1], given.shape[0]
    return given.width, given.height


_KINDS = "give uint8 RGB [height, width, 3], or av.VideoFrame"


def _given_back(given: Any, frame: VideoFrame, painted: VideoFrame) -> Any:
    """Return a finished frame as the kind it came as; the same object where nothing changed."""
    if painted is frame:
        return given
    if isinstance(given, VideoFrame):
        return replace(painted, time_s=given.time_s)
    if handed.is_av_frame(given):
        return handed.handed_back(painted, given)
    green, blue, red = painted.planes
    return np.stack([red, green, blue], axis=-1)


def _check_anonymity(distance: float, lookahead_s: float) -> None:
    """See that a face is known before its first frame goes out.

    Raises:
        VideoReadError: it is not, and nobody was to be recognised.
    """
    if distance > 0 and lookahead_s < SHORT_S:
        raise VideoReadError(
            f"a lookahead of {lookahead_s:g} s shows the first frames of a face before it is known"
            " to be one; with [anonymize] none may be shown as it is",
            hint=f"give {SHORT_S:g} seconds or more",
        )


def _shortened(engine: Engine, lookahead_s: float) -> list[str]:
    """Say which settings a lookahead is too short for."""
    mask = engine.preset.mask
    needed = mask.fade_s + (mask.hold_s if mask.policy == "hold" else 0.0)
    needed = 0.0 if mask.policy == "keep" else needed
    if lookahead_s >= max(needed, SHORT_S):
        return []
    return [
        f"a lookahead of {lookahead_s:g} s is shorter than what goes ahead of poor frames"
        f" ({max(needed, SHORT_S):g} s): fades are cut to it"
    ]
