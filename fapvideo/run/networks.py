"""Networks that several swappers share: loaded once, used by one at a time, let go by the last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import torch

from fapvideo.config.schema import DenoiseConfig, RunPreset
from fapvideo.errors import FapVideoError
from fapvideo.ops.portions import full_error
from fapvideo.ops.scratch import disk_error
from fapvideo.paint.painter import Painter
from fapvideo.paint.painters import painter_for
from fapvideo.weights.bundle import Bundle, load_bundle
from fapvideo.weights.quick import kept_bundle
from fapvideo.weights.runtimes import number_format, runtime_wanted, with_runtime


def networks_key(preset: RunPreset) -> Hashable:
    """Return what decides about a preset's networks on a device: equal keys share them."""
    options = preset.denoise
    files = options.codec_file, options.lora_file
    return preset.bundle, options.precision, runtime_wanted(options), options.resolution, *files


class Networks:
    """A bundle on its device, and whose turn it is: networks serve one call at a time."""

    def __init__(self, bundle: Bundle | None, device: torch.device) -> None:
        """Begin with one user; `bundle` is missing where somebody paints without one."""
        self.bundle = bundle
        self.users = 1
        self._device = device
        self._turn = threading.Lock()
        self._holder: tuple[object, int] | None = None
        """The swapper that works, and in which thread it was called."""

    @contextmanager
    def used_by(self, user: object) -> Iterator[None]:
        """Hold the networks for one call; say what to do where memory or a disk is full in it.

        Raises:
            FapVideoError: another call holds them.
            DeviceError: the memory of the device or of the machine is full.
            VideoWriteError: a disk is full.
        """
        if not self._turn.acquire(blocking=False):
            raise self._busy()
        self._holder = user, threading.get_ident()
        try:
            yield
        except Exception as error:
            if isinstance(error, FapVideoError):
                raise
            full = full_error(error, self._device) or disk_error(error)
            if full is None:
                raise
            raise full from error
        finally:
            self._holder = None
            self._turn.release()

    def check_idle(self, user: object) -> None:
        """See that no other thread works for `user`.

        Raises:
            FapVideoError: one does.
        """
        holder = self._holder
        if holder is not None and holder[0] is user and holder[1] != threading.get_ident():
            raise self._busy()

    @staticmethod
    def _busy() -> FapVideoError:
        return FapVideoError(
            "this swapper is busy with another call, or one that shares its networks is",
            hint="finish or close its stream first; use a swapper of its own for each thread",
        )


class Shelf:
    """The networks of a family of swappers, by what they were loaded from."""

    def __init__(self, load: Callable[..., Bundle] | None = None) -> None:
        """Begin empty; `load` is called in the place of `load_bundle`."""
        self._load = load
        self._known: dict[Hashable, Networks] = {}
        self._lock = threading.Lock()

    def take(self, preset: RunPreset, device: torch.device) -> tuple[Networks, Painter]:
        """Return the preset's networks, those that are there already or loaded now, and a painter.

        Raises:
            DeviceError, WeightsError: they cannot be loaded.
            PresetError: the settings do not fit them.
        """
        key = networks_key(preset), device
        with self._lock:
            networks = self._known.get(key)
            if networks is None:
                options = preset.denoise
                dtype = number_format(options, device)
                bundle = self._loaded(preset.bundle, device, dtype, options)
                networks = self._known[key] = Networks(bundle, device)
            else:
                networks.users += 1
        try:
            assert networks.bundle is not None
            return networks, painter_for(preset, networks.bundle)
        except BaseException:
            self.give_back(networks)
            raise

    def _loaded(
        self, name: str, device: torch.device, dtype: torch.dtype, options: DenoiseConfig
    ) -> Bundle:
        if self._load is not None:
            return with_runtime(self._load(name, device, dtype, options=options), options)
        bundle = kept_bundle(name, device, dtype, options)
        if bundle is None:
            bundle = with_runtime(load_bundle(name, device, dtype, options=options), options)
        return bundle

    def give_back(self, networks: Networks) -> bool:
        """End the use of networks; return whether nobody uses them any more."""
        with self._lock:
            networks.users -= 1
            if networks.users:
                return False
            self._known = {k: kept for k, kept in self._known.items() if kept is not networks}
            return True
