"""Decoding: batches in order with bounded memory, or single frames at given times."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoReadError
from fapvideo.ops.display import to_display
from fapvideo.structs import Bytes, FrameBatch, VideoFrame, VideoInfo
from fapvideo.video.captions import captions_of
from fapvideo.video.color import RgbConverter
from fapvideo.video.fields import Deinterlacer
from fapvideo.video.frames import Clock, PixelShape, whole
from fapvideo.video.opening import decoder_of, open_input, reading
from fapvideo.video.planar import planar_format, planes_of
from fapvideo.video.probe import probe, stamp_of
from fapvideo.video.timeline import demux

log = logging.getLogger(__name__)

Picture = tuple[VideoFrame, Bytes]
View = tuple[VideoFrame, Callable[[], Bytes]]
"""A frame, and what makes its picture."""

_SEEK_MARGINS_S = (0, 1, 10)
"""How much earlier than wanted to seek: leading pictures of an open GOP need the GOP before."""
_JUMP_S = 2
"""Distance to the next wanted frame from which on seeking beats decoding through."""
ROUNDING_S = Fraction(1, 100_000)
"""Times given with five decimals still name their frame."""
_MIN_PACKETS_TO_JUDGE = 100
"""Packets that are seen before a share of damaged ones means anything."""


class VideoReader(AbstractContextManager["VideoReader"]):
    """Reads one video; `config.start_s` and `config.end_s` bound what is delivered.

    A damaged packet is skipped and counted in `damaged`. A frame without a presentation time, or
    whose time does not come after the one before, gets a time in between or one tick later.
    A picture whose size, pixel format or pixel shape changes in mid-stream is an error: it can
    neither be encoded as one stream nor compared between frames. So is a file that has changed
    since it was probed: two passes over it would not fit together.
    """

    def __init__(self, source: Path | str | VideoInfo, config: VideoConfig | None = None) -> None:
        """Probe `source`, unless it is the result of a probe.

        Raises:
            VideoReadError: see `probe`; or the video ends before `config.start_s`.
        """
        self.info = source if isinstance(source, VideoInfo) else probe(Path(source))
        self.config = config if config is not None else VideoConfig()
        self.damaged = 0
        """Packets of the last pass that gave no frame because of damage."""
        self._planar = planar_format(self.info.pixel_format)
        self._to_rgb = RgbConverter(self.info.color)
        self._deinterlaced = self.config.deinterlace and self.info.field_order != "progressive"
        if self.info.duration_s and self.config.start_s >= self.info.duration_s:
            raise VideoReadError(
                f"{self.info.path}: start {self.config.start_s} s is at or after "
                f"its end at {self.info.duration_s:.3f} s",
                hint="choose an earlier start",
            )

    def __exit__(self, *_: object) -> None:
        """Release nothing: files are open only while frames are being read."""

    @property
    def expected(self) -> int:
        """How many frames will be delivered; 0 where the container does not say."""
        info, config = self.info, self.config
        if not info.frames or (config.start_s <= 0 and config.end_s is None):
            return info.frames
        end = info.duration_s if config.end_s is None else min(config.end_s, info.duration_s)
        return max(1, round((end - config.start_s) * float(info.frame_rate)))

    def batches(self, size: int) -> Generator[FrameBatch]:
        """Yield all frames in presentation order, `size` at a time; the last batch may be shorter.

        Raises:
            VideoReadError: more damage than `config.max_damaged`, a change of size or pixel format,
                or no frame at all between start and end.
        """
        pending: list[View] = []
        total = 0
        for view in self._views():
            pending.append(view)
            del view
            total += 1
            if len(pending) == size:
                yield self._batch(pending)
        if pending:
            yield self._batch(pending)
        if not total:
            raise VideoReadError(
                f"{self.info.path}: no frame between {self.config.start_s} s "
                f"and {self.config.end_s or self.info.duration_s} s"
            )

    def pictures(self) -> Iterator[Picture]:
        """Yield (frame, RGB uint8 [h, w, 3] as displayed) in presentation order."""
        return ((frame, view()) for frame, view in self._views())

    def _views(self) -> Iterator[View]:
        """Yield the frames between start and end."""
        first, last = self._bounds()
        index = 0
        with reading(self.info.path):
            for frame, pts in self._decode(first if self.config.start_s > 0 else None):
                if pts < first:
                    continue
                if last is not None and pts >= last:
                    return
                yield self._deliver(frame, pts, index)
                index += 1

    def cut(self, start_s: float, end_s: float | None) -> VideoReader:
        """Return a reader of a stretch of the same video."""
        times = {"start_s": start_s, "end_s": end_s}
        return VideoReader(self.info, self.config.model_copy(update=times))

    def frames_at(self, times_s: Sequence[float]) -> list[Picture]:
        """Return the frame on display at each time, in the order asked for.

        A time counts from the first frame, as `VideoFrame.time_s` does; one before the first or
        after the last delivered frame gives that frame. The file is read in one sorted pass that
        jumps over the parts not needed; equal times share one frame.

        Raises:
            VideoReadError: as `batches`.
        """
        with reading(self.info.path):
            known = self._all_pts()
            if known is None:
                return self._frames_at_by_reading(times_s)
            return self._frames_at(times_s, known)

    def _frames_at(self, times_s: Sequence[float], known: Any) -> list[Picture]:
        """Find frames by `known`, the sorted times of all of them."""
        ticks = [self._ticks(time) for time in times_s]
        rank = [max(0, int(np.searchsorted(known, tick, side="right")) - 1) for tick in ticks]
        found: dict[int, Picture] = {}
        frames: Iterator[tuple[Any, int]] = iter(())
        current: tuple[Any, int] | None = None
        for index in sorted(set(rank)):
            wanted = int(known[index])
            if current is None or (wanted - current[1]) * self.info.time_base > _JUMP_S:
                frames, current = self._decode(wanted), None
            current = self._advance(frames, current, wanted)
            frame, view = self._deliver(*current, index)
            found[index] = frame, view()
        return [found[index] for index in rank]

    # ------------------------------------------------------------------------ decoding

    def _decode(self, target: int | None) -> Iterator[tuple[Any, int]]:
        """Yield (av frame, pts) from the last key frame that leads to `target`, or the start."""
        self.damaged = 0
        # Behind a joint the file's own times name other frames; without times nothing is named.
        seekable = not self.info.joints and self.info.times == "shown"
        if target is None or target <= self.info.start_pts or not seekable:
            yield from self._decode_from(None)
            return
        # Deinterlacing looks at the frame before.
        early = Clock(self.info).step if self._deinterlaced else 0
        for margin in _SEEK_MARGINS_S:
            start = target - int(margin / self.info.time_base) - early
            frames = self._decode_from(max(start, self.info.start_pts))
            first = next(frames, None)
            if first is not None and first[1] <= target - early:
                yield first
                yield from frames
                return
        yield from self._decode_from(None)

    def _decode_from(self, seek_to: int | None) -> Iterator[tuple[Any, int]]:
        """Seek if asked, then decode to the end, counting damage."""
        damaged = packets = decoded = 0
        clock = Clock(self.info)
        fields = Deinterlacer(self.info) if self._deinterlaced else None
        self._check_unchanged()
        with open_input(self.info.path) as container:
            stream = container.streams[self.info.video_stream]
            decoder = decoder_of(stream, self.info.decoder)
            decoder.thread_type = "AUTO"
            shape = PixelShape(stream if decoder is stream else None)
            said: dict[int | None, bytes] | None = {} if self.info.captions else None
            if seek_to is not None:
                container.seek(seek_to, stream=stream)
            for packet in demux(container, stream, joints=self.info.joints):
                packets += 1
                if said is not None:
                    said[packet.pts] = captions_of(packet)
                try:
                    frames = decoder.decode(packet)
                except (av.error.FFmpegError, ValueError) as error:
                    damaged += 1
                    self._count_damage(damaged, packets, error)
                    continue
                shape.check(self.info, decoded, len(frames))
                decoded += len(frames)
                for frame in whole(frames, fields):
                    frame.opaque = said.pop(frame.pts, b"") if said else None
                    yield frame, clock(frame)
            frames = self._flush(decoder)
            decoded += len(frames)
            for frame in whole([*frames, None], fields):
                frame.opaque = said.pop(frame.pts, b"") if said else None
                yield frame, clock(frame)
        self._check_unchanged()
        if damaged:  # frames that were silently dropped for want of a reference count as well
            self.damaged = max(damaged, packets - decoded)
            if self.damaged > self.config.max_damaged * packets:
                raise self._too_damaged(self.damaged, packets)

    def _check_unchanged(self) -> None:
        """Refuse a file that is not the one that was probed."""
        known = self.info.stamp
        try:
            now = stamp_of(self.info.path)
        except OSError:  # gone: opening it, or the end of what is open, says so
            return
        if known != (0, 0) and now != known:
            raise VideoReadError(
                f"{self.info.path} has changed while it was read "
                f"({known[0]} bytes before, {now[0]} now)",
                hint="wait until it is written completely, then start again",
            )

    def _flush(self, decoder: Any) -> list[Any]:
        try:
            return list(decoder.decode(None))
        except (av.error.FFmpegError, ValueError) as error:
            log.warning("%s: %s at the end", self.info.path, error)
            return []

    def _count_damage(self, damaged: int, packets: int, error: Exception) -> None:
        self.damaged = damaged
        log.warning("%s: video packet %d is damaged: %s", self.info.path, packets, error)
        expected = max(self.info.frames, packets)
        if expected >= _MIN_PACKETS_TO_JUDGE and damaged > self.config.max_damaged * expected:
            raise self._too_damaged(damaged, packets)

    def _too_damaged(self, damaged: int, packets: int) -> VideoReadError:
        return VideoReadError(
            f"{self.info.path}: {damaged} of {packets} video packets are damaged, "
            f"more than the allowed {self.config.max_damaged:.0%}",
            hint="raise video.max_damaged to go on regardless",
        )

    # ------------------------------------------------------------------------ delivering

    def _deliver(self, frame: Any, pts: int, index: int) -> View:
        """Turn a decoder frame into planes, and a display picture for whoever looks at it."""
        planar, planes = planes_of(frame)
        if (frame.width, frame.height) != (self.info.width, self.info.height):
            raise VideoReadError(
                f"{self.info.path}: the picture changes from {self.info.width}x{self.info.height} "
                f"to {frame.width}x{frame.height} at frame {index}",
                hint="split the video there, or scale it to one size first",
            )
        if planar != self._planar:
            raise VideoReadError(
                f"{self.info.path}: the pixel format changes from {self._planar} to {planar} "
                f"at frame {index}",
                hint="convert the video to one format first",
            )

        def picture() -> Bytes:
            with reading(self.info.path):
                return to_display(self._to_rgb(frame, planar, planes), self.info)

        own = VideoFrame(
            index=index,
            pts=pts,
            time_s=float((pts - self.info.start_pts) * self.info.time_base),
            pixel_format=planar,
            planes=planes,
            duration=int(frame.duration or 0),
            key_frame=bool(frame.key_frame),
            captions=frame.opaque or b"",
        )
        return own, picture

    def _batch(self, pending: list[View]) -> FrameBatch:
        """Empty `pending` into a batch, so that nobody holds its frames but the caller."""
        frames, views = zip(*pending, strict=True)
        pending.clear()
        return FrameBatch(frames, self.info.time_base, views)

    # ------------------------------------------------------------------------ times

    def _ticks(self, time_s: float) -> int:
        """Return the last tick at or before a time."""
        time = Fraction(time_s) + ROUNDING_S
        return self.info.start_pts + math.floor(time / self.info.time_base)

    def _first_tick(self, time_s: float) -> int:
        """Return the first tick at or after a time."""
        time = Fraction(time_s) - ROUNDING_S
        return self.info.start_pts + math.ceil(time / self.info.time_base)

    def _bounds(self) -> tuple[int, int | None]:
        """Return (first pts wanted, first pts not wanted any more)."""
        start, end = self.config.start_s, self.config.end_s
        first = self._first_tick(start) if start > 0 else -(2**62)
        return first, None if end is None else self._first_tick(end)

    def _all_pts(self) -> Any:
        """Return the sorted pts of all frames to deliver, or None if packets do not tell them."""
        if self.info.times != "shown":
            return None
        first, last = self._bounds()
        times = []
        with open_input(self.info.path) as container:
            stream = container.streams[self.info.video_stream]
            for packet in demux(container, stream, joints=self.info.joints):
                if packet.pts is None:
                    return None
                if not packet.is_discard:
                    times.append(packet.pts)
        pts = np.unique(np.array(times, np.int64))
        pts = pts[(pts >= first) & (pts < (2**62 if last is None else last))]
        return pts if len(pts) and len(pts) <= len(times) else None

    def _advance(
        self, frames: Iterator[tuple[Any, int]], last: tuple[Any, int] | None, wanted: int
    ) -> tuple[Any, int]:
        """Take frames after `last` up to the one at `wanted`; the nearest if that is damaged."""
        if last is not None and last[1] >= wanted:
            return last
        for frame, pts in frames:
            if pts >= wanted:
                return frame, pts
            last = frame, pts
        if last is None:
            raise VideoReadError(f"{self.info.path}: no frame could be decoded at pts {wanted}")
        return last

    def _frames_at_by_reading(self, times_s: Sequence[float]) -> list[Picture]:
        """Find frames by their decoded times, where packets do not tell them."""
        wanted = sorted({self._ticks(time) for time in times_s})
        found: dict[int, Picture] = {}
        last: Picture | None = None
        for picture in self.pictures():
            while wanted and picture[0].pts > wanted[0]:
                found[wanted.pop(0)] = last if last is not None else picture
            last = picture
        if last is None:
            raise VideoReadError(f"{self.info.path}: no frame could be decoded")
        return [found.get(self._ticks(time), last) for time in times_s]
