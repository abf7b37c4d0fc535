"""`fapvideo doctor`: is this machine ready?"""

from __future__ import annotations

import typer

from fapvideo.cli import options, output

EXAMPLES = """
Try:
  fapvideo presets list
  fapvideo inspect talk.mp4
  fapvideo preview talk.mp4 --preset brand_avatar --at 1,2.5
  fapvideo run talk.mp4 --preset brand_avatar
"""


def doctor(as_json: options.Json = False) -> None:
    """Check this machine: versions, device, encoders, extras, folders. Exit code 1 if not ready."""
    from fapvideo.cli.checks import run_checks  # loads torch, OpenCV and PyAV

    checks = run_checks()
    ready = all(check.state != "fail" for check in checks)
    if as_json:
        output.print_json({"ready": ready, "checks": [check._asdict() for check in checks]})
    else:
        rows = ((check.state, check.name, check.found) for check in checks)
        output.print_table("", ("", "check", "found"), rows)
        for check in checks:
            if check.hint:
                output.print_text(f"{check.state}: {check.name}: {check.hint}")
        output.print_text(EXAMPLES if ready else "\nNot ready: see the lines above.")
    if not ready:
        raise typer.Exit(1)
