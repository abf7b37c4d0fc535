"""`fapvideo presets`: list, show, copy, check, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import fapvideo
from fapvideo.cli import options, output

app = typer.Typer(help="List, show, copy and check presets.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME|FILE", show_default=False)]


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List the presets that come with the package."""
    entries = fapvideo.list_presets()
    if as_json:
        output.print_json([entry._asdict() for entry in entries])
    else:
        rows = ((entry.name, entry.description) for entry in entries)
        output.print_table("", ("preset", "what it does"), rows)


@app.command()
def show(name: Name, settings: options.Settings = []) -> None:  # noqa: B006  typer copies it
    """Print a preset with every value, defaults included, as TOML."""
    from fapvideo.config import dump_preset

    output.print_text(dump_preset(fapvideo.load_preset(name, options.collect_overrides(settings))))


@app.command()
def copy(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", show_default=False)],
    overwrite: options.Overwrite = False,
) -> None:
    """Copy a packaged preset, comments and all, to change it."""
    from fapvideo.config import copy_preset

    output.print_text(str(copy_preset(name, target, overwrite=overwrite)))


@app.command()
def check(
    names: Annotated[list[str], typer.Argument(metavar="NAME|FILE...", show_default=False)],
    settings: options.Settings = [],  # noqa: B006  typer copies it
) -> None:
    """Say everything that is wrong with a preset; exit code 2 if anything is."""
    for name in names:
        fapvideo.load_preset(name, options.collect_overrides(settings))
        output.print_text(f"{name}: ok")


@app.command()
def schema(kind: Annotated[Literal["run", "train", "eval"], typer.Argument()] = "run") -> None:
    """Print the JSON schema of presets, by which editors complete and check them."""
    from fapvideo.config.presets import presets_root

    output.print_text((presets_root() / "schema" / f"{kind}.json").read_text("utf-8"))
