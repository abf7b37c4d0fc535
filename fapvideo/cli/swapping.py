"""Start a swapper, and stop it when asked."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import fapvideo
from fapvideo.progress import ShouldStop

if TYPE_CHECKING:
    from fapvideo.swapper import VideoSwapper


def open_swapper(preset: str, device: str, overrides: Mapping[str, Any]) -> VideoSwapper:
    """Validate the preset first (quick), then load torch and the weights (seconds)."""
    resolved = fapvideo.load_preset(preset, overrides)
    from fapvideo.swapper import VideoSwapper  # torch: only once everything else is right

    return VideoSwapper.from_preset(resolved, device=device)


GRACE_S = 1.5
"""How long a run may take to notice that it should stop, before it is interrupted."""


@contextmanager
def stop_on_signal() -> Iterator[ShouldStop]:
    """Yield a callback that turns true at Ctrl-C or SIGTERM.

    A run asks it between batches, and a batch can be long: one that has not asked after `GRACE_S`
    is interrupted where it is, and so is one that gets a second signal. Its context managers
    clean up either way.
    """
    stop = threading.Event()
    has_timer = hasattr(signal, "setitimer")  # not on Windows: there the second Ctrl-C has to do

    def ask(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        if has_timer:
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)

    def should_stop() -> bool:
        if stop.is_set() and has_timer:
            signal.setitimer(signal.ITIMER_REAL, 0)  # it has noticed: let it clean up in peace
        return stop.is_set()

    handlers: dict[int, Callable[..., None]] = {signal.SIGINT: ask, signal.SIGTERM: ask}
    if has_timer:
        handlers[signal.SIGALRM] = _interrupt
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield should_stop
    finally:
        if has_timer:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt_on_sigterm() -> None:
    """Make SIGTERM do what Ctrl-C does, so that it too cleans up."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
