"""Which library computes a bundle's networks: torch, or ONNX Runtime from exported graphs.

Graphs are exported once per bundle (about 2 s) and kept in the user's cache folder, 47 MB for the
embedded bundle, by the hashes of its weights and the versions of what wrote and reads them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from platformdirs import user_cache_dir
from torch import Tensor, nn

from fapvideo.config.bundle import BundleManifest
from fapvideo.config.schema import DenoiseConfig
from fapvideo.errors import DeviceError
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.nets.onnx_graph import OPSET, UnetWithMaps, onnx_graph
from fapvideo.ops.files import write_atomically
from fapvideo.ops.precision import cpu_has_bf16, resolve_dtype
from fapvideo.weights.bundle import MOBILENET_PREPROCESSING, Bundle
from fapvideo.weights.exported import Exported, Session, map_input

log = logging.getLogger(__name__)

FORMAT = 1
"""Of the graphs: change it when they take or return something else."""
TOLERANCE = 1e-3
"""Difference to torch that is rounding, of outputs in [-1, 1]: an eighth of an 8-bit level."""
GRAPHS = "graphs"
"""Their folder in the user's cache folder."""
NETWORKS = ("unet", "tower")
PACKAGES = ("onnxruntime", "onnx")
SEAL = hashlib.sha256().digest_size


def runtime_wanted(options: DenoiseConfig) -> Literal["auto", "torch", "onnxruntime"]:
    """Return what a preset asks for; what is compiled is torch's."""
    return "torch" if options.compile else options.runtime


def number_format(options: DenoiseConfig, device: torch.device) -> torch.dtype:
    """Return the dtype of a preset's networks on a device; ONNX Runtime computes in float32.

    Raises:
        DeviceError: the device does not compute in what the preset asks for.
    """
    exported = options.precision == "auto" and runtime_wanted(options) == "onnxruntime"
    return resolve_dtype("fp32" if exported else options.precision, device)


def with_runtime(bundle: Bundle, options: DenoiseConfig, folder: Path | None = None) -> Bundle:
    """Return the bundle with the runtime that a preset asks for.

    `auto` is ONNX Runtime where it is installed, can compute the bundle and the CPU has no bf16,
    else torch; where something fails that should not, a warning says so.

    Args:
        bundle: as loaded, with torch's networks.
        options: of the preset.
        folder: keeps the graphs; by default in the user's cache folder.

    Raises:
        DeviceError: `onnxruntime` is asked for and cannot be had.
    """
    wanted = runtime_wanted(options)
    if not may_export(options):
        return bundle
    problem, failure = _obstacle(bundle), None
    if not problem:
        try:
            return _exported(bundle, folder or _usual_folder())
        except Exception as error:  # exporter and runtime raise dozens of kinds
            failure = error
            name = bundle.manifest.name
            problem = f"ONNX Runtime cannot compute bundle {name} here ({_line(error)})"
    if wanted == "auto":
        if failure is not None:
            log.warning("%s: torch does, more slowly", problem)
        return bundle
    raise DeviceError(
        f'denoise.runtime = "onnxruntime": {problem}',
        hint='pip install "fapvideo[fast]", or leave denoise.runtime at "auto"'
        if "not installed" in problem
        else 'set denoise.runtime = "auto" or "torch"',
    ) from failure


def may_export(options: DenoiseConfig) -> bool:
    """Tell whether a preset leaves networks to ONNX Runtime on this processor."""
    wanted = runtime_wanted(options)
    return wanted == "onnxruntime" or (wanted == "auto" and not cpu_has_bf16())


def kept_networks(
    manifest: BundleManifest, places: Sequence[str], folder: Path | None = None
) -> Exported | None:
    """Return UNet and image tower from graphs that were kept; None where one is not.

    Args:
        manifest: of the bundle, whose files are as it says.
        places: names of the maps.
        folder: keeps the graphs; by default in the user's cache folder.
    """
    if _missing():
        return None
    key = _key(manifest, [file.sha256 for file in manifest.files], places)
    unet, tower = (_kept((folder or _usual_folder()) / f"{name}-{key}") for name in NETWORKS)
    if unet is None or tower is None:
        return None
    return Exported(_runtime(), Session(unet), Session(tower), sorted(places))


