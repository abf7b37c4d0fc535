"""Where finished frames go: a protocol, and a function that takes them; files: `VideoWriter`."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from fapvideo.structs import FrameBatch


class Sink(Protocol):
    """Takes frames in order inside a `with` block; an exception there discards what it can."""

    warnings: list[str]
    """What could not be kept."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish, or after an exception take everything back that can be."""

    def write(self, frames: FrameBatch) -> None:
        """Take the next frames."""


class FrameSink:
    """Hands every batch to a function."""

    def __init__(self, take: Callable[[FrameBatch], None]) -> None:
        """Call `take` with each batch, in order, from the thread that runs the swap."""
        self.warnings: list[str] = []
        self.write = take

    def __enter__(self) -> Self:
        """Return the sink."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""
