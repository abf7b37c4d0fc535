"""Pictures as a video codec would have left them: encoded and decoded in memory."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av

from fapvideo.errors import VideoWriteError
from fapvideo.structs import Bytes
from fapvideo.video.color import BT709, RgbConverter, bt709_frame, write_tags
from fapvideo.video.support import ENCODERS


def recoded(pictures: Sequence[Bytes], crf: int) -> list[Bytes]:
    """Return uint8 [H, W, 3] RGB pictures after H.264, 4:2:0, at constant rate factor `crf`.

    The first is coded alone, the others from those before them, as frames of a video are. Sides
    must be even.

    Raises:
        VideoWriteError: the encoder fails.
    """
    height, width = pictures[0].shape[:2]
    clock = Fraction(1, 25)
    try:
        encoder: Any = av.CodecContext.create(ENCODERS["h264"], "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base, encoder.thread_count = clock, 1
        encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
        write_tags(encoder, BT709)
        decoder: Any = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        convert = RgbConverter(BT709)
        frames = []
        for number, picture in enumerate((*pictures, None)):
            frame = None
            if picture is not None:
                frame = bt709_frame(picture)
                frame.pts, frame.time_base = number, clock
            for packet in encoder.encode(frame):
                frames += decoder.decode(packet)
        frames += decoder.decode(None)
        return [convert(frame, "yuv420p", ()) for frame in frames]
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoWriteError(f"pictures cannot be coded as H.264: {error}") from error
