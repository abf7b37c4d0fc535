"""Writing pictures that come from no video: FFV1 in Matroska, without loss but of chroma."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av

from fapvideo.errors import VideoWriteError
from fapvideo.ops.files import write_atomically
from fapvideo.structs import Bytes
from fapvideo.video.color import BT709, bt709_frame, write_tags


def write_pictures(output: Path, pictures: Iterable[Bytes], frame_rate: int) -> int:
    """Write uint8 [H, W, 3] RGB pictures as BT.709 4:2:0 video; return how many.

    The file appears only when it is whole; one that exists is replaced.

    Raises:
        VideoWriteError: it cannot be written, or there is no picture.
    """
    count = 0
    try:
        with (
            write_atomically(output) as fresh,
            av.open(f"file:{fresh}", "w", format="matroska") as container,
        ):
            stream = container.add_stream("ffv1", rate=frame_rate)
            for picture in pictures:
                if not count:
                    stream.height, stream.width = picture.shape[:2]
                    stream.pix_fmt = "yuv420p"
                    write_tags(stream.codec_context, BT709)
                frame = bt709_frame(picture)
                frame.pts, frame.time_base = count, Fraction(1, frame_rate)
                container.mux(stream.encode(frame))
                count += 1
            if not count:
                raise VideoWriteError(f"{output}: no pictures to write")
            container.mux(stream.encode(None))
    except (av.error.FFmpegError, OSError) as error:
        raise VideoWriteError(f"cannot write {output}: {error}") from error
    return count
