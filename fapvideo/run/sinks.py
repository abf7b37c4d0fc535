"""Where finished frames go: a protocol, and a function that takes them; files: `VideoWriter`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from fapvideo.config.schema import VideoConfig
from fapvideo.ops.files import fitting_name
from fapvideo.run.seal import Seal
from fapvideo.structs import FrameBatch, VideoInfo
from fapvideo.video.encoder import MUXERS
from fapvideo.video.writer import VideoWriter

_INSTEAD = {".m4v": ".mp4", ".3gp": ".mp4", ".qt": ".mov"}
"""Suffixes of containers that are one of ours by another name."""


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


NOWHERE = FrameSink(lambda batch: None)
"""Takes frames that nobody wants."""


def open_sink(
    output: str | Path | Sink | None,
    info: VideoInfo,
    config: VideoConfig,
    *,
    overwrite: bool,
    seal: Seal | None = None,
) -> VideoWriter | Sink:
    """Return a writer for a path, or for a name beside the input; a sink as it is.

    Args:
        output: where to.
        info: of the input.
        config: of the file.
        overwrite: replace an existing file.
        seal: tags and signs a file; a sink is not a file.

    Raises:
        VideoWriteError: the file cannot be written there, or not under that name.
    """
    if output is not None and not isinstance(output, str | Path):
        return output
    path = default_output(info.path) if output is None else Path(output)
    if seal is not None:
        info = seal.opened(info, path, overwrite=overwrite)
    return VideoWriter(path, info, config, overwrite=overwrite, seal=seal)


def default_output(source: Path) -> Path:
    """Return where the output goes if nothing is said: beside the input.

    In a container of its kind if that can be written, else in Matroska, which holds most.
    """
    kind = source.suffix.lower()
    suffix = source.suffix if kind in MUXERS else _INSTEAD.get(kind, ".mkv")
    return source.with_name(fitting_name(source.stem, f".swapped{suffix}"))
