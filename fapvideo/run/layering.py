"""A run's folder of layers: whether it can be written, what goes into it, and its name at the end.

Segments, or a whole clip, leave their images and the movie's packets in a folder each
(`layers.spool`). Here these become one folder, complete under a name that nobody knows; then it
takes its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fapvideo
from fapvideo.config.schema import RunPreset
from fapvideo.config.trust import load_site
from fapvideo.errors import ProvenanceError, VideoWriteError
from fapvideo.layers.colours import in_words, interop_id, layer_colours
from fapvideo.layers.frame import Mattes
from fapvideo.layers.images import mattes_written
from fapvideo.layers.movie import NAME
from fapvideo.layers.numbers import Numbers
from fapvideo.layers.scenes import write_corner_pins, write_usd
from fapvideo.layers.spool import PACKETS, LayerOutcome, LayerPlan, image_files
from fapvideo.layers.timeline import timeline
from fapvideo.layers.tracks import write_tracks
from fapvideo.ops.files import partial_name, remove, sha256_file, write_atomically, write_text
from fapvideo.plan.targets import Plan
from fapvideo.run.seal import Seal
from fapvideo.structs import VideoInfo
from fapvideo.video.packets import joined_times, read_packets
from fapvideo.video.timecode import start_timecode
from fapvideo.video.writer import VideoWriter, link_target

SCHEMA_VERSION = 1
"""Of `layers.json`."""
MANIFEST = "layers.json"
TRACKS = "tracks.jsonl"

Parts = Sequence[tuple[Path, LayerOutcome]]
"""Folders of spools, in the order of their frames, with what they hold."""


def layer_plan(preset: RunPreset, info: VideoInfo, plan: Plan | None = None) -> LayerPlan:
    """Return what is the same for all frames of a clip's layers; for a check without `plan`."""
    begins_s = float(plan.times_s[0]) if plan is not None and plan.frames else 0.0
    numbers = Numbers.of(info.frame_rate, begins_s, start_timecode(info))
    mattes = Mattes() if plan is None else Mattes.of(plan)
    return LayerPlan(preset.layers, preset.video, info, numbers, mattes)


def check_layers(
    folder: Path, preset: RunPreset, info: VideoInfo, *, overwrite: bool, of: str = ""
) -> None:
    """Refuse what is bound to fail, before any work is done.

    Args:
        folder: of the layers.
        preset: of the run.
        info: of the input.
        overwrite: replace a folder of layers that is there.
        of: of the work that one there may be of, as `job_of` says; it is replaced.

    Raises:
        VideoWriteError: it cannot be written there, or an extra is missing.
        ProvenanceError: the site demands signatures, and there is nothing that holds one.
    """
    layers = layer_plan(preset, info)
    layers.images()
    _ = layers.encoding
    if not preset.layers.movie and load_site().require_provenance:
        raise ProvenanceError(
            "this site demands signed outputs, and images cannot be signed",
            hint="leave out layers.movie",
        )
    check_place(folder, info, overwrite=overwrite, of=of)


def check_name(folder: Path, output: Path | None = None) -> None:
    """See that a folder of layers has a name of its own, apart from the finished video's.

    Raises:
        VideoWriteError: it has none.
    """
    if folder.name in ("", ".."):
        raise VideoWriteError(
            f"{str(folder)!r} is no name for a folder of layers", hint="name a new folder"
        )
    place = folder.absolute()
    if output is not None and place in (output.absolute(), *output.absolute().parents):
        raise VideoWriteError(
            f"{output} cannot be written where the layers are: that folder is made whole, and"
            " holds nothing else",
            hint="name the finished video, or the layers, somewhere else",
        )


def check_place(folder: Path, info: VideoInfo, *, overwrite: bool, of: str = "") -> None:
    """See that a folder of layers can be written; see `check_layers`.

    Raises:
        VideoWriteError: it cannot.
    """
    check_name(folder)
    try:
        if not folder.absolute().parent.is_dir():
            raise VideoWriteError(
                f"{folder}: the folder {folder.parent} does not exist", hint="create it first"
            )
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return
        if folder.resolve() in info.path.resolve().parents:
            raise VideoWriteError(
                f"{folder} holds the input", hint="name another folder for the layers"
            )
        held = job_of(folder)
        if held is None:
            raise VideoWriteError(
                f"{folder} is there, and is no folder of layers: nothing in it is touched",
                hint="name another one, or remove it",
            )
        if not overwrite and not (of and held == of):
            raise VideoWriteError(
                f"{folder} exists already", hint="allow overwriting, or choose another name"
            )
    except OSError as error:
        raise VideoWriteError(f"{folder}: {error.strerror or error}") from error


