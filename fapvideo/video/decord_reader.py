"""Random access through decord (extra `decord`), behind the interface of `VideoReader.frames_at`.

`fapvideo preview` takes the frames it shows from here where `video.reader` is "decord". Never the
default: decord 0.6.0 decodes the whole clip ahead in the background (gigabytes on long ones),
delivers 8-bit RGB only, and returns wrong frames after a seek in open-GOP streams; it is here for
pipelines that standardised on it. What is analysed and written always comes from `VideoReader`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoReadError
from fapvideo.ops.display import to_coded
from fapvideo.structs import VideoFrame, VideoInfo
from fapvideo.video.probe import probe
from fapvideo.video.reader import Picture, VideoReader


class DecordReader(AbstractContextManager["DecordReader"]):
    """Looks up single frames of one video; use it as a context manager."""

    def __init__(self, source: Path | str | VideoInfo, config: VideoConfig | None = None) -> None:
        """Open `source` in decord, with one decoding thread to bound its look-ahead.

        Raises:
            VideoReadError: decord is not installed or cannot open the file; or see `probe`.
        """
        self.info = source if isinstance(source, VideoInfo) else probe(Path(source))
        self.config = config if config is not None else VideoConfig()
        try:
            import decord
        except ImportError as error:
            raise VideoReadError(
                "video.reader is decord, which is not installed",
                hint='pip install "fapvideo[decord]" (x86-64 Linux), or set video.reader = "pyav"',
            ) from error
        if self.info.mirrored:
            raise VideoReadError(
                f"{self.info.path} is shown mirrored, which decord does not do",
                hint='set video.reader = "pyav"',
            )
        try:
            self._video = decord.VideoReader(str(self.info.path), num_threads=1)
            starts = self._video.get_frame_timestamp(np.arange(len(self._video)))[:, 0]
        except (RuntimeError, decord.DECORDError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise VideoReadError(
                f"{self.info.path} cannot be opened by decord: {reason}",
                hint='set video.reader = "pyav"',
            ) from error
        self._times = np.asarray(starts, np.float64)  # seconds since the first frame
        slack = float(self.info.time_base) / 2
        end = np.inf if self.config.end_s is None else self.config.end_s
        self._delivered = np.flatnonzero(
            (self._times >= self.config.start_s - slack) & (self._times < end - slack)
        )
        if not len(self._delivered):
            raise VideoReadError(f"{self.info.path}: no frame between start and end")

    def __exit__(self, *_: object) -> None:
        """Stop decord's background decoding."""
        self._video = None

    def frames_at(self, times_s: Sequence[float]) -> list[Picture]:
        """Return the frame on display at each time; see `VideoReader.frames_at`.

        The planes are 8-bit `gbrp`, made from decord's RGB: good for looking at, not for writing.

        Raises:
            VideoReadError: a frame cannot be decoded.
        """
        shown = self._times[self._delivered]
        slack = float(self.info.time_base) / 2
        ranks = [
            max(0, int(np.searchsorted(shown, time + slack, side="right")) - 1) for time in times_s
        ]
        unique = sorted(set(ranks))
        try:
            batch = self._video.get_batch(self._delivered[unique]).asnumpy()
        except Exception as error:  # decord raises its own type, whose module is optional
            reason = str(error).strip().splitlines()[-1]
            raise VideoReadError(f"{self.info.path}: decord failed: {reason}") from error
        pictures = {rank: self._picture(rank, rgb) for rank, rgb in zip(unique, batch, strict=True)}
        return [pictures[rank] for rank in ranks]

    def _picture(self, rank: int, rgb: Any) -> Picture:
        """Describe one frame; decord has applied the rotation, planes are kept as coded."""
        time = float(self._times[self._delivered[rank]])
        coded = to_coded(rgb, self.info)
        frame = VideoFrame(
            index=rank,
            pts=self.info.start_pts + round(time / self.info.time_base),
            time_s=time,
            pixel_format="gbrp",
            planes=tuple(np.ascontiguousarray(coded[..., channel]) for channel in (1, 2, 0)),
        )
        return frame, rgb


def random_access(
    source: Path | str | VideoInfo, config: VideoConfig
) -> VideoReader | DecordReader:
    """Return the reader for `frames_at` that `config.reader` names.

    Raises:
        VideoReadError: see the readers.
    """
    if config.reader == "decord":
        return DecordReader(source, config)
    return VideoReader(source, config)
