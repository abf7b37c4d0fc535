"""`fapvideo protect`: people who are left as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fapvideo.cli import options, output

app = typer.Typer(help="Keep a list of people who are never changed.", no_args_is_help=True)


@app.command()
def add(
    photos: Annotated[
        list[Path], typer.Argument(metavar="PHOTOS...", help="Of one person.", show_default=False)
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="What to call them.")],
) -> None:
    """Put a person on the list: what their face looks like, no picture."""
    from fapvideo.run.protecting import looks_of_photos
    from fapvideo.trust.protected import add_protected, list_file

    looks = looks_of_photos(photos)
    add_protected(name, looks)
    output.print_text(f"{name}: {len(looks)} photo(s), in {list_file()}")


@app.command("list")
def list_people(as_json: options.Json = False) -> None:
    """Show who is on the list."""
    from fapvideo.trust.protected import read_protected

    people = read_protected()
    if as_json:
        output.print_json([{"name": one.name, "photos": len(one.looks)} for one in people])
    else:
        output.print_table("", ("name", "photos"), [(one.name, len(one.looks)) for one in people])


@app.command()
def remove(name: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
    """Take a person off the list."""
    from fapvideo.trust.protected import remove_protected

    remove_protected(name)
    output.print_text(f"{name}: removed")
