"""Start a swapper, and stop it when asked."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from fapvideo.config.presets import load_preset

if TYPE_CHECKING:
    from fapvideo.swapper import VideoSwapper


def open_swapper(preset: str, device: str, overrides: Mapping[str, Any]) -> VideoSwapper:
    """Validate the preset first (quick), then load torch and the weights (seconds)."""
    resolved = load_preset(preset, overrides)
    from fapvideo.swapper import VideoSwapper  # torch: only once everything else is right

    return VideoSwapper.from_preset(resolved, device=device)


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yield a callback that turns true at Ctrl-C or SIGTERM; a second signal interrupts at once."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt_on_sigterm() -> None:
    """Make SIGTERM do what Ctrl-C does, so that it too cleans up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
