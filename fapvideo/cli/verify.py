"""`fapvideo verify`: what a file says about itself, and whether that is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fapvideo.cli import options, output

if TYPE_CHECKING:
    from fapvideo.trust.verify import Verification

STATES = {
    "whole": "whole: nothing was changed since it was signed",
    "broken": "BROKEN: the file or its account was changed after it was signed",
    "unsigned": "none: no signature was found",
}


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A video.", show_default=False)],
    anchors: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Certificates whose signers are to be trusted."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Say who signed a file, whether it is whole, and what it says about AI.

    Exit code 0: signed and whole. 11: the credentials are broken. 12: there are none.
    """
    from fapvideo.trust.verify import verify_file

    found = verify_file(file, anchors)
    if as_json:
        output.print_json(asdict(found))
    else:
        output.print_table("", ("", ""), _rows(found))
    found.check()


def _rows(found: Verification) -> Iterator[tuple[str, str]]:
    yield "file", found.file
    yield "credentials", STATES[found.state]
    if found.state != "unsigned":
        vouched = "vouched for by the given certificates" if found.trusted else (
            "nobody was asked to vouch for this name: it is what the signer wrote"
        )  # fmt: skip
        yield "signed by", f"{found.signer or 'unknown'} ({vouched})"
        yield "made with", found.generator
    if found.credentials and found.credentials != found.file:
        yield "lie in", found.credentials
    if found.problems:
        yield "problems", ", ".join(found.problems)
    if found.source_types:
        yield "signed as", ", ".join(found.source_types)
    if found.stated:
        yield "tagged as (unsigned)", ", ".join(found.stated.values())
    yield from _run_rows(found.run)
    for one in found.ingredients:
        state = "whole" if one["whole"] else "broken"
        yield "made from", f"{one['title']} ({state} credentials)" if one["signed"] else (
            f"{one['title']} (without credentials)"
        )  # fmt: skip
    yield "report", found.report or "no report of this very file in its folder"


def _run_rows(run: Any) -> Iterator[tuple[str, str]]:
    """Yield what this program's own account says."""
    if not run:
        return
    yield "parts changed", ", ".join(run.get("parts", ())) or "none"
    bundle = run.get("bundle", {})
    yield "bundle", f"{bundle.get('name', '')}: {'; '.join(bundle.get('licences', ()))}"
    label = run.get("label") or {}
    if label:
        yield "visible label", f"{label.get('text')!r} in every frame"
    consent = run.get("consent") or {}
    if consent:
        who = ", ".join(consent.get("who", ()))
        yield "consent", f"{who}, held by {consent.get('by')}, until {consent.get('until')}"
    else:
        yield "consent", "none on record"
