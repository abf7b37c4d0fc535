"""`layers.otio`: an OpenTimelineIO file that puts the layers over the source.

It is written as plain JSON of OpenTimelineIO's schemas (`Timeline.1`, `Clip.2`, ...), which its
library reads; so nobody needs the library to have the file.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import fapvideo
from fapvideo.layers.images import DIGITS
from fapvideo.layers.movie import NAME
from fapvideo.layers.numbers import Numbers

Json = dict[str, Any]


def timeline(
    source: Path, folder: Path, frames: int, numbers: Numbers, *, movie: bool, images: str
) -> Json:
    """Return the file's content.

    Args:
        source: the clip.
        folder: of the layers, from which the source is named.
        frames: of the clip.
        numbers: of the clip.
        movie: whether there is `swap.mov`.
        images: layer and suffix of the change as images, `swap.png`; nothing where there are none.
    """
    rate = float(numbers.rate)
    begins = numbers.first + (0 if numbers.start is None else numbers.start.frames)
    shown = _range(begins, frames, rate)
    # What is written begins with the clip; where the source has a timecode it has it, too.
    own = shown if numbers.start is not None else _range(0, frames, rate)
    media = {}
    if images:
        media["images"] = _images(images, numbers.first, own, rate)
    if movie:
        media["movie"] = _object("ExternalReference.1", target_url=NAME, available_range=own)
    there = {"source": _object("ExternalReference.1", target_url=_url(source, folder))}
    tracks = [_track("source", _clip(source.name, shown, there))]
    if media:  # mattes alone have no place there
        tracks.append(_track("layers", _clip("swap", own, media)))
    return _object(
        "Timeline.1",
        name=source.stem,
        global_start_time=_time(begins, rate),
        metadata={"fapvideo": {"version": fapvideo.__version__}},
        tracks=_object("Stack.1", name="tracks", children=tracks),
    )


def _images(what: str, first: int, shown: Json, rate: float) -> Json:
    layer, _, suffix = what.partition(".")
    return _object(
        "ImageSequenceReference.1",
        target_url_base=f"{layer}/",
        name_prefix=f"{layer}.",
        name_suffix=f".{suffix}",
        start_frame=first,
        frame_step=1,
        rate=rate,
        frame_zero_padding=DIGITS,
        missing_frame_policy="error",
        available_range=shown,
    )


def _clip(name: str, shown: Json, media: dict[str, Json]) -> Json:
    return _object(
        "Clip.2",
        name=name,
        source_range=shown,
        media_references=media,
        active_media_reference_key=list(media)[-1],
    )


def _track(name: str, clip: Json) -> Json:
    return _object("Track.1", name=name, kind="Video", children=[clip])


def _range(start: int, frames: int, rate: float) -> Json:
    return _object("TimeRange.1", start_time=_time(start, rate), duration=_time(frames, rate))


def _time(frames: int, rate: float) -> Json:
    return _object("RationalTime.1", value=float(frames), rate=rate)


def _object(schema: str, **content: Any) -> Json:
    return {"OTIO_SCHEMA": schema, **content}


def _url(source: Path, folder: Path) -> str:
    """Return the source as seen from the folder, so that both can be moved together."""
    try:
        there = Path(os.path.relpath(source.absolute(), folder.absolute())).as_posix()
        return PurePosixPath("/", there).as_uri().removeprefix("file:///")
    except ValueError:  # on another drive
        return source.absolute().as_uri()
