"""`fapvideo scan`: where a clip will be hard, before it is rendered."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import fapvideo
from fapvideo.cli import options, output
from fapvideo.errors import VideoWriteError
from fapvideo.ops.files import write_text

if TYPE_CHECKING:
    from fapvideo.run.scan import Scan


def scan(
    input_path: options.Input,
    preset: options.Preset = "brand_avatar",
    person: options.People = [],  # noqa: B006  typer copies it
    settings: options.Settings = [],  # noqa: B006
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all of it as JSON, too.")
    ] = None,
) -> None:
    """Show where a clip will be hard to swap and why, with a setting for each stretch.

    It takes a few looks a second, and about a tenth of the time of a run.
    """
    resolved = fapvideo.load_preset(preset, options.collect_overrides(settings, people=person))
    if json_path is not None and not json_path.parent.is_dir():
        raise VideoWriteError(f"folder not found: {json_path.parent}")
    from fapvideo.progress import Ticker
    from fapvideo.run import scan as scanning
    from fapvideo.run.sources import open_source

    source = open_source(input_path, resolved.video)
    with output.show_progress() as progress:
        ticker = Ticker(progress, None)
        ticker.begin("scan", math.ceil(source.expected / scanning.stride(source)))
        found = scanning.scan(source, resolved, ticker.advance)
    if json_path is not None:
        try:
            write_text(json_path, json.dumps(found.to_dict(), indent=2) + "\n")
        except OSError as error:
            message = f"cannot write {json_path}: {error.strerror or error}"
            raise VideoWriteError(message) from None
    _print(found)


def _print(found: Scan) -> None:
    """Write the stretches as a table, then the suggestions as a preset has them."""
    from fapvideo.progress import clock
    from fapvideo.run.scan import in_words

    rows = [
        (
            f"{clock(span.start_s)}-{clock(span.end_s)}",
            f"{span.track} ({span.person})",
            ", ".join(f"{code} {count}" for code, count in span.codes.items()),
            in_words(span.codes),
            f"{span.advice.words}{f': --set {span.advice.key}' if span.advice.key else ''}",
        )
        for span in found.spans
    ]
    if rows:
        output.print_table("", ("when", "track (person)", "looks", "why", "what may help"), rows)
    elif found.faces:
        output.print_text("nothing hard was seen")
    output.print_text(
        f"{found.looks} looks, one every {found.step_s:.2f} s (every {found.every}. frame):"
        " shorter difficulties may be missed"
    )
    snippet = found.toml()
    if snippet:
        output.print_text(f"\nFor the preset:\n\n{snippet}")
    for warning in found.warnings:
        output.print_text(f"warning: {warning}")
