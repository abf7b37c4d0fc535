"""The `fapvideo` program: commands, and what happens to errors."""

from __future__ import annotations

import os
import platform
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

import fapvideo
from fapvideo.cli import doctor, output, presets, protect, references, signals, weights
from fapvideo.cli.batch import batch
from fapvideo.cli.bench import bench
from fapvideo.cli.eval import evaluate
from fapvideo.cli.filter import filter_stream
from fapvideo.cli.inspect_video import inspect
from fapvideo.cli.jobs import jobs, join, plan, segment
from fapvideo.cli.preview import preview
from fapvideo.cli.run import run
from fapvideo.cli.scan import scan
from fapvideo.cli.studio import studio
from fapvideo.cli.train import train
from fapvideo.cli.verify import verify
from fapvideo.errors import Cancelled, FapVideoError

app = typer.Typer(
    name="fapvideo",
    help="Swap facial parts in a video, each part from its own reference images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command("filter")(filter_stream)
app.command()(plan)
app.command()(segment)
app.command()(jobs)
app.command()(join)
app.command()(batch)
app.command()(preview)
app.command()(inspect)
app.command()(scan)
app.command()(studio)
app.command()(train)
app.command("eval")(evaluate)
app.command()(bench)
app.command()(verify)
app.add_typer(presets.app, name="presets")
app.add_typer(references.app, name="references")
app.add_typer(weights.app, name="weights")
app.add_typer(protect.app, name="protect")
app.command()(doctor.doctor)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with the code of what happened."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Read here too, because they decide how errors look, those of parsing included.
    debug, as_json = "--debug" in arguments, "--json" in arguments
    if not debug:
        _quieten_libraries()
    output.set_up_streams()
    output.set_up_logging(as_json=as_json, debug=debug)
    listener = signals.current() or signals.listen()
    listener.phase = "working"
    try:
        code = run_program([a for a in arguments if a != "--debug"], debug=debug, as_json=as_json)
    except KeyboardInterrupt:  # a signal at the very last moment
        _report(Cancelled(signals.STOPPED), as_json=as_json, debug=debug)
        code = listener.exit_code
    listener.end()
    sys.exit(_flushed(code))


def _flushed(code: int) -> int:
    """Write out what is still held back, so that Python has nothing to complain of at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            output.give_up(stream)
            if not isinstance(error, BrokenPipeError) and stream is sys.stdout:
                output.print_error(f"standard output cannot be written: {error}")
                code = code or 1
    return code


def run_program(arguments: Sequence[str], *, debug: bool = False, as_json: bool = False) -> int:
    """Run one command; print any error; return the exit code."""
    try:
        code = int(app(arguments, prog_name="fapvideo", standalone_mode=False) or 0)
        if code == Cancelled.exit_code:  # what some versions of typer make of Ctrl-C
            raise KeyboardInterrupt
        return code
    except (KeyboardInterrupt, typer.Abort):
        return _report(Cancelled(signals.STOPPED), as_json=as_json, debug=debug)
    except BrokenPipeError:  # the reader of stdout (`| head`) has gone: no reason to complain
        output.give_up(sys.stdout)
        return 1
    except Exception as error:
        return _report(error, as_json=as_json, debug=debug)


def _report(error: Exception, *, as_json: bool, debug: bool) -> int:
    """Print what went wrong and return the exit code it has."""
    listener = signals.current()
    if listener is not None:
        listener.end()
    if debug:
        traceback.print_exception(error)
    stopped_by = listener.number if listener is not None else 0
    broken_off = listener is not None and listener.interrupted
    if stopped_by and (broken_off or not isinstance(error, FapVideoError)):
        # Code that is broken off may fail in any way: an import, a terminal that has gone, a
        # library that takes the interruption for a fault of the file it reads.
        error = Cancelled(signals.STOPPED)
    if isinstance(error, FapVideoError):
        message, hint, code = str(error), error.hint, error.exit_code
        if stopped_by and isinstance(error, Cancelled):
            code = 128 + stopped_by
    elif hasattr(error, "format_message"):  # typer's usage errors, of whatever version
        message, hint, code = error.format_message(), "`fapvideo --help` shows the commands", 2
        if not message:  # a group without a command has printed its help by now
            return code
    elif isinstance(error, OSError):  # no mistake of ours: the system would not
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
        hint, code = "check the path, its permissions and the disk", 1
    else:
        message = f"unexpected {type(error).__name__}: {error}"
        hint, code = "this is a bug; run the same command with --debug to see where", 1
    if as_json:
        name = type(error).__name__
        output.print_event("error", type=name, message=message, hint=hint, exit_code=code)
    else:
        output.print_error(message, hint)
    return code


def _quieten_libraries() -> None:
    """Keep the chatter of libraries out of the output."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    for library in ("TRANSFORMERS", "DIFFUSERS", "HF_HUB"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


def _print_version(asked: bool) -> None:
    if asked:
        output.print_text(f"fapvideo {fapvideo.__version__} (Python {platform.python_version()})")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show log messages and tracebacks; goes anywhere.")
    ] = False,
) -> None:
    """Exist for `--version` and `--debug`; main() acts on the latter."""
