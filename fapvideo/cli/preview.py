"""`fapvideo preview`: a contact sheet, to judge a preset before a long run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fapvideo.cli import options, output
from fapvideo.cli.swapping import open_swapper
from fapvideo.errors import VideoWriteError
from fapvideo.ops.files import fitting_name, write_atomically

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def preview(
    input_path: options.Input,
    at: Annotated[
        str, typer.Option(metavar="TIME[,TIME..]", help="Which frames: 1.5,4,1:15.")
    ] = "0",
    output_path: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="SHEET", help="Default: IN with .preview.png."),
    ] = None,
    preset: options.Preset = "brand_avatar",
    reference: options.References = [],  # noqa: B006  typer copies it
    person: options.People = [],  # noqa: B006
    settings: options.Settings = [],  # noqa: B006
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Write a contact sheet: source, masks, guide and result, a column for each time."""
    times = tuple(options.parse_time(item) for item in at.split(","))
    target = output_path or _default_target(input_path)
    try:
        _check_target(target, overwrite)
    except OSError as error:
        raise VideoWriteError(f"{target}: {error.strerror or error}") from None
    overrides = options.collect_overrides(settings, reference, people=person)
    with open_swapper(preset, device, overrides) as swapper:
        sheet = swapper.preview(input_path, times)

    from PIL import Image  # not before it is needed: start-up time

    try:
        with write_atomically(target) as fresh:
            Image.fromarray(sheet).save(fresh, FORMATS[target.suffix.lower()])
    except OSError as error:
        raise VideoWriteError(f"cannot write {target}: {error.strerror or error}") from None
    output.print_text(str(target))


def _default_target(source: Path) -> Path:
    """Return where the sheet goes if nothing is said: beside the input."""
    if not source.name:  # `.` or `/`; it will be said that this is no video
        return source / "preview.png"
    return source.with_name(fitting_name(source.stem, ".preview.png"))


def _check_target(target: Path, overwrite: bool) -> None:
    """Find out before the work whether the sheet can be written."""
    if target.suffix.lower() not in FORMATS:
        raise VideoWriteError(
            f"a contact sheet cannot be written as {target.name}",
            hint=f"use one of {', '.join(FORMATS)}",
        )
    if not target.parent.is_dir():
        raise VideoWriteError(f"folder not found: {target.parent}")
    if target.exists() and not target.is_file():
        raise VideoWriteError(f"{target} is not a file", hint="name a file")
    if target.exists() and not overwrite:
        raise VideoWriteError(f"{target} already exists", hint="pass --overwrite, or another name")
