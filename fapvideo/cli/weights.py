"""`fapvideo weights`: which bundles there are, and whether they are whole; get, remove them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fapvideo.cli import options, output
from fapvideo.errors import WeightsError

if TYPE_CHECKING:
    from fapvideo.weights.importer import Imported

app = typer.Typer(help="List, fetch, import, verify and remove weights.", no_args_is_help=True)

NameOrFolder = Annotated[str, typer.Argument(metavar="NAME|FOLDER", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List the bundles that can be had, with their licences, and which are on this machine."""
    from fapvideo.weights.store import list_bundles

    bundles = list_bundles()
    if as_json:
        output.print_json([asdict(bundle) for bundle in bundles])
        return
    rows = [("embedded", "in the package", "the default: small, runs on a CPU")]
    for bundle in bundles:
        here = f"{bundle.size / 2**20:.0f} MiB" if bundle.installed else "no"
        rows.append((bundle.name, here, bundle.title))
    output.print_table("", ("bundle", "here", "what it is"), rows)
    for bundle in bundles:
        lines = "".join(f"\n  {licence}" for licence in bundle.licences)
        output.print_text(f"\nLicences of {bundle.name}:{lines}")


@app.command()
def path(name: NameOrFolder) -> None:
    """Print the folder of a bundle."""
    from fapvideo.weights.bundle import bundle_folder

    output.print_text(str(bundle_folder(name)))


@app.command()
def verify(name: NameOrFolder = "embedded", as_json: options.Json = False) -> None:
    """Check every file of a bundle against its SHA-256; exit code 7 if one is not right."""
    from fapvideo.weights.bundle import bundle_folder
    from fapvideo.weights.store import verify_bundle

    with output.show_progress(of_bytes=True) as progress:
        checks = verify_bundle(bundle_folder(name), progress)
    if as_json:
        output.print_json([asdict(check) for check in checks])
    else:
        rows = ((check.problem or "ok", check.path.name, check.licence) for check in checks)
        output.print_table("", ("", "file", "licence"), rows)
    bad = [check.path.name for check in checks if check.problem]
    if bad:
        raise WeightsError(
            f"bundle {name}: {len(bad)} of {len(checks)} files are not right: {', '.join(bad)}",
            hint="remove the bundle, then fetch or import it again",
        )


@app.command()
def fetch(name: Name, yes: Yes = False) -> None:
    """Download a bundle; what broke off goes on where it was. Shows the licences first."""
    from fapvideo.weights.fetch import fetch_bundle

    _show_licences(name)
    agreed = yes or _confirm("Do you accept them?")
    with output.show_progress(of_bytes=True) as progress:
        imported = fetch_bundle(name, accept_licences=agreed, progress=progress)
    _print_imported(name, imported)


@app.command("import")
def import_(
    name: Name, source: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", show_default=False)]
) -> None:
    """Take weights from files that you have; they are recognised by their contents."""
    from fapvideo.weights.importer import import_bundle

    _show_licences(name)
    with output.show_progress(of_bytes=True) as progress:
        imported = import_bundle(name, source, progress)
    _print_imported(name, imported)


@app.command()
def remove(name: Name, yes: Yes = False) -> None:
    """Delete a bundle from this machine, and what was downloaded of it."""
    from fapvideo.weights.store import remove_bundle

    if not (yes or _confirm(f"Delete bundle {name}?")):
        raise WeightsError(f"bundle {name} was not removed", hint="say yes, or pass --yes")
    output.print_text(f"{remove_bundle(name) / 2**20:.0f} MiB freed")


def _show_licences(name: str) -> None:
    """Print the licences of a bundle's published files."""
    from fapvideo.weights.known import known_bundle

    licences = "".join(f"\n  {licence}" for licence in known_bundle(name).licences)
    typer.echo(f"Licences of {name}:{licences}", err=True)


def _confirm(question: str) -> bool:
    """Ask, where somebody can answer; silence is no."""
    return sys.stdin.isatty() and typer.confirm(question, err=True)


def _print_imported(name: str, imported: Imported) -> None:
    """Say what is there, and what is still missing."""
    for found in imported.found:
        output.print_text(f"found: {found}")
    if imported.missing:
        output.print_text(f"still missing: {', '.join(imported.missing)}")
    else:
        output.print_text(f"bundle {name} is ready: {imported.folder}")
