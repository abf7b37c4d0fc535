"""`fapvideo bench`: how fast a preset is on this machine, by stage, and beside its floors."""

from __future__ import annotations

import datetime
import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import fapvideo
from fapvideo.cli import options, output
from fapvideo.errors import PresetError, VideoWriteError
from fapvideo.ops.files import write_text

if TYPE_CHECKING:
    from fapvideo.config.schema import RunPreset

Clip = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CLIP]", help="With one face. Default: the example.", show_default=False
    ),
]
Sizes = Annotated[
    str, typer.Option("--size", metavar="A,B,..", help="Of the pictures: 720p, or 640x480.")
]
Faces = Annotated[str, typer.Option(metavar="A,B,..", help="How many side by side.")]
Frames = Annotated[str, typer.Option(metavar="A,B,..", help="Length of the clips.")]
BundleName = Annotated[
    str | None, typer.Option("--bundle", metavar="NAME|DIR", help="Instead of the preset's.")
]
Runtime = Annotated[
    str | None, typer.Option(metavar="torch|onnxruntime", help="Instead of the preset's.")
]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="The bundle's networks without its files.")
]
Out = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write all of it as JSON, too.")
]


def bench(
    clip: Clip = None,
    preset: options.Preset = "brand_avatar",
    settings: options.Settings = [],  # noqa: B006  typer copies it
    bundle: BundleName = None,
    runtime: Runtime = None,
    random_weights: RandomWeights = False,
    sizes: Sizes = "640x480",
    faces: Faces = "1",
    frames: Frames = "100",
    out: Out = None,
    device: options.Device = "auto",
) -> None:
    """Measure how fast clips of given sizes, lengths and numbers of faces are swapped here.

    Milliseconds are processor time a frame in one thread, so that other programs do not change
    them; frames a second are wall time with all threads. `bare` is decoding and encoding alone.

    Example: fapvideo bench --size 360p,720p --faces 1,2
    """
    overrides = options.collect_overrides(settings)
    if bundle:
        overrides["bundle"] = bundle
    if runtime:
        overrides["denoise.runtime"] = runtime
    resolved = fapvideo.load_preset(preset, overrides)
    if out is not None and not out.parent.is_dir():
        raise VideoWriteError(f"folder not found: {out.parent}")
    wanted = [
        (size, number, length)
        for length in _numbers(frames, "--frames")
        for size in map(_size, sizes.split(","))
        for number in _numbers(faces, "--faces")
    ]
    from fapvideo.config.evaluation import examples_root
    from fapvideo.evaluation.speed.machine import machine_rates
    from fapvideo.evaluation.speed.measure import Case, bench
    from fapvideo.ops.precision import resolve_device

    path = clip or examples_root() / "talking_portrait.mp4"
    rates = machine_rates(resolve_device(device))
    output.print_text(", ".join(f"{key} {_plain(value)}" for key, value in rates.items()))
    cases = [Case(path, *what) for what in wanted]
    found = bench(cases, resolved, device, random_weights=random_weights, told=_tell)
    if found["growth_ms"]:
        terms = ", ".join(f"{name} {value}" for name, value in found["growth_ms"].items())
        output.print_text(f"processor time in ms grows by: {terms}")
    if out is not None:
        _write(out, resolved, rates, found)


def _write(out: Path, preset: RunPreset, rates: dict[str, Any], found: dict[str, Any]) -> None:
    """Write what was found, and how, as JSON.

    Raises:
        VideoWriteError: it cannot be written.
    """
    from fapvideo.evaluation.report.benchmark import commit

    told = {
        "what": f"Preset {preset.name}, bundle {preset.bundle}: processor time by stage in"
        " one thread (ms a frame), frames a second in wall time with all threads; `bare` is"
        " decoding and encoding of the same frames by PyAV alone.",
        "command": shlex.join(["fapvideo", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": rates,
        **found,
    }
    try:
        write_text(out, json.dumps(told, indent=1) + "\n")
    except OSError as error:
        raise VideoWriteError(f"cannot write {out}: {error.strerror or error}") from None


def _tell(row: dict[str, Any]) -> None:
    """Print what one case took."""
    width, height = row["size"]
    title = f"{width}x{height}, {row['faces']} face(s), {row['frames']} frames"
    stages = {**row["cpu_ms_a_frame"], "in all": row["cpu_ms_in_all"], "bare": row["cpu_ms_bare"]}
    output.print_table(title, ("ms a frame", *stages), [("", *stages.values())])
    output.print_text(
        f"{row['fps']} frames a second (bare {row['fps_bare']}), "
        f"{row['wall_to_slowest_stage']} times the slowest stage; {row['peak_rss_mib']} MiB"
    )


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {one}" for key, one in value.items())
    return str(value)


def _numbers(text: str, option: str) -> list[int]:
    """Read `1,2`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 100_000 for part in parts):
        raise PresetError(f"{option} {text!r}: expected whole numbers, as in {option} 1,2")
    return [int(part) for part in parts]


def _size(text: str) -> tuple[int, int]:
    """Read `720p` as 1280x720, and `640x480`; even numbers, as 4:2:0 wants them."""
    lines, exact = re.fullmatch(r"(\d+)p", text.strip()), re.fullmatch(r"(\d+)x(\d+)", text.strip())
    if lines:
        height = int(lines[1])
        width = 2 * round(height * 8 / 9)
    elif exact:
        width, height = int(exact[1]), int(exact[2])
    else:
        width = height = 0
    if not (64 <= width <= 16384 and 64 <= height <= 16384) or width % 2 or height % 2:
        raise PresetError(f"--size {text!r}: expected even sizes from 64 on, as 720p or 640x480")
    return width, height
