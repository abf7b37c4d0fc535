"""`fapvideo inspect`: what is in a video, before any swapping."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fapvideo.cli import options, output
from fapvideo.cli.swapping import open_swapper
from fapvideo.errors import VideoWriteError


def inspect(
    input_path: options.Input,
    preset: options.Preset = "brand_avatar",
    person: options.People = [],  # noqa: B006  typer copies it
    settings: options.Settings = [],  # noqa: B006
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FACES.png", help="Write a picture of everybody; replaced if there."),
    ] = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Show a video's streams, faces and tracks, and what may go wrong with it."""
    if sheet is not None:
        _check_sheet(sheet)
    with open_swapper(
        preset, device, options.collect_overrides(settings, people=person)
    ) as swapper:
        found = swapper.inspect(input_path, sheet=sheet)
    if as_json:
        output.print_json(found)
        return
    video = dict(found["video"])
    streams = video.pop("streams", ())
    rows = ((name, _shown(value)) for name, value in video.items())
    output.print_table("Video", ("", ""), (row for row in rows if row[1] not in ("", "()")))
    tables = {"Streams": streams, "Faces": found["faces"], "Tracks": found["tracks"]}
    for title, items in tables.items():
        if items:
            values = (item.values() for item in items)
            output.print_table(f"\n{title}", items[0].keys(), values)
        else:
            output.print_text(f"\n{title}: none")
    for warning in found["warnings"]:
        output.print_text(f"warning: {warning}")
    if sheet is not None:
        output.print_text(str(sheet))


def _check_sheet(sheet: Path) -> None:
    """Find out before the work whether the sheet can be written."""
    if sheet.suffix.lower() != ".png":
        raise VideoWriteError(f"a sheet is a PNG: {sheet.name} does not end with .png")
    if not sheet.parent.is_dir():
        raise VideoWriteError(f"folder not found: {sheet.parent}")


def _shown(value: Any) -> str:
    """Return a table in one line, without what is empty; anything else as it is."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner}" for name, inner in value.items() if inner != "")
    return str(value)
