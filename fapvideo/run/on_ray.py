"""Workers on a Ray cluster (the extra `ray`): actors that hold the networks, one for each GPU.

Ray starts an actor again, wherever there is room, when its machine is lost; until then its work
goes to the others (`run/pool.py`).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fapvideo.errors import DeviceError, FapVideoError
from fapvideo.run.farm import Hand
from fapvideo.run.pool import Pool, WorkerLost

CPUS = 2
"""Of a worker without a GPU, or all of a smaller machine."""
COUNT_S = 5.0
"""For so long it is taken as known how large the cluster is."""


@contextmanager
def ray_pool(device: str = "auto") -> Iterator[Pool]:
    """Yield a pool of workers on the cluster that `RAY_ADDRESS` names, or on one on this machine.

    Where none runs here one is started, and ended with the pool.

    Args:
        device: `cuda` (one GPU a worker) or `cpu`; `auto` is `cuda` where the cluster has any.

    Raises:
        FapVideoError: Ray is not installed.
        DeviceError: there is no such device in the cluster.
    """
    with _connected() as ray:
        cluster = _Cluster(ray, device)
        with Pool(cluster.hire, cluster.room) as pool:
            yield pool


@contextmanager
def _connected() -> Iterator[Any]:
    """Yield Ray, with a connection to a cluster."""
    try:
        import ray
    except ImportError:
        raise FapVideoError(
            "the engine `ray` needs Ray, which is not installed",
            hint="pip install 'fapvideo[ray]', or use --engine local",
        ) from None
    if ray.is_initialized():
        yield ray
        return
    # Nothing is told to anybody unless the user asks for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with _own_signals():
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put back what Ray puts its own handlers in the place of."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Cluster:
    """How many workers there may be, and of what kind."""

    def __init__(self, ray: Any, device: str) -> None:
        self._ray, self._counted, self._at = ray, 0, float("-inf")
        nodes = self._nodes()
        gpus = sum(int(node.get("GPU", 0)) for node in nodes)
        kind = device.partition(":")[0]
        if kind == "auto":
            kind = "cuda" if gpus else "cpu"
        if kind == "cuda" and not gpus:
            raise DeviceError("no machine of the Ray cluster has a GPU", hint="use --device cpu")
        self._device = kind
        smallest = min((int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1), default=1)
        self._needs = {"num_gpus": 1} if kind == "cuda" else {"num_cpus": min(CPUS, smallest)}

    def room(self) -> int:
        """Return how many workers the cluster can hold."""
        if time.monotonic() - self._at > COUNT_S:
            ((name, amount),) = self._needs.items()
            resource = name.removeprefix("num_")[:-1].upper()
            self._counted = sum(int(n.get(resource, 0) // amount) for n in self._nodes())
            self._at = time.monotonic()
        return self._counted

    def hire(self) -> _Actor:
        """Return a new worker."""
        remote = self._ray.remote(Hand).options(**self._needs, max_restarts=-1)
        return _Actor(self._ray, remote.remote(self._device, str(Path.cwd())))

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]


class _Actor:
    """A worker that is an actor of Ray."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def wait(self) -> None:
        """Wait until Ray has started it, again or at first."""
        # Unlike a task this call is Ray's to repeat, as often as it takes.
        self._get(self._actor.__ray_ready__.options(max_task_retries=-1).remote())

    def do(self, task: str, *arguments: Any) -> Any:
        """Do a task there."""
        return self._get(getattr(self._actor, task).remote(*arguments))

    def dismiss(self) -> None:
        """End it for good."""
        with suppress(Exception):
            self._ray.kill(self._actor, no_restart=True)

    def _get(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, FapVideoError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise WorkerLost(lines[0]) from None