def exported(
    network: nn.Module, name: str, size: int, options: DenoiseConfig, folder: Path | None = None
) -> Callable[[Tensor], Tensor] | None:
    """Return what computes a small packaged network in ONNX Runtime; None where torch is to.

    Where something fails that should not, a warning says so, and it is torch.

    Args:
        network: from float32 pictures [B, 3, size, size] in [0, 1] to values in [0, 1].
        name: of its graph's file.
        size: of the pictures.
        options: of the preset.
        folder: keeps the graph; by default in the user's cache folder.
    """
    if not may_export(options) or _missing():
        return None
    weights = hashlib.sha256()
    for tensor in network.state_dict().values():
        weights.update(tensor.contiguous().numpy().tobytes())
    key = _hashed({"versions": _versions(*PACKAGES, "torch"), "weights": weights.hexdigest()})
    path = (folder or _usual_folder()) / f"{name}-{key}"
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(3, 3, size, size, generator=generator)
    try:
        kept = _kept(path)
        graph = kept or onnx_graph(network, {"pictures": pictures[:2]})
        session = Session(graph)
        if kept is None:
            with torch.no_grad():
                _compare(name, network(pictures[2:]), session({"pictures": pictures[2:].numpy()}))
            _keep(path, graph)
    except Exception as error:  # exporter and runtime raise dozens of kinds
        log.warning("ONNX Runtime cannot compute %s here (%s): torch does", name, _line(error))
        return None
    return lambda given: session({"pictures": given.numpy()})


def _missing() -> list[str]:
    """Return the packages that are needed and not installed."""
    return [package for package in PACKAGES if find_spec(package) is None]


def _obstacle(bundle: Bundle) -> str:
    """Return why this bundle's networks are not for ONNX Runtime, or nothing."""
    name = bundle.manifest.name
    if _missing():
        return f"{' and '.join(_missing())} not installed"
    if bundle.device.type != "cpu":
        return f"it is for the CPU, and bundle {name} is on {bundle.device}"
    if bundle.dtype is not torch.float32:
        return f"it computes in fp32, and denoise.precision makes bundle {name} {bundle.dtype}"
    tower = bundle.encoder.module
    if bundle.manifest.unet.kind != "unet2d" or not isinstance(tower, MobileNetV2Tokens):
        return f"only networks like the embedded bundle's are exported, not those of {name}"
    return "" if bundle.files else f"bundle {name} is made in code and not exported"


def _exported(bundle: Bundle, folder: Path) -> Bundle:
    """Return the bundle with networks from graphs that are kept, or exported and checked now."""
    hashes = [file.sha256 for file in bundle.files]
    key = _key(bundle.manifest, hashes, bundle.adapter.site_names())
    paths = {network: folder / f"{network}-{key}" for network in NETWORKS}
    graphs = {network: _kept(path) for network, path in paths.items()}
    made = {"unet": partial(_unet_graph, bundle), "tower": partial(_tower_graph, bundle)}
    fresh = {network: made[network]() for network, graph in graphs.items() if graph is None}
    sessions = {network: Session(graphs[network] or fresh[network]) for network in graphs}
    places = sorted(bundle.adapter.site_names())
    exported = Exported(_runtime(), sessions["unet"], sessions["tower"], places)
    if fresh:
        _check(bundle, exported)
        for network, graph in fresh.items():
            _keep(paths[network], graph)
    return replace(bundle, exported=exported, encoder=bundle.encoder.computed_by(exported.tokens))


def _runtime() -> str:
    return f"onnxruntime {metadata.version('onnxruntime')}"


def _usual_folder() -> Path:
    return Path(user_cache_dir("fapvideo")) / GRAPHS