def job_of(folder: Path) -> str | None:
    """Return of which work a folder of layers is; None where it is no such folder."""
    try:
        content = json.loads((folder / MANIFEST).read_text("utf-8"))
        return str(content["work"]) if content["schema_version"] >= 1 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stage_layers(
    folder: Path,
    layers: LayerPlan,
    plan: Plan,
    parts: Parts,
    lines: Path,
    seal: Seal,
    work: str,
) -> Path:
    """Put a folder of layers together under another name, beside `folder`; return where.

    Args:
        folder: that it will be.
        layers: of `layer_plan`.
        plan: of the clip.
        parts: what was painted.
        lines: of `Books`.
        seal: tags and signs the movie; has its claims.
        work: for `job_of`.

    Raises:
        VideoWriteError: it cannot be written.
        ProvenanceError: the movie cannot be signed.
    """
    staged = partial_name(link_target(folder))
    try:
        staged.mkdir()
        for place, _ in parts:
            for name in image_files(place):
                _linked(place / name, staged / name)
        if layers.config.movie:
            _write_movie(staged, folder, layers, parts, seal)
        write_tracks(lines, staged / TRACKS, plan, layers.info, layers.numbers)
        write_usd(staged / "tracks.usda", plan, layers.info, layers.numbers)
        write_corner_pins(staged / "corner_pins.nk", plan, layers.info, layers.numbers)
        _write_texts(staged, folder, layers, plan, seal, work)
    except OSError as error:
        remove(staged)
        raise VideoWriteError(
            f"{folder} cannot be written: {error.strerror or error}",
            hint="free space on the disk, or choose another folder",
        ) from error
    except BaseException:
        remove(staged)
        raise
    return staged


@contextmanager
def staged_layers(*given: Any) -> Iterator[Path]:
    """Yield what `stage_layers` makes; where it is not published in the block, it is removed."""
    staged = stage_layers(*given)
    try:
        yield staged
    finally:
        remove(staged)


def publish_layers(
    staged: Path, folder: Path, info: VideoInfo, work: str, *, overwrite: bool
) -> None:
    """Give a staged folder its name; one that is there is replaced, if that is allowed.

    Raises:
        VideoWriteError: it cannot be given.
    """
    check_place(folder, info, overwrite=overwrite, of=work)
    place = link_target(folder)
    try:
        with write_atomically(place) as fresh:
            staged.rename(fresh)
    except OSError as error:
        raise VideoWriteError(
            f"{folder}: the finished layers cannot take their name: {error.strerror or error}",
            hint="choose another folder, or make it writable",
        ) from error


def result_hash(output: Path) -> str:
    """Return the SHA-256 of a finished video, or of the list of contents of a folder of layers.

    Raises:
        OSError: it cannot be read.
    """
    return sha256_file(output / MANIFEST if output.is_dir() else output)


def _linked(source: Path, place: Path) -> None:
    """Put a file at another place of the disk, too."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:  # on another disk, or on one without links
        shutil.copyfile(source, place)


def _write_movie(staged: Path, folder: Path, layers: LayerPlan, parts: Parts, seal: Seal) -> None:
    info = seal.opened(layers.movie, folder / NAME, overwrite=True)
    place, config = staged / NAME, layers.movie_config
    with VideoWriter(place, info, config, overwrite=True, kept=place) as writer:
        tables = [outcome.packets for _, outcome in parts]
        first = min(tables[0].pts)
        for (part, _), table, dts in zip(parts, tables, joined_times(tables), strict=True):
            table.dts = dts
            writer.write_packets(read_packets(part / PACKETS, table, info.time_base), first)
    seal(place, folder / NAME)


def _write_texts(
    staged: Path, folder: Path, layers: LayerPlan, plan: Plan, seal: Seal, work: str
) -> None:
    config, info, numbers = layers.config, layers.info, layers.numbers
    kind = "" if config.images == "off" else config.images
    images = {"png": "swap.png", "exr": "exr.exr"}.get(kind, "")
    shown = images if "swap" in config.contents else ""
    content = timeline(info.path, folder, plan.frames, numbers, movie=config.movie, images=shown)
    write_text(staged / "layers.otio", json.dumps(content, indent=1) + "\n")
    manifest = _manifest(layers, plan, seal, work)
    write_text(staged / MANIFEST, json.dumps(manifest, indent=1, default=str) + "\n")


def _manifest(layers: LayerPlan, plan: Plan, seal: Seal, work: str) -> Mapping[str, Any]:
    """Return the content of `layers.json`: what lies in the folder, and what its numbers mean."""
    config, info, numbers = layers.config, layers.info, layers.numbers
    tags, (width, height), start = layer_colours(info), info.display_size, numbers.timecode(0)
    return {
        "schema_version": SCHEMA_VERSION,
        "software": f"fapvideo {fapvideo.__version__}",
        "work": work,
        "source": {
            "path": str(info.path),
            "first_frame": numbers.first,
            "frames": plan.frames,
            "frame_rate": str(numbers.rate),
            "vfr": info.vfr,
            "timecode": None if start is None else str(start),
        },
        "size": [width, height],
        "pixel_aspect_ratio": info.pixel_shape[0] / info.pixel_shape[1],
        "colours": {
            "in_words": in_words(tags),
            "interop_id": interop_id(tags),
            "primaries": tags.primaries,
            "transfer": tags.transfer,
        },
        "movie": NAME if config.movie else None,
        "images": config.images,
        "contents": list(config.contents) if config.images != "off" else [],
        "mattes": mattes_written(layers.mattes.names, config.contents)
        if config.images != "off"
        else [],
        "people": {
            person: plan.cast.get(track, "") for track, person in layers.mattes.people.items()
        },
        "provenance": seal.describe(),
    }
