"""Decoding and encoding with nothing in between: the least that a run can take."""

from __future__ import annotations

from pathlib import Path

import av

from fapvideo.config.schema import VideoConfig
from fapvideo.video.coding import set_up
from fapvideo.video.encoder import choose_encoding
from fapvideo.video.probe import probe


def transcode(input: Path, suffix: str, config: VideoConfig) -> int:
    """Decode a video and encode its pictures as a run into `suffix` would; return their number.

    Plain PyAV in one loop: no sound, no tags, nothing is checked, nothing is written.

    Raises:
        VideoReadError: the input cannot be read.
    """
    info = probe(input)
    encoding = choose_encoding(info, config, suffix)
    encoder = av.CodecContext.create(encoding.codec, "w")
    encoder.options = dict(encoding.options)
    set_up(encoder, encoding, info)
    count = 0
    with av.open(str(input)) as source:
        stream = source.streams[info.video_stream]
        stream.thread_type = "AUTO"
        for frame in source.decode(stream):
            encoder.encode(frame.reformat(format=encoding.pixel_format))
            count += 1
    encoder.encode(None)
    return count
