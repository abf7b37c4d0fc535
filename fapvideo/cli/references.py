"""`fapvideo references`: which photos serve best."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import fapvideo
from fapvideo.cli import options, output
from fapvideo.parts import PARTS, TRAINED

if TYPE_CHECKING:
    from fapvideo.run.ranking import Ranking

app = typer.Typer(help="Judge photos as references.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `rank` a command of its own: a group of one would swallow its name."""


@app.command()
def rank(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTOS...", help="Files, and folders of them.", show_default=False),
    ],
    clip: Annotated[
        Path | None,
        typer.Option(metavar="IN", help="The video they are for.", show_default=False),
    ] = None,
    part: Annotated[
        list[str], typer.Option(help=f"{', '.join(PARTS)}; repeatable.", show_default=False)
    ] = [],  # noqa: B006  typer copies it
    preset: options.Preset = "brand_avatar",
    settings: options.Settings = [],  # noqa: B006
    as_json: options.Json = False,
) -> None:
    """Say which of the photos serves best for which part, and what speaks against each."""
    resolved = fapvideo.load_preset(preset, options.collect_overrides(settings))
    ranking = fapvideo.rank_references(photos, clip, parts=part or TRAINED, preset=resolved)
    if as_json:
        output.print_json(asdict(ranking))
    else:
        _print(ranking)


def _print(ranking: Ranking) -> None:
    for part, rows in ranking.parts.items():
        shown = (
            (number, row.path, f"{row.score:.2f}", "yes" if row.fits else "left out",
             "; ".join(row.reasons))
            for number, row in enumerate(rows, 1)
        )  # fmt: skip
        output.print_table(
            f"\n{part}", ("", "photo", "score", "fits", "what speaks against it"), shown
        )
    for path, reason in ranking.unusable.items():
        output.print_text(f"unusable: {path}: {reason}")
    for note in ranking.notes:
        output.print_text(f"note: {note}")
