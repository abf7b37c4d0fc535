"""Sending a video through reader and writer, as a run does that changes nothing."""

from pathlib import Path
from typing import Any

from fapvideo.config.schema import VideoConfig
from fapvideo.video.reader import VideoReader
from fapvideo.video.writer import VideoWriter

FAST: dict[str, Any] = {"speed": "ultrafast"}


def copy(source: Path, output: Path, **config: Any) -> VideoWriter:
    """Return the writer."""
    settings = VideoConfig(**{**FAST, **config})
    with (
        VideoReader(source, settings) as reader,
        VideoWriter(output, reader.info, settings) as writer,
    ):
        for batch in reader.batches(5):
            writer.write(batch)
    return writer
