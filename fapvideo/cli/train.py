"""`fapvideo train`: a bundle of one's own."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import fapvideo
from fapvideo.cli import options, output
from fapvideo.cli.swapping import stop_on_signal
from fapvideo.errors import PresetError, ReferenceImageError

if TYPE_CHECKING:
    from fapvideo.config.train import TrainPreset
    from fapvideo.training.train import TrainReport

STEP_S = 90.0
"""A step may take so long on a CPU. It is waited for, and what is trained is saved; a second signal
does not wait."""
BRAND_FACE = Path(fapvideo.__file__).parent / "assets" / "brand_face.png"

Preset = Annotated[
    str,
    typer.Option(
        "--preset", "-p", metavar="NAME|FILE", help="embedded, finetune, debug or a file."
    ),
]
Data = Annotated[
    list[Path],
    typer.Option(
        metavar="DIR",
        help="Folder of face photos and videos, subfolders are people; repeatable."
        " Default: the preset's public sets, downloaded once.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="The bundle. Default: runs/PRESET."),
]
MaxMinutes = Annotated[
    float | None,
    typer.Option(min=0.0, metavar="M", help="Stop then, with a bundle of what is trained."),
]
Fresh = Annotated[
    bool, typer.Option("--fresh/--resume", help="Begin anew, or go on with what DIR.work holds.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that make samples. Default: one a core.")
]


def train(
    preset: Preset = "embedded",
    data: Data = [],  # noqa: B006  typer copies it
    output_path: Output = None,
    max_minutes: MaxMinutes = None,
    fresh: Fresh = False,
    settings: options.Settings = [],  # noqa: B006
    workers: Workers = None,
    device: options.Device = "auto",
    as_json: options.JsonLines = False,
) -> None:
    """Train a bundle for `fapvideo run --set bundle=DIR`; stopped, the same command goes on.

    Example: fapvideo train --data photos/ --output mine --max-minutes 120
    """
    from fapvideo.config.train import load_train_preset

    resolved = load_train_preset(preset, options.collect_overrides(settings))
    target = output_path or Path("runs") / resolved.name
    from fapvideo.ops.precision import resolve_device
    from fapvideo.training.learning.processes import leads
    from fapvideo.training.train import Hooks  # torch: only once everything else is right
    from fapvideo.training.train import train as train_bundle

    folders = data or packaged_photos(resolved, target)
    shown = output.show_progress(as_json=as_json) if leads() else nullcontext(lambda progress: None)
    with stop_on_signal(STEP_S) as stop, shown as progress:
        report = train_bundle(
            resolved,
            folders,
            target,
            max_minutes=max_minutes,
            fresh=fresh,
            workers=workers or _cores(),
            device=resolve_device(device),
            hooks=Hooks(progress, stop),
        )
    if not leads():
        return
    if as_json:
        output.print_json(asdict(report))
    else:
        _print_summary(report)


def _cores() -> int:
    """Return how many cores this process may use; not every system says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def packaged_photos(preset: TrainPreset, target: Path) -> list[Path]:
    """Return a folder with moved copies of the packaged face, where the preset names no data.

    Raises:
        PresetError: the package has no face, or the preset is for one's own.
    """
    if preset.data.sets:
        return []
    if preset.data.one_person:
        raise PresetError(
            f"preset {preset.name} is for photos or videos of one person, and there are none",
            hint="give the folder they are in: --data DIR",
        )
    if not BRAND_FACE.is_file():
        raise PresetError(
            f"preset {preset.name} names no photos, and this package has no {BRAND_FACE.name}",
            hint="give a folder of photos: --data DIR",
        )
    import cv2  # heavy, and rarely needed here

    from fapvideo.reference.images import read_image
    from fapvideo.synth.motion import Motion
    from fapvideo.synth.portrait import AnimatedPortrait
    from fapvideo.training.work import open_work

    motions = (
        Motion(),
        Motion(mouth_open=0.12),
        Motion(smile=0.8, brows=0.5),
        Motion(blink=0.7),
        Motion(yaw_deg=10.0, zoom=1.1),
        Motion(yaw_deg=-10.0, mouth_open=0.2),
        Motion(pitch_deg=6.0, smile=-0.5),
        Motion(roll_deg=8.0, brows=1.0),
    )
    folder = open_work(target) / "photos"
    if len(list(folder.glob("*.png"))) < len(motions):
        folder.mkdir(exist_ok=True)
        portrait = AnimatedPortrait(read_image(BRAND_FACE)[0], (256, 256))
        for number, motion in enumerate(motions):
            picture, _ = portrait.draw(motion)
            if not cv2.imwrite(str(folder / f"{number:02d}.png"), picture[..., ::-1]):
                raise ReferenceImageError(f"{folder} cannot be written")
    return [folder]


def _gain(report: TrainReport, key: str, form: str) -> str:
    """Return a metric before and after, and of the guide alone and of no injection."""
    after = format(report.metrics[key], form)
    if key in report.before:
        after = f"{report.before[key]:{form}} -> {after}"
    others = (("guide", f"guide_{key}"), ("without injection", f"{key}_no_injection"))
    shown = [f"{name} {report.metrics[k]:{form}}" for name, k in others if k in report.metrics]
    return f"{after} ({', '.join(shown)})" if shown else after


def _print_summary(report: TrainReport) -> None:
    """Write what a run did as a table, and how to go on."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in report.dropped.items())
    people = f" of {report.identities} people" if report.identities else ""
    rows: list[tuple[str, object]] = [
        ("bundle", report.output or "none yet: time was up before the first step"),
        ("working files", report.work),
        ("faces", f"{report.faces}{people}, {report.heldout} held out"),
        ("files left out", dropped or "none"),
        ("steps", f"{report.step} of {report.steps}, {report.minutes:.1f} minutes"),
    ]
    for name, key, form in (("PSNR, dB", "psnr", ".2f"), ("LPIPS", "lpips", ".4f")):
        if key in report.metrics:
            rows.append((f"held-out {name}", _gain(report, key, form)))
    output.print_table("", ("", ""), rows)
    if not report.finished:
        output.print_text("\nNot finished: the same command goes on.")
    elif report.output:
        output.print_text(f"\nUse it: fapvideo run IN --set bundle={report.output}")
