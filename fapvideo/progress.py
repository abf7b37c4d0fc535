"""How far work has come, how long its stages took, and whether it should stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fapvideo.errors import Cancelled


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work has come; handed to the progress callback."""

    stage: str
    """What is being done; `references`, `analyse`, `detect`, `swap` and `finish` in a run."""
    done: int
    """Frames (or images, files, steps, bytes) of this stage that are finished."""
    total: int
    """How many there are; 0 while unknown."""
    fps: float | None = None
    """Frames per second of this stage so far, 0 while unknown; None where others are counted."""
    note: str = ""
    """What it is about just now, or how it goes."""


OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


@dataclass(slots=True)
class Stopwatch:
    """Seconds spent per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of a `with` block to `stage`, a name that ends in `_s`.

        The processor time of the calling thread is added to the same name with `_cpu_s`.
        """
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - wall)
            self._add(f"{stage.removesuffix('_s')}_cpu_s", time.thread_time() - cpu)

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


class Ticker:
    """Passes progress on, and stops the run when asked."""

    def __init__(self, progress: OnProgress | None, cancel: ShouldStop | None) -> None:
        """Take the callbacks, either of which may be absent."""
        self._progress, self._cancel = progress, cancel
        self._stage, self._done, self._total = "analyse", 0, 0
        self._started = time.perf_counter()

    def begin(self, stage: str, total: int) -> None:
        """Enter a stage of `total` frames (0 where unknown)."""
        self._stage, self._done, self._total = stage, 0, total
        self._started = time.perf_counter()
        self.advance(0)

    def advance(self, frames: int) -> None:
        """Report more finished frames.

        Raises:
            Cancelled: the user asked to stop.
        """
        self._done += frames
        if self._cancel is not None and self._cancel():
            raise Cancelled("stopped on request; no output was written")
        if self._progress is not None:
            seconds = time.perf_counter() - self._started
            fps = self._done / seconds if self._done else 0.0
            self._progress(Progress(self._stage, self._done, self._total, fps))


def clock(seconds: float) -> str:
    """Return a time as 0:03.24."""
    minutes, rest = divmod(round(seconds * 100), 6000)
    return f"{minutes}:{rest // 100:02d}.{rest % 100:02d}"
