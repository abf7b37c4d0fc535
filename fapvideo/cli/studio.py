"""`fapvideo studio`: pages for people who would rather look than type."""

from __future__ import annotations

import sys
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

import fapvideo
from fapvideo.cli import options, output
from fapvideo.cli.swapping import stop_on_signal
from fapvideo.errors import FapVideoError, VideoWriteError


def studio(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Of clips and photos; what is made goes there.")
    ] = Path(),
    host: Annotated[
        str, typer.Option(help="Where to answer; another machine can reach it then.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8760,
    preset: options.Preset = "brand_avatar",
    device: options.Device = "auto",
    no_open: Annotated[bool, typer.Option("--no-open", help="Open no browser.")] = False,
) -> None:
    """Cast, look and render in a web page; nothing leaves the machine.

    Example: fapvideo studio my_clips
    """
    try:
        from fapvideo.studio.server import Serving, Studio

        fapvideo.load_preset(preset)
        if not folder.is_dir():
            raise VideoWriteError(f"folder not found: {folder}", hint="make it first")
        opened = Studio(folder, preset, device)
        serving = Serving(opened, host, port)
    except ModuleNotFoundError as error:
        raise FapVideoError(
            f"the studio needs {error.name}", hint='pip install "fapvideo[studio]"'
        ) from None
    with stop_on_signal() as stop:
        try:
            address = serving.start()
        except OSError as error:
            raise FapVideoError(str(error), hint="--port 0 takes any port that is free") from None
        output.print_text(f"studio: {address}\nCtrl-C ends it; renders can be resumed.")
        sys.stdout.flush()  # whoever reads it through a pipe waits for the address
        if not no_open:
            webbrowser.open(address)
        while serving.alive and not stop():
            time.sleep(0.2)
        serving.close()
