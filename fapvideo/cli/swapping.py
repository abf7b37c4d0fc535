"""Start a swapper, and stop it when asked."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import fapvideo
from fapvideo.cli.signals import GRACE_S, Listener, current, nothing_to_lose
from fapvideo.progress import ShouldStop

if TYPE_CHECKING:
    from fapvideo.run.farm import Farm
    from fapvideo.run.pool import Pool
    from fapvideo.swapper import VideoSwapper


def open_swapper(preset: str, device: str, overrides: Mapping[str, Any]) -> VideoSwapper:
    """Validate the preset first (quick), then load torch and the weights (seconds)."""
    resolved = fapvideo.load_preset(preset, overrides)
    with nothing_to_lose():
        from fapvideo.swapper import VideoSwapper  # torch: only once everything else is right

        return VideoSwapper.from_preset(resolved, device=device)


@contextmanager
def open_engine(
    engine: str, preset: str, device: str, overrides: Mapping[str, Any]
) -> Iterator[VideoSwapper | Farm]:
    """Yield what runs: a swapper here, or the workers of a Ray cluster."""
    if engine == "local":
        with open_swapper(preset, device, overrides) as swapper:
            yield swapper
        return
    resolved = fapvideo.load_preset(preset, overrides)
    with open_pool(device) as pool:
        from fapvideo.run.farm import Farm

        yield Farm(resolved, pool)


@contextmanager
def open_pool(device: str) -> Iterator[Pool]:
    """Yield the workers of a Ray cluster."""
    with nothing_to_lose():
        from fapvideo.run.on_ray import ray_pool
    with ray_pool(device) as pool:
        yield pool


@contextmanager
def stop_on_signal(grace_s: float = GRACE_S) -> Iterator[ShouldStop]:
    """Yield a callback that turns true at Ctrl-C, SIGTERM or SIGHUP.

    A run asks it between batches, and a batch can be long: one that has not asked after
    `grace_s` seconds is interrupted where it is, and so is one that gets a second signal. Its
    context managers clean up either way, and are not interrupted.
    """
    listener, before = current(), list[tuple[int, Any]]()
    if listener is None:  # not inside the program
        listener = Listener()
        before = listener.install()
    listener.phase, listener.grace_s = "asking", grace_s
    try:
        yield listener.noticed
    finally:
        listener.noticed()
        listener.phase = "working"
        for number, handler in before:
            signal.signal(number, handler)
