"""Sending a video through reader, writer and seal, as a run does that paints nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fapvideo.config.schema import RunPreset
from fapvideo.run.seal import Seal
from fapvideo.run.sinks import open_sink
from fapvideo.video.reader import VideoReader

FAST = {"speed": "ultrafast", "codec": "h264"}


def sealed(source: Path, output: Path, **provenance: Any) -> Seal:
    """Copy a clip, sign it as a swap of the mouth; return the seal."""
    preset = RunPreset.model_validate({"video": FAST, "provenance": provenance})
    with VideoReader(source, preset.video) as reader:
        seal = Seal(preset, reader.info)
        seal.claims["parts"] = ["mouth"]
        with open_sink(output, reader.info, preset.video, overwrite=True, seal=seal) as sink:
            for batch in reader.batches(5):
                sink.write(batch)
    return seal
