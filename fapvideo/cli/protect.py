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
    from fapvideo.run.protecting import seen_in_photos
    from fapvideo.trust.protected import add_protected, list_file
    from fapvideo.trust.recognition import HINT, available

    seen = seen_in_photos(photos)
    add_protected(name, seen)
    output.print_text(f"{name}: {len(seen)} photo(s), in {list_file()}")
    if not available():
        output.print_warning(
            "the packaged network alone misses about half of people on photos of another day; "
            f"{HINT}, and add the photos again (docs/responsible-use.md)"
        )


@app.command("list")
def list_people(as_json: options.Json = False) -> None:
    """Show who is on the list."""
    from fapvideo.trust.protected import read_protected

    rows = [
        (one.name, len(one.photos), sum(photo.face is not None for photo in one.photos))
        for one in read_protected()
    ]
    if as_json:
        names = ("name", "photos", "recognised_by_identity")
        output.print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        output.print_table("", ("name", "photos", "seen by the extra identity"), rows)


@app.command()
def remove(name: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
    """Take a person off the list."""
    from fapvideo.trust.protected import remove_protected

    remove_protected(name)
    output.print_text(f"{name}: removed")