def _key(manifest: BundleManifest, hashes: Iterable[str], places: Iterable[str]) -> str:
    """Return what tells the graphs of one bundle from others."""
    return _hashed({
        "format": [FORMAT, OPSET, MOBILENET_PREPROCESSING],
        "versions": _versions(*PACKAGES, "torch", "diffusers"),
        "weights": sorted(hashes),
        "networks": [manifest.unet.model_dump(), manifest.codec.model_dump(), manifest.resolution],
        "places": sorted(places),
    })  # fmt: skip


def _hashed(decides: Mapping[str, object]) -> str:
    text = json.dumps(decides, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _versions(*names: str) -> dict[str, str]:
    return {name: metadata.version(name) for name in names}


def _line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return (str(error) or type(error).__name__).splitlines()[0][:300]


# ------------------------------------------------------------------------------------ exporting


def _unet_graph(bundle: Bundle) -> bytes:
    x, time, maps = _example(bundle, samples=2, seed=0)
    carried = bundle.adapter.injected
    module = UnetWithMaps(bundle.unet, bundle.adapter)
    given = {map_input(name): maps[name] for name in module.places}
    bundle.adapter.inject()
    try:
        return onnx_graph(module, {"x": x, "time": torch.tensor([int(time)]), **given})
    finally:
        if not carried:
            bundle.adapter.eject()


def _tower_graph(bundle: Bundle) -> bytes:
    return onnx_graph(bundle.encoder.module, {"pictures": _pictures(bundle, samples=2)})


def _check(bundle: Bundle, exported: Exported) -> None:
    """See that graphs say what torch says, of other inputs than those they were traced on.

    Raises:
        ValueError: they do not.
    """
    x, time, maps = _example(bundle, samples=1, seed=1)
    pictures, carried = _pictures(bundle, samples=1), bundle.adapter.injected
    bundle.adapter.inject()
    try:
        with torch.no_grad():
            said = bundle.adapter.predict(bundle.unet, x, time, maps), bundle.encoder(pictures)
    finally:
        if not carried:
            bundle.adapter.eject()
    found = exported.predict(x, time, maps), exported.tokens(pictures)
    for what, one, other in zip(("UNet", "image tower"), said, found, strict=True):
        _compare(what, one, other)


def _compare(what: str, one: Tensor, other: Tensor) -> None:
    """Raise ValueError if what torch and the exported network say differs by more than rounding."""
    far = float((one - other).abs().max())
    if not far <= TOLERANCE:
        raise ValueError(f"the exported {what} differs from torch's by {far:.2g}")


@torch.no_grad()
def _example(bundle: Bundle, samples: int, seed: int) -> tuple[Tensor, float, dict[str, Tensor]]:
    """Return inputs of the UNet: a noisy latent with its channels, a time, maps."""
    generator = torch.Generator().manual_seed(seed)
    side = bundle.manifest.resolution // bundle.codec.factor
    channels = int(bundle.manifest.unet.config["in_channels"])
    x = torch.randn(samples, channels, side, side, generator=generator).clamp(-1, 1)
    grid, width = bundle.encoder.grid, bundle.encoder.width
    tokens = torch.randn(samples, grid**2, width, generator=generator)
    return x, 400.0 + 300.0 * seed, bundle.project(tokens)


def _pictures(bundle: Bundle, samples: int) -> Tensor:
    size, generator = bundle.encoder.image_size, torch.Generator().manual_seed(samples)
    return torch.rand(samples, 3, size, size, generator=generator)


# -------------------------------------------------------------------------------------- keeping


def _kept(path: Path) -> bytes | None:
    """Return a graph that was kept; None where there is none, or a damaged one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s cannot be read, and is made again (%s)", path, error.strerror or error)
        return None
    seal, graph = data[:SEAL], data[SEAL:]
    if hashlib.sha256(graph).digest() == seal:
        return graph
    log.warning("%s is damaged and is made again", path)
    return None


def _keep(path: Path, graph: bytes) -> None:
    """Write a graph behind its hash, whole or not at all; a full disk costs time, not the run."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as fresh:
            fresh.write_bytes(hashlib.sha256(graph).digest() + graph)
    except OSError as error:
        log.warning("the exported network is not kept: %s", error)
