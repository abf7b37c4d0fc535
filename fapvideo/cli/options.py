"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fapvideo.errors import PresetError
from fapvideo.parts import PARTS


def parse_time(text: str) -> float:
    """Read `75`, `1:15`, `1:15.5` or `1:02:03` as seconds."""
    fields = text.strip().split(":")
    if len(fields) > 3 or not all(re.fullmatch(r"\d+(\.\d*)?|\.\d+", field) for field in fields):
        raise typer.BadParameter(f"{text!r} is not a time: give seconds, or mm:ss.ms")
    if any("." in field for field in fields[:-1]) or any(float(f) >= 60 for f in fields[1:]):
        raise typer.BadParameter(f"{text!r} is not a time: minutes and seconds go from 0 to 59")
    seconds = 0.0
    for field in fields:
        seconds = seconds * 60 + float(field)
    return seconds


def parse_references(items: Sequence[str]) -> dict[str, list[str]]:
    """Read `["eyes=a.png", "eyes=b.png"]` as `{"references.eyes": ["a.png", "b.png"]}`.

    Raises:
        PresetError: an item is not PART=IMAGE.
    """
    overrides: dict[str, list[str]] = {}
    for item in items:
        part, equals, path = item.partition("=")
        if not (equals and part and path):
            raise PresetError(
                f"--reference {item!r}: expected PART=IMAGE",
                hint="for example: --reference eyes=her.png --reference mouth=him.png",
            )
        overrides.setdefault(f"references.{part}", []).append(path)
    return overrides


def collect_overrides(
    settings: Sequence[str] = (),
    references: Sequence[str] = (),
    start: float | None = None,
    end: float | None = None,
) -> dict[str, Any]:
    """Put `--set`, `--reference`, `--start` and `--end` together; the named options win."""
    from fapvideo.config.overrides import parse_overrides  # pydantic: not for `--help`

    times = {"video.start_s": start, "video.end_s": end}
    return {
        **parse_overrides(settings),
        **parse_references(references),
        **{key: value for key, value in times.items() if value is not None},
    }


Input = Annotated[Path, typer.Argument(metavar="IN", help="The video.", show_default=False)]
Preset = Annotated[
    str, typer.Option("--preset", "-p", metavar="NAME|FILE", help="A preset's name or file.")
]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the preset; repeatable."),
]
References = Annotated[
    list[str],
    typer.Option(
        "--reference",
        "-r",
        metavar="PART=IMAGE",
        help=f"Take a part ({', '.join(PARTS)}) from this image; repeatable.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Progress as JSON lines on stderr, the report on stdout.")
]
