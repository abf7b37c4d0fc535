"""Pictures to packets: what an encoder makes of frames, without a file to put them into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import av
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter

from fapvideo.errors import VideoWriteError
from fapvideo.structs import VideoFrame, VideoInfo
from fapvideo.video.captions import CARRIERS, with_captions
from fapvideo.video.color import UNBIASED, write_tags
from fapvideo.video.encoder import Encoding
from fapvideo.video.fields import FieldMarker, mark_fields
from fapvideo.video.planar import av_frame_of

_SWSCALE_RANGE = {False: 1, True: 2}


def set_up(context: Any, encoding: Encoding, info: VideoInfo) -> None:
    """Configure an encoder, or a stream's, that is not open yet."""
    context.width, context.height = info.width, info.height
    context.pix_fmt = encoding.pixel_format
    context.time_base = info.time_base
    context.framerate = info.frame_rate
    context.sample_aspect_ratio = info.sample_aspect_ratio
    context.thread_type = "AUTO"
    if encoding.codec_tag:
        context.codec_tag = encoding.codec_tag
    write_tags(context, encoding.color)
    mark_fields(context, encoding)


class PictureEncoder:
    """Encodes frames in presentation order into packets with the source's times."""

    def __init__(
        self, info: VideoInfo, encoding: Encoding, warn: Callable[[str], None] = lambda text: None
    ) -> None:
        """Prepare the encoder; it opens with the first frame.

        Args:
            info: of the source.
            encoding: of `choose_encoding`.
            warn: told once of what cannot be kept.
        """
        self.info, self.encoding, self._warn = info, encoding, warn
        self._context: Any = av.CodecContext.create(encoding.codec, "w")
        self._context.options = dict(encoding.options)
        # As all of our containers want it: what describes the stream stands before it, once.
        self._context.flags |= Flags.global_header
        set_up(self._context, encoding, info)
        self._durations: dict[int, int] = {}
        self._captions: dict[int, bytes] = {}
        self._told = False
        self._fields = FieldMarker(encoding, info)
        self._last_pts: int | None = None
        self._reformatter = VideoReformatter()

    def encode(self, frame: VideoFrame) -> list[Any]:
        """Return the packets that are ready; their times are on the clock of `info`.

        Raises:
            VideoWriteError: the frame does not come after the one before.
            av.error.FFmpegError, ValueError: the encoder fails.
        """
        if self._last_pts is not None and frame.pts <= self._last_pts:
            raise VideoWriteError(
                f"{self.info.path}: frame {frame.index} at pts {frame.pts} does not come after "
                f"the one at {self._last_pts}"
            )
        self._last_pts = frame.pts
        picture = self._encodable(frame)
        picture.pts, picture.time_base = frame.pts, self.info.time_base
        if frame.duration:
            self._durations[frame.pts] = picture.duration = frame.duration
        if frame.captions:
            self._keep_captions(frame.pts, frame.captions)
        return [self._completed(packet) for packet in self._context.encode(picture)]

    def finish(self) -> list[Any]:
        """Return the packets that are left.

        Raises:
            av.error.FFmpegError: the encoder fails.
        """
        if self._last_pts is None:
            return []
        return [self._completed(packet) for packet in self._context.encode(None)]

    @property
    def extradata(self) -> bytes:
        """What describes the stream, of an encoder that has had a frame."""
        return bytes(self._context.extradata or b"")

    def _encodable(self, frame: VideoFrame) -> Any:
        """Return the frame in the encoder's pixel format, tagged."""
        picture = av_frame_of(frame)
        write_tags(picture, self.info.color)
        encoding = self.encoding
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
        if self.encoding.codec in CARRIERS:
            self._captions[pts] = captions
        elif not self._told:
            self._told = True
            self._warn(
                f"the closed captions in the pictures (CEA-608/708) are left out: "
                f"{self.encoding.codec} cannot carry them; h264 and hevc can (video.codec)"
            )

    def _completed(self, packet: Any) -> Any:
        """Put a frame's captions and duration to its packet."""
        captions = self._captions.pop(packet.pts, None)
        if captions is not None:
            packet = with_captions(packet, captions, CARRIERS[self.encoding.codec])
        duration = self._durations.pop(packet.pts, None)
        if duration is not None:
            packet.duration = duration
        return packet
