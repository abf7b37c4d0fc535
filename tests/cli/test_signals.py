"""Signals at any moment: the first line to the last, clean-up, a second one, a closed terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fapvideo.cli.main as program
from fapvideo.cli.signals import ONCE_S, STOPPED, Listener
from fapvideo.cli.swapping import stop_on_signal
from fapvideo.errors import WeightsError
from fapvideo.ops.files import write_atomically

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Install a listener in this process, in the middle of some work."""
    listener = Listener()
    before = listener.install()
    listener.phase = "working"
    yield listener
    listener.end()
    for number, handler in before:
        signal.signal(number, handler)


def wait_for_the_timer() -> None:
    for _ in range(1000):
        time.sleep(0.01)


# ----------------------------------------------------------------------------------- start-up


def listens_to_signals() -> None:
    """Undo what a background job of a shell ignores; run in the child."""
    for number in ALL:
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "loaded"),
    [(signal.SIGINT, "typer"), (signal.SIGTERM, "torch._C"), (signal.SIGHUP, "fapvideo.errors")],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_signal_during_start_up_ends_quietly(
    number: signal.Signals, loaded: str, preset: Path, clip: Path
) -> None:
    """In the middle of imports, which is told by `-X importtime`."""
    options = ["-X", "importtime", "-m", "fapvideo", "run", str(clip), "--preset", str(preset)]
    command = [sys.executable, *options]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=listens_to_signals
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split(b"|")[-1].strip() == loaded.encode():
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    said = [line for line in err.splitlines() if not line.startswith(b"import time:")]
    assert said == [b"error: stopped; nothing was written"]
    assert process.returncode == 128 + number
    assert out == b""


def test_what_is_ignored_stays_ignored() -> None:
    """`nohup`, and Ctrl-C in a background job of a script."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ALL}
    try:
        taken = Listener().install()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert isinstance(signal.getsignal(signal.SIGTERM), Listener)
        for number, handler in taken:
            signal.signal(number, handler)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ----------------------------------------------------------------------------------- clean-up


def test_clean_up_is_not_interrupted(listener: Listener, tmp_path: Path) -> None:
    """Ctrl-C while a block is being left waits until it is left."""
    steps = []

    class Cleaning(contextlib.AbstractContextManager[None]):
        def __exit__(self, *_: object) -> None:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)  # the timer asks again meanwhile
            steps.append("cleaned")

    with pytest.raises(KeyboardInterrupt):
        with Cleaning():
            steps.append("worked")
        wait_for_the_timer()
    assert steps == ["worked", "cleaned"]


def test_a_file_that_is_removed_is_removed(listener: Listener, tmp_path: Path) -> None:
    """The clean-up of a generator's block, too, while signals rain."""
    raining = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] * 3
    unlink = Path.unlink

    def slow(path: Path, missing_ok: bool = False) -> None:
        while raining:
            signal.raise_signal(raining.pop())
        unlink(path, missing_ok=missing_ok)

    def fail() -> None:
        with pytest.MonkeyPatch.context() as patch, write_atomically(tmp_path / "a.txt") as fresh:
            fresh.write_text("half")
            patch.setattr(Path, "unlink", slow)
            raise OSError("the disk is full")

    with pytest.raises((OSError, KeyboardInterrupt)):
        fail()
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(0.2)
    assert raining == []
    assert list(tmp_path.iterdir()) == []
    assert listener.number == signal.SIGHUP


def test_the_second_signal_hurries(listener: Listener) -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_signal() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop(), "asked to stop"
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it went on")
    assert listener.exit_code == 143
    signal.raise_signal(signal.SIGTERM)  # and the third does not disturb its way out
    assert ONCE_S > 1


def test_who_works_in_long_steps_is_waited_for(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of training takes seconds on a CPU; what was trained is saved after it."""
    monkeypatch.setattr("fapvideo.cli.signals.GRACE_S", 0.05)
    with stop_on_signal(60.0) as stop:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert stop()
    with pytest.raises(KeyboardInterrupt), stop_on_signal(0.05) as stop:
        listener.asked.clear()
        signal.raise_signal(signal.SIGTERM)
        time.sleep(5)


def test_an_interruption_taken_for_a_damaged_file_is_an_interruption(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The safetensors library, for one, says of any exception that the file is malformed."""

    def load(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise WeightsError("encoder.safetensors cannot be read") from None

    monkeypatch.setattr(program, "app", load)
    assert program.run_program(["run"]) == 130
    assert capsys.readouterr().err == f"error: {STOPPED}\n"


def test_a_fault_found_while_asked_to_stop_is_told(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*_: object, **__: object) -> None:
        with stop_on_signal():
            signal.raise_signal(signal.SIGINT)
            raise WeightsError("encoder.safetensors cannot be read")

    monkeypatch.setattr(program, "app", load)
    assert program.run_program(["run"]) == WeightsError.exit_code
    assert "encoder.safetensors cannot be read" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ the end


def test_a_closed_terminal_stops_a_run(preset: Path, clip: Path) -> None:
    """The system sends SIGHUP then, and nothing can be printed there any more."""
    program = Path(__file__).with_name("fake_swapper.py")
    ours, theirs = os.openpty()
    command = [sys.executable, str(program), "run", str(clip), "--preset", str(preset)]

    def with_terminal() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        listens_to_signals()

    streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(
        command, start_new_session=True, preexec_fn=with_terminal, **streams
    ) as process:
        os.close(theirs)
        said = b""
        while b"analyse" not in said:
            said += os.read(ours, 1000)
        os.close(ours)
        try:
            assert process.wait(timeout=60) == 129
        finally:
            process.kill()
    assert sorted(path.name for path in clip.parent.iterdir()) == [
        "face.png",
        "mine.toml",
        clip.name,
    ]


def test_signals_while_the_last_line_is_said_change_nothing(preset: Path, clip: Path) -> None:
    program = Path(__file__).with_name("fake_swapper.py")
    command = [sys.executable, str(program), "run", str(clip), "--preset", str(preset), "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stderr=pipe, stdout=pipe, preexec_fn=listens_to_signals
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.001)
        err = process.stderr.read()
    assert process.returncode == 143
    assert b"Traceback" not in err
    last = json.loads(err.splitlines()[-1])
    assert (last["type"], last["exit_code"]) == ("Cancelled", 143)
    assert sorted(path.name for path in clip.parent.iterdir()) == [
        "face.png",
        "mine.toml",
        clip.name,
    ]
