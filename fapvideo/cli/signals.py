"""What the program does at SIGINT, SIGTERM and SIGHUP, from its first line to its last.

While nothing is to lose (imports, networks being loaded) it says so and ends at once. A run is
asked to stop and interrupted where it does not; a second signal interrupts it at once. Nothing
interrupts a `with` block that is being entered or left: what cleans up does so to its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Literal

STOPPED = "stopped; nothing was written"
GRACE_S = 1.5
"""How long a run may take to notice that it should stop, before it is interrupted."""
RETRY_S = 0.05
"""After which the end of a `with` block is looked for again."""
ONCE_S = 2.0
"""For so long after an interruption no other one is made: its way out is clean-up."""
HAS_TIMER = hasattr(signal, "setitimer")
"""Not on Windows: there a second Ctrl-C has to do what the timer does elsewhere."""
_WAITING = ("threading", "concurrent.", "multiprocessing.", "queue")
"""Modules whose `with` blocks wait for others, not for the disk."""


class Listener:
    """The handler of all signals, which knows what the program is at."""

    def __init__(self, *, as_json: bool = False) -> None:
        """Begin with nothing to lose. `as_json` says how to speak."""
        self.phase: Literal["nothing to lose", "working", "asking", "ending"] = "nothing to lose"
        self.number = 0
        """The first signal that came; 0 if none did."""
        self.asked = threading.Event()
        self.grace_s = GRACE_S
        self._as_json = as_json
        self._taken: list[int] = []
        self._interrupted = float("-inf")

    @property
    def interrupted(self) -> bool:
        """Whether the program was broken off where it was, and not only asked to stop."""
        return self._interrupted > float("-inf")

    def install(self) -> list[tuple[int, Any]]:
        """Take the signals that are not ignored (`nohup`, a script's background job).

        Returns their numbers with what handled them before.
        """
        before = []
        for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGALRM"):
            number = getattr(signal, name, None)
            if number is None:
                continue
            if name in ("SIGINT", "SIGHUP") and signal.getsignal(number) is signal.SIG_IGN:
                continue
            before.append((int(number), signal.signal(number, self)))
        self._taken = [number for number, _ in before]
        return before

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells have it."""
        return 128 + (self.number or signal.SIGINT)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Do what the moment allows."""
        if self.phase == "ending":
            return
        if number != getattr(signal, "SIGALRM", None):
            self.number = self.number or number
            leave_dead_terminals()
            if self.phase == "nothing to lose":
                self._leave()
            if self.phase == "asking" and not self.asked.is_set():
                self.asked.set()
                _alarm(self.grace_s)
                return
        self._interrupt(frame)

    def _interrupt(self, frame: FrameType | None) -> None:
        if HAS_TIMER and _at_the_end_of_a_block(frame):
            _alarm(RETRY_S)
            return
        now = time.monotonic()
        if now - self._interrupted > ONCE_S:
            self._interrupted = now
            raise KeyboardInterrupt

    def noticed(self) -> bool:
        """Tell whether a run should stop; if so, it cleans up in peace from now on."""
        if self.asked.is_set():
            _alarm(0)
        return self.asked.is_set()

    def end(self) -> None:
        """Hear nothing any more: the last line is being said.

        Python at its end makes a signal deadly again that has a handler, but not one ignored.
        """
        self.phase = "ending"
        _alarm(0)
        for number in self._taken:
            signal.signal(number, signal.SIG_IGN)

    def _leave(self) -> None:
        """End at once. Not through the streams: the signal may have come while one is written."""
        fields = {"type": "Cancelled", "message": STOPPED, "hint": "", "exit_code": self.exit_code}
        line = json.dumps({"event": "error", **fields}) if self._as_json else f"error: {STOPPED}"
        with contextlib.suppress(OSError):
            os.write(2, f"{line}\n".encode())
        os._exit(self.exit_code)


def listen() -> Listener:
    """Install the program's one listener and return it."""
    listener = Listener(as_json="--json" in sys.argv)
    listener.install()
    return listener


def current() -> Listener | None:
    """Return the installed listener."""
    handler = signal.getsignal(signal.SIGTERM)
    return handler if isinstance(handler, Listener) else None


@contextlib.contextmanager
def nothing_to_lose() -> Iterator[None]:
    """End at once at a signal inside the block; not where a run is under way already."""
    listener = current()
    if listener is None or listener.phase != "working":
        yield
        return
    listener.phase = "nothing to lose"
    try:
        yield
    finally:
        listener.phase = "working"


def leave_dead_terminals() -> None:
    """Let output lead nowhere whose terminal was closed: writing there fails from now on."""
    for number in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _alarm(seconds: float) -> None:
    if HAS_TIMER:
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _at_the_end_of_a_block(frame: FrameType | None) -> bool:
    """Tell whether a `with` block is being entered or left, further out, too."""
    while frame is not None:
        if frame.f_code.co_name in ("__exit__", "__enter__"):
            module = str(frame.f_globals.get("__name__", ""))
            if not module.startswith(_WAITING):
                return True
        frame = frame.f_back
    return False
