"""Clips of any size, length and number of faces, made of one with a face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import cv2
import numpy as np

from fapvideo.config.schema import VideoConfig
from fapvideo.run.sources import FrameSource
from fapvideo.structs import Bytes
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import VideoWriter

MOST = 120
"""Frames of the original that are used; a longer clip goes through them to and fro."""


class Crowd(Sequence[Bytes]):
    """Pictures with a clip side by side in them, made when they are looked at."""

    def __init__(self, original: Path, size: tuple[int, int], faces: int, frames: int) -> None:
        """Show `original` `faces` times in pictures of `size` (width, height).

        Each is as large as fits into its column and begins elsewhere in the original, so that no
        two faces move alike.

        Raises:
            VideoReadError: the original cannot be read.
        """
        self._size, self._faces, self._frames = size, faces, frames
        self._cells = _cells(original, size[0] // faces, size[1])

    def __len__(self) -> int:
        """Return the number of pictures."""
        return self._frames

    @overload
    def __getitem__(self, index: int) -> Bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Bytes]: ...
    def __getitem__(self, index: int | slice) -> Bytes | Sequence[Bytes]:
        """Return a picture uint8 [height, width, 3], or several."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._frames))]
        if not 0 <= index < self._frames:
            raise IndexError(index)
        there_and_back = [*range(len(self._cells)), *range(len(self._cells) - 2, 0, -1)]
        steps = (index + face * len(there_and_back) // self._faces for face in range(self._faces))
        columns = [self._cells[there_and_back[step % len(there_and_back)]] for step in steps]
        row = np.hstack(columns)
        missing = self._size[0] - row.shape[1]
        return np.pad(row, ((0, 0), (0, missing), (0, 0)), mode="edge")


def _cells(original: Path, width: int, height: int) -> list[Bytes]:
    """Return the first pictures of a clip, scaled into a cell whose rim continues their edges."""
    cells: list[Bytes] = []
    for batch in VideoReader(original).batches(8):
        for picture in batch.rgb:
            scale = min(width / picture.shape[1], height / picture.shape[0])
            inner = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
            scaled = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA if scale < 1 else 1)
            left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
            rim = top, height - inner[1] - top, left, width - inner[0] - left
            cells.append(cv2.copyMakeBorder(scaled, *rim, cv2.BORDER_REPLICATE))
            if len(cells) == MOST:
                return cells
    return cells


def write_crowd(original: Path, path: Path, size: tuple[int, int], faces: int, frames: int) -> None:
    """Write such a clip, at 25 frames a second, as cameras do: H.264 in 8-bit 4:2:0.

    Raises:
        VideoReadError, VideoWriteError: one cannot be read, or the other not be written.
    """
    source = FrameSource(Crowd(original, size, faces, frames))
    config = VideoConfig(compatible=True, speed="veryfast")
    with VideoWriter(path, source.info, config) as writer:
        for batch in source.batches(8):
            writer.write(batch)
