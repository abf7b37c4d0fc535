"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

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
    """Read `["eyes=a.png", "eyes=b.png"]` as `{"eyes": ["a.png", "b.png"]}`.

    Raises:
        PresetError: an item is not PART=IMAGE.
    """
    table: dict[str, list[str]] = {}
    for item in items:
        part, equals, path = item.partition("=")
        if not (equals and part and path):
            raise PresetError(
                f"--reference {item!r}: expected PART=IMAGE",
                hint="for example: --reference eyes=her.png --reference mouth=him.png",
            )
        table.setdefault(part, []).append(path)
    return table


PERSON_HINT = (
    "WHO[:WHAT,..]: WHO is a photo, left=N, track=N, largest or everyone_else, WHAT is PART=IMAGE,"
    " strength=0.5, PART.strength=0.5, PART.expression=1.2, seed=7 or keep; for example"
    " --person anna.png:eyes=her.png,mouth=him.png"
)
_WHAT = r"(?=[A-Za-z_]+(?:\.(?:strength|expression))?=|keep(?:,|$))"
"""What comes after a colon or comma that separates, and is no part of a path (`C:\\anna.png`)."""


def parse_people(items: Sequence[str]) -> list[dict[str, Any]]:
    """Read `["anna.png:eyes=her.png", "left=1:keep"]` as entries of `[[people]]`.

    Raises:
        PresetError: an item is not WHO[:WHAT,..].
    """
    return [_parse_person(item) for item in items]


def _parse_person(item: str) -> dict[str, Any]:
    who, *rest = re.split(f":{_WHAT}", item, maxsplit=1)
    entry: dict[str, Any] = {"who": _parse_who(who.strip(), item)}
    for what in re.split(f",{_WHAT}", rest[0]) if rest else ():
        name, _, value = what.partition("=")
        if name == "keep":
            entry["keep"] = True
        elif name in ("strength", "seed"):
            entry[name] = _number(value, item)
        elif "." in name:
            part, _, key = name.partition(".")
            entry.setdefault("parts", {}).setdefault(part, {})[key] = _number(value, item)
        elif value:
            entry.setdefault("references", {}).setdefault(name, []).append(value)
        else:
            raise _no_person(item)
    return entry


def _parse_who(text: str, item: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    if text in ("largest", "everyone_else"):
        return {text: True}
    if equals and name in ("left", "track"):
        return {name: _number(value, item)}
    photo = value if equals and name == "photo" else text
    # A colon that does not separate is a drive's, or somebody's mistake.
    if not photo or (":" in photo[2:] and not Path(photo).is_file()):
        raise _no_person(item)
    return {"photo": photo}


def _number(text: str, item: str) -> float:
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise _no_person(item) from None


def _no_person(item: str) -> PresetError:
    return PresetError(f"--person {item!r}: expected WHO[:WHAT,..]", hint=PERSON_HINT)


def collect_overrides(
    settings: Sequence[str] = (),
    references: Sequence[str] = (),
    start: float | None = None,
    end: float | None = None,
    people: Sequence[str] = (),
) -> dict[str, Any]:
    """Put `--set`, `--reference`, `--person`, `--start` and `--end` together; they win over --set.

    `--reference` names all parts that are swapped, `--person` everybody who is meant: they take the
    place of the preset's tables.
    """
    from fapvideo.config.overrides import parse_overrides  # pydantic: not for `--help`

    times = {"video.start_s": start, "video.end_s": end}
    given = parse_overrides(settings)
    if references:
        given = {key: value for key, value in given.items() if not key.startswith("references.")}
        given["references"] = parse_references(references)
    if people:
        given["people"] = parse_people(people)
    return {
        **given,
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
        help=f"Take a part ({', '.join(PARTS)}) from this image; repeatable."
        " Parts that are not named stay.",
    ),
]
People = Annotated[
    list[str],
    typer.Option(
        "--person",
        metavar="WHO[:WHAT,..]",
        help="anna.png:eyes=her.png or left=1, track=3, largest, everyone_else; also"
        " strength=0.5, eyes.strength=0.5, mouth.expression=1.2, seed=7, keep. Repeatable.",
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where it is computed: here, or on a Ray cluster (docs/recipes/ray.md)."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
KeepWork = Annotated[
    bool, typer.Option("--keep-work", help="Leave the folder of the work, .OUT.fapvideo.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="OUT", help="Default: IN with .swapped before its suffix."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Progress as JSON lines on stderr, the report on stdout.")
]
