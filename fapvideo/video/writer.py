"""Encoding: every frame at its own time, everything else copied, published only when whole."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from fapvideo.config.schema import VideoConfig
from fapvideo.errors import VideoWriteError
from fapvideo.ops.files import partial_name
from fapvideo.structs import FrameBatch, VideoFrame, VideoInfo
from fapvideo.video.audio import StreamCopier, stream_tags
from fapvideo.video.coding import PictureEncoder, set_up
from fapvideo.video.encoder import MUXERS, Encoding, choose_encoding, tells_hdr_itself
from fapvideo.video.hdr_boxes import write_hdr_boxes
from fapvideo.video.losses import unkept

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
        kept: Path | None = None,
        seal: Callable[[Path, Path], None] | None = None,
    ) -> None:
        """Check the output's place and name, choose the encoder, open a temporary file.

        `seal` is called with the finished file and the name that it will have; whatever is done to
        the file after that is its renaming.

        `info` describes the source, whose other streams are copied from `info.path` (none where
        `info.container` is empty: frames that come from no file). Times are shifted so that
        `info.origin_s` is at 0, or with `config.start_s` the first frame; with `config.keep_start`
        and no `start_s` they stay. With `kept` the finished file lies there, on the output's file
        system, and `publish` gives it its name.

        Raises:
            VideoWriteError: the output cannot be written there, or not under that name.
            VideoReadError: the source of `info` cannot be opened any more.
        """
        self.output = Path(output)
        self.info = info
        self.config = config if config is not None else VideoConfig()
        self.frames = 0
        """Frames taken."""
        self._overwrite, self._seal = overwrite, seal
        self._place = output_place(self.output, info, overwrite=overwrite)
        suffix = self.output.suffix.lower()
        self._encoding = choose_encoding(info, self.config, suffix)
        self.warnings: list[str] = list(self._encoding.warnings)
        self.warnings += unkept(info, self._encoding.codec)
        self._temporary, self._publishes = kept or partial_name(self._place), kept is None
        self._create_temporary()
        self._matroska = suffix == ".mkv"
        self._encoder = PictureEncoder(info, self._encoding, self.warnings.append)
        self._shift: int | None = None
        """Ticks by which times come earlier; None until the first frame is known."""
        try:
            self._copier = StreamCopier(info, suffix)
            self._container = self._open(suffix)
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Publish the file, or remove every trace of it after an exception."""
        whole = False
        try:
            if kind is None:
                self._finish()
                whole = True
                if self._publishes:
                    publish(self._temporary, self.output, overwrite=self._overwrite)
        finally:
            self._copier.close()
            # After a failure the trailer fails again; the first error is the one to show.
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()
            if self._publishes or not whole:
                self._temporary.unlink(missing_ok=True)

    def write(self, frames: FrameBatch | Iterable[VideoFrame]) -> None:
        """Encode frames in presentation order.

        Raises:
            VideoWriteError: the disk is full, the encoder fails, or times do not increase.
        """
        for frame in frames.frames if isinstance(frames, FrameBatch) else frames:
            with self._explained():
                if self._shift is None:
                    self._begin(frame.pts)
                self._mux(self._encoder.encode(frame))
                self.frames += 1

    def write_packets(self, packets: Iterable[Any], first_pts: int) -> None:
        """Take frames that are encoded already, as the preset of this writer says.

        Args:
            packets: in the order of decoding, with times on the clock of `info`.
            first_pts: when the video's first frame is shown.

        Raises:
            VideoWriteError: the disk is full, or the packets cannot be read.
        """
        with self._explained():
            for packet in packets:
                if self._shift is None:
                    self._begin(first_pts)
                self._mux([packet])
                self.frames += 1

    # ------------------------------------------------------------------------ opening

    def _create_temporary(self) -> None:
        try:
            self._temporary.touch(exist_ok=False)
        except OSError as error:
            raise VideoWriteError(
                f"{self.output}: the folder {self._temporary.parent} cannot be written to "
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
        # The stream has an encoder of its own, which only describes what `PictureEncoder` makes.
        stream = container.add_stream(
            encoding.codec, rate=info.frame_rate, options=dict(encoding.options)
        )
        set_up(stream.codec_context, encoding, info)
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

    def _begin(self, first_pts: int) -> None:
        """Settle the cut, which the first frame's exact time decides, and the chapters."""
        begin = end = None
        time_base, self._shift = self.info.time_base, 0
        if self.config.start_s > 0:
            self._shift = first_pts
            begin = first_pts * time_base
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

    def _check_rounding(self, pts: int) -> None:
        """Say once that Matroska cannot keep times finer than its milliseconds."""
        if self._matroska and (pts * self.info.time_base * 1000).denominator != 1:
            self._matroska = False
            self.warnings.append(
                f"{self.output.suffix} stores whole milliseconds: times are off by up to 0.5 ms; "
                ".mp4 and .mov keep them exactly"
            )

    def _mux(self, packets: list[Any]) -> None:
        """Write encoded packets, and the copied ones that belong before them."""
        assert self._shift is not None
        for packet in packets:
            self._copier.copy_until(packet.dts * packet.time_base)
            packet.pts, packet.dts = packet.pts - self._shift, packet.dts - self._shift
            self._check_rounding(packet.pts)
            packet.stream = self._stream
            self._container.mux(packet)

    def _finish(self) -> None:
        """Flush, and write the trailer."""
        if not self.frames:
            raise VideoWriteError(f"{self.output}: no frame was written")
        with self._explained():
            self._mux(self._encoder.finish())
            self._copier.copy_until(None)
            self._container.close()
            if tells_hdr_itself(self._encoding.codec, self.output.suffix.lower()):
                write_hdr_boxes(self._temporary, self.info.hdr)
            self.warnings += [*self._copier.warnings, *self._copier.refusals()]
            if self._seal is not None:
                self._seal(self._temporary, self._place)

    def _explained(self) -> contextlib.AbstractContextManager[None]:
        what = f"{self.output}: writing failed after {self.frames} frames"
        return explained(what, self._encoding)


@contextlib.contextmanager
def explained(what: str, encoding: Encoding | None) -> Iterator[None]:
    """Turn FFmpeg's and the system's errors into `VideoWriteError` that begins with `what`."""
    try:
        yield
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = f"encoder {encoding.codec}, pixel format {encoding.pixel_format}" if encoding else ""
        if getattr(error, "errno", None) in _FULL_DISK:
            hint = "free space on the disk, or choose another folder"
        raise VideoWriteError(f"{what}: {reason}", hint=hint) from error


def publish(finished: Path, output: Path, *, overwrite: bool) -> None:
    """Give a finished file its name, in one step.

    Raises:
        VideoWriteError: something has that name by now, or it cannot be given.
    """
    try:
        if output.exists() and not overwrite:
            raise VideoWriteError(f"{output} was created by someone else meanwhile")
        finished.replace(link_target(output))
    except OSError as error:
        raise VideoWriteError(
            f"{output}: the finished file cannot take its name: {error.strerror or error}",
            hint="choose another folder, or make it writable",
        ) from error


def output_place(output: Path, info: VideoInfo, *, overwrite: bool) -> Path:
    """Return where `output` is to be written; refuse what is bound to fail before any work is done.

    Raises:
        VideoWriteError: it cannot be written there, or not under that name.
    """
    try:
        place = link_target(output)
        _check_place(output, place, info, overwrite=overwrite)
    except OSError as error:
        raise VideoWriteError(f"{output}: {error.strerror or error}") from None
    return place


def _check_place(output: Path, place: Path, info: VideoInfo, *, overwrite: bool) -> None:
    if output.is_dir():
        raise VideoWriteError(f"{output} is a folder", hint="name a file in it")
    if output.suffix.lower() not in MUXERS:
        raise VideoWriteError(
            f"{output}: container {output.suffix or '(no suffix)'} is not supported",
            hint=f"end the name in {', '.join(MUXERS)}",
        )
    if not place.parent.is_dir():
        raise VideoWriteError(
            f"{output}: the folder {place.parent} does not exist", hint="create it first"
        )
    if output.exists():
        if not output.is_file():
            raise VideoWriteError(f"{output} is a pipe or a device", hint="name a file")
        if info.path.exists() and output.samefile(info.path):
            raise VideoWriteError(
                f"{output} is the input itself", hint="choose another name for the output"
            )
        if not overwrite:
            raise VideoWriteError(
                f"{output} exists already", hint="allow overwriting, or choose another name"
            )


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
