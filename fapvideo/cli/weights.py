"""`fapvideo weights`: which bundles there are, where, and whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fapvideo.cli import options, output
from fapvideo.config.bundle import MANIFEST_NAME, load_manifest
from fapvideo.errors import WeightsError

app = typer.Typer(help="List, find and verify model weights.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME|FOLDER", show_default=False)]


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List the bundles, and which of them are on this machine."""
    from fapvideo.weights.bundle import bundle_folder
    from fapvideo.weights.store import BUILT_IN, KNOWN

    found = []
    for name in (*BUILT_IN, *KNOWN):
        try:
            here, where = True, "built in code, for tests"
            if not name.startswith("tiny"):
                where = str(bundle_folder(name))
                here = (Path(where) / MANIFEST_NAME).is_file()
        except WeightsError as error:
            here, where = False, error.hint
        found.append({"name": name, "here": here, "where": where})
    if as_json:
        output.print_json(found)
    else:
        rows = ((item["name"], "yes" if item["here"] else "no", item["where"]) for item in found)
        output.print_table("", ("bundle", "here", "where"), rows)


@app.command()
def path(name: Name) -> None:
    """Print the folder of a bundle."""
    from fapvideo.weights.bundle import bundle_folder

    output.print_text(str(bundle_folder(name)))


@app.command()
def verify(name: Name = "embedded") -> None:
    """Check every file of a bundle against its SHA-256; exit code 7 if one is not right."""
    from fapvideo.weights.bundle import bundle_folder, verify_files

    folder = bundle_folder(name)
    manifest = load_manifest(folder)
    verify_files(folder, manifest)
    output.print_text(f"{name}: {len(manifest.files)} files are as they should be")
