"""Encoding: every frame at its own time, everything else copied, published only when whole."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.video.reformatter import VideoReformatter

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoWriteError
from fapvideo.ops.files import partial_name
from fapvideo.structs import FrameBatch, VideoFrame, VideoInfo
from fapvideo.video.audio import StreamCopier, stream_tags
from fapvideo.video.captions import CARRIERS, with_captions
from fapvideo.video.color import UNBIASED, write_tags
from fapvideo.video.encoder import MUXERS, choose_encoding
from fapvideo.video.fields import FieldMarker, mark_fields
from fapvideo.video.losses import unkept
from fapvideo.video.planar import av_frame_of

log = logging.getLogger(__name__)

# fmt: off
_ITUNES_TAGS = frozenset({
    "title", "artist", "album_artist", "composer", "album", "date", "genre", "comment",
    "copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network",
    "track", "disc", "compilation", "media_type", "gapless_playback", "hd_video", "creation_time",
    "location", "location-eng",
})
# fmt: on
"""Container tags that MP4 has a standard place for."""

_SWSCALE_RANGE = {False: 1, True: 2}
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class VideoWriter(contextlib.AbstractContextManager["VideoWriter"]):
    """Writes one video; use it as a context manager.

    On a clean exit the file is finished and takes its name by an atomic rename; on an exception
    nothing is left behind. `warnings` says what could not be kept.
    """

    def __init__(
        self,
        output: Path | str,
        info: VideoInfo,
        config: VideoConfig | None = None,
        *,
        overwrite: bool = False,
        seal: Callable[[Path, Path], None] | None = None,
    ) -> None:
        """Check the output's place and name, choose the encoder, open a temporary file.

        `seal` is called with the finished file and the name that it will have; whatever is done to
        the file after that is its renaming.

        `info` describes the source, whose other streams are copied from `info.path` (none where
        `info.container` is empty: frames that come from no file). Times are shifted so that
        `info.origin_s` is at 0, or with `config.start_s` the first frame; with `config.keep_start`
        and no `start_s` they stay.

        Raises:
            VideoWriteError: the output cannot be written there, or not under that name.
            VideoReadError: the source of `info` cannot be opened any more.
        """
        self.output = Path(output)
        self.info = info
        self.config = config if config is not None else VideoConfig()
        self.frames = 0
        """Frames handed to the encoder."""
        self._overwrite, self._seal = overwrite, seal
        try:
            self._place = link_target(self.output)
            self._check_place()
        except OSError as error:
            raise VideoWriteError(f"{output}: {error.strerror or error}") from None
        suffix = self.output.suffix.lower()
        self._encoding = choose_encoding(info, self.config, suffix)
        self.warnings: list[str] = list(self._encoding.warnings)
        self.warnings += unkept(info, self._encoding.codec)
        self._temporary = partial_name(self._place)
        self._create_temporary()
        self._matroska = suffix == ".mkv"
        self._durations: dict[int, int] = {}
        self._captions: dict[int, bytes] = {}
        self._fields = FieldMarker(self._encoding, info)
        self._shift = 0
        self._last_pts: int | None = None
        self._reformatter = VideoReformatter()
        try:
            self._copier = StreamCopier(info, suffix)
            self._container = self._open(suffix)
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Publish the file, or remove every trace of it after an exception."""
        try:
            if kind is None:
                self._finish()
        finally:
            self._copier.close()
            # After a failure the trailer fails again; the first error is the one to show.
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()
            self._temporary.unlink(missing_ok=True)

    def write(self, frames: FrameBatch | Iterable[VideoFrame]) -> None:
        """Encode frames in presentation order.

        Raises:
            VideoWriteError: the disk is full, the encoder fails, or times do not increase.
        """
        for frame in frames.frames if isinstance(frames, FrameBatch) else frames:
            with self._explained():
                self._write_one(frame)

    # ------------------------------------------------------------------------ opening

    def _check_place(self) -> None:
        """Refuse what is bound to fail, before any work is done."""
        output = self.output
        if output.is_dir():
            raise VideoWriteError(f"{output} is a folder", hint="name a file in it")
        if output.suffix.lower() not in MUXERS:
            raise VideoWriteError(
                f"{output}: container {output.suffix or '(no suffix)'} is not supported",
                hint=f"end the name in {', '.join(MUXERS)}",
            )
        if not self._place.parent.is_dir():
            raise VideoWriteError(
                f"{output}: the folder {self._place.parent} does not exist", hint="create it first"
            )
        if output.exists():
            if not output.is_file():
                raise VideoWriteError(f"{output} is a pipe or a device", hint="name a file")
            if self.info.path.exists() and output.samefile(self.info.path):
                raise VideoWriteError(
                    f"{output} is the input itself", hint="choose another name for the output"
                )
            if not self._overwrite:
                raise VideoWriteError(
                    f"{output} exists already", hint="allow overwriting, or choose another name"
                )

    def _create_temporary(self) -> None:
        try:
            self._temporary.touch(exist_ok=False)
        except OSError as error:
            raise VideoWriteError(
                f"{self.output}: the folder {self._place.parent} cannot be written to "
                f"({error.strerror})",
                hint="choose another folder, or make it writable",
            ) from error

    def _open(self, suffix: str) -> Any:
        """Open the container with all its streams in the source's order."""
        metadata = {k: v for k, v in self.info.metadata.items() if k.lower() != "encoder"}
        options = {}
        if suffix == ".mkv":
            # A leading audio packet before 0 would otherwise move all times.
            options["avoid_negative_ts"] = "disabled"
        elif not _ITUNES_TAGS.issuperset(key.lower() for key in metadata):
            options["movflags"] = "use_metadata_tags"
        with self._explained():
            container = av.open(
                f"file:{self._temporary}", "w", format=MUXERS[suffix], container_options=options
            )
            container.metadata.update(metadata)
            if not self.info.container:
                self._stream = self._add_video(container)
            for source in self._copier.streams:
                if source.index == self.info.video_stream:
                    self._stream = self._add_video(container, source)
                else:
                    self._copier.add(source, container)
        self.warnings += self._copier.warnings
        self._copier.warnings.clear()
        return container

    def _add_video(self, container: Any, source: Any = None) -> Any:
        """Add and configure the video stream, with the tags of `source`."""
        encoding, info = self._encoding, self.info
        stream = container.add_stream(
            encoding.codec, rate=info.frame_rate, options=dict(encoding.options)
        )
        context = stream.codec_context
        context.width, context.height = info.width, info.height
        context.pix_fmt = encoding.pixel_format
        context.time_base = info.time_base
        context.sample_aspect_ratio = info.sample_aspect_ratio
        context.thread_type = "AUTO"
        if encoding.codec_tag:
            context.codec_tag = encoding.codec_tag
        write_tags(context, encoding.color)
        mark_fields(context, encoding)
        stream.time_base = info.time_base
        if source is not None:
            stream.metadata.update(self._true_tags(source))
            stream.disposition = source.disposition
        if info.display_matrix:
            stream.set_display_matrix(info.display_matrix)
        elif info.rotation:
            stream.set_display_rotation(-info.rotation)
        return stream

    def _true_tags(self, source: Any) -> dict[str, str]:
        """Return the tags of the source's video stream that are true of the output's."""
        tags = stream_tags(source.metadata)
        tags.pop("alpha_mode", "")  # of VP8 and VP9, which keep transparency beside the picture
        if self.info.stereo and self._matroska:
            tags["stereo_mode"] = self.info.stereo
        if self.config.start_s > 0 and tags.pop("timecode", ""):
            self.warnings.append(
                "the start timecode is left out: it is that of the input's first frame"
            )
        return tags

    # ------------------------------------------------------------------------ writing

    def _write_one(self, frame: VideoFrame) -> None:
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise VideoWriteError(
                f"{self.output}: frame {frame.index} at pts {frame.pts} "
                f"does not come after the one at {self._last_pts}"
            )
        if self._last_pts is None:
            self._begin(frame)
        self._last_pts = frame.pts
        self._check_rounding(frame)
        picture = self._encodable(frame)
        pts = frame.pts - self._shift
        picture.pts, picture.time_base = pts, self.info.time_base
        if frame.duration:
            self._durations[pts] = picture.duration = frame.duration
        if frame.captions:
            self._keep_captions(pts, frame.captions)
        self._mux(self._stream.encode(picture))
        self.frames += 1

    def _begin(self, first: VideoFrame) -> None:
        """Settle the cut, which the first frame's exact time decides, and the chapters."""
        begin = end = None
        time_base = self.info.time_base
        if self.config.start_s > 0:
            self._shift = first.pts
            begin = first.pts * time_base
        elif not self.config.keep_start:
            self._shift = round(self.info.origin_s / time_base)
        if self.config.end_s is not None:
            end = self.info.start_pts * time_base + Fraction(self.config.end_s)
        zero = self._shift * time_base
        chapters = _cut_chapters(self._copier.chapters(), zero or begin, end)
        if chapters:
            self._container.set_chapters(chapters)
        self._container.start_encoding()
        self._copier.start(self._container, begin, end, zero)

    def _check_rounding(self, frame: VideoFrame) -> None:
        """Say once that Matroska cannot keep times finer than its milliseconds."""
        time = (frame.pts - self._shift) * self.info.time_base
        if self._matroska and (time * 1000).denominator != 1:
            self._matroska = False
            self.warnings.append(
                f"{self.output.suffix} stores whole milliseconds: times are off by up to 0.5 ms; "
                ".mp4 and .mov keep them exactly"
            )

    def _encodable(self, frame: VideoFrame) -> Any:
        """Return the frame in the encoder's pixel format, tagged."""
        picture = av_frame_of(frame)
        write_tags(picture, self.info.color)
        encoding = self._encoding
        if picture.format.name != encoding.pixel_format:
            # swscale converts RGB to BT.601 unless told otherwise.
            picture = self._reformatter.reformat(
                picture,
                format=encoding.pixel_format,
                dst_colorspace=encoding.color.matrix,
                src_color_range=_SWSCALE_RANGE[self.info.color.full_range],
                dst_color_range=_SWSCALE_RANGE[encoding.color.full_range],
                interpolation=UNBIASED,
            )
        write_tags(picture, encoding.color)
        return self._fields(picture)

    def _keep_captions(self, pts: int, captions: bytes) -> None:
        if self._encoding.codec in CARRIERS:
            self._captions[pts] = captions
        elif not any("captions" in warning for warning in self.warnings):
            self.warnings.append(
                f"the closed captions in the pictures (CEA-608/708) are left out: "
                f"{self._encoding.codec} cannot carry them; h264 and hevc can (video.codec)"
            )

    def _mux(self, packets: list[Any]) -> None:
        """Write encoded packets, and the copied ones that belong before them."""
        for packet in packets:
            captions = self._captions.pop(packet.pts, None)
            if captions is not None:
                packet = with_captions(packet, captions, CARRIERS[self._encoding.codec])
            duration = self._durations.pop(packet.pts, None)
            if duration is not None:
                packet.duration = duration
            time = (packet.dts + self._shift) * packet.time_base
            self._copier.copy_until(time)
            self._container.mux(packet)

    def _finish(self) -> None:
        """Flush, write the trailer, and give the file its name."""
        if not self.frames:
            raise VideoWriteError(f"{self.output}: no frame was written")
        with self._explained():
            self._mux(self._stream.encode(None))
            self._copier.copy_until(None)
            self._container.close()
            self.warnings += [*self._copier.warnings, *self._copier.refusals()]
            if self.output.exists() and not self._overwrite:
                raise VideoWriteError(f"{self.output} was created by someone else meanwhile")
            if self._seal is not None:
                self._seal(self._temporary, self._place)
            self._temporary.replace(self._place)

    @contextlib.contextmanager
    def _explained(self) -> Any:
        """Turn FFmpeg's and the system's errors into `VideoWriteError`."""
        try:
            yield
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            hint = f"encoder {self._encoding.codec}, pixel format {self._encoding.pixel_format}"
            if getattr(error, "errno", None) in _FULL_DISK:
                hint = "free space on the disk, or choose another folder"
            raise VideoWriteError(
                f"{self.output}: writing failed after {self.frames} frames: {reason}", hint=hint
            ) from error


def link_target(path: Path) -> Path:
    """Return where a path leads: what is written to a link goes to the file that it names.

    Raises:
        VideoWriteError: it leads in a circle.
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise VideoWriteError(f"{path} is a link that leads nowhere: {error}") from None


def _cut_chapters(
    chapters: list[dict[str, Any]], begin: Fraction | None, end: Fraction | None
) -> list[dict[str, Any]]:
    """Return the chapters between two times, on the clock that starts at `begin`."""
    kept = []
    for chapter in chapters:
        base = chapter["time_base"]
        first = chapter["start"] if begin is None else max(chapter["start"], round(begin / base))
        last = chapter["end"] if end is None else min(chapter["end"], round(end / base))
        shift = 0 if begin is None else round(begin / base)
        if last > first:
            kept.append({**chapter, "start": first - shift, "end": last - shift})
    return kept
