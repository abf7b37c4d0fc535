"""Loading and saving bundles: one manifest and its networks, verified and put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from fapvideo.config.bundle import (
    MANIFEST_NAME,
    BundleFile,
    BundleManifest,
    EncoderSpec,
    load_manifest,
)
from fapvideo.config.presets import is_file, is_folder
from fapvideo.config.schema import DenoiseConfig
from fapvideo.errors import FapVideoError, WeightsError
from fapvideo.nets.adapter import Adapter, AttentionAdapter, ResnetAdapter
from fapvideo.nets.clip import PREPROCESSING, ClipTokens, TransformersTower
from fapvideo.nets.codec import SpaceToDepth, VaeCodec, build_codec
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.nets.projector import MlpProjector
from fapvideo.nets.sites import published_resnets, resnets_up_to
from fapvideo.nets.tiny import TINY_SEED, tiny_manifest, tiny_sd15_manifest
from fapvideo.nets.unet import (
    build_unet,
    dead_keys,
    silence_cross_attention,
    strip_dead_cross_attention,
)
from fapvideo.ops.files import sha256_file, write_atomically
from fapvideo.ops.token_grid import without_cls
from fapvideo.weights.empty import without_weights
from fapvideo.weights.encoder import ImageEncoder
from fapvideo.weights.exported import Exported
from fapvideo.weights.fit import misfits
from fapvideo.weights.options import resized_manifest, with_options
from fapvideo.weights.state import load_into, read_tensors, write_tensors
from fapvideo.weights.store import installed_folder

MOBILENET_PREPROCESSING = "bilinear-antialias-1, folded"
"""Part of the cache key: change it when `MobileNetV2Tokens` prepares its pictures differently."""
WIDE = 100_000_000
"""UNets of more parameters stay NCHW on a CPU, where oneDNN would reorder their weights at every
call (860 million: 10.7 s for 3.2 s on two Zen 4 cores); smaller ones are faster channels-last."""
EMBEDDED = Path(__file__).parents[1] / "bundles" / "embedded"


@dataclass(frozen=True, slots=True)
class Bundle:
    """The networks of one model, ready to run, in evaluation mode and without gradients."""

    manifest: BundleManifest
    folder: Path | None
    """Where its files lie; `None` for the tiny bundles, which are built in code."""
    codec: SpaceToDepth | VaeCodec
    encoder: ImageEncoder
    torch_unet: Callable[[], nn.Module]
    """Returns `unet`."""
    adapter: Adapter
    """Built for `unet`, not injected."""
    projector: MlpProjector | None
    files: tuple[BundleFile, ...]
    """With verified SHA-256 and licence, for the report."""
    device: torch.device
    dtype: torch.dtype
    exported: Exported | None = None
    """What computes UNet and image tower instead of torch (weights/runtimes.py)."""

    @property
    def unet(self) -> nn.Module:
        """The UNet in torch; only now built and loaded where something else computes it."""
        return self.torch_unet()

    @property
    def runtime(self) -> str:
        """What computes the networks: `torch`, or another library with its version."""
        return "torch" if self.exported is None else self.exported.runtime

    def project(self, tokens: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        """Return the injection maps of fused tokens [N, (1 +) G*G, C]; CLS is dropped.

        They depend on the tokens and the injection's strength alone: once per frame, not once per
        step.
        """
        rows = without_cls(tokens).to(self.device, self.dtype)
        features = rows if self.projector is None else self.projector(rows)
        return self.adapter.project(features, scale)

    def unconditional(self, scale: float = 1.0) -> dict[str, Tensor]:
        """Return the maps [1, C, G, G] of guidance's unconditional branch.

        Variant B: those of the encoder's all-zero pixel tensor (tests/goldens/PARITY.md, 9).
        Variant A: no injection at all, as our training drops it.
        """
        if self.manifest.adapter.variant == "B":
            return self.project(self.encoder.unconditional(), scale)
        empty = torch.zeros(1, self.encoder.grid**2, self.encoder.width)
        return {name: torch.zeros_like(value) for name, value in self.project(empty).items()}


def load_bundle(
    name_or_folder: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    options: DenoiseConfig | None = None,
) -> Bundle:
    """Load a bundle by name (`embedded`, `tiny`, `tiny_sd15`, `sd15`) or from a folder.

    Every file is checked against the manifest's SHA-256 and the architecture, key by key.

    A VAE that was asked for in float16, where it overflows, stays float32. `resolution`,
    `codec_file` and `lora_file` of `options`, a preset's, change what is loaded.

    Raises:
        WeightsError: unknown name, missing, damaged or unfitting file.
        DeviceError: (from torch) is left to the caller.
    """
    device, name = torch.device(device), str(name_or_folder)
    if name in ("tiny", "tiny_sd15"):
        manifest = tiny_manifest() if name == "tiny" else tiny_sd15_manifest()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(TINY_SEED)
            bundle = assemble(resized_manifest(manifest, options), None, device, dtype)
    else:
        folder = bundle_folder(name_or_folder)
        manifest = load_manifest(folder)
        verify_files(folder, manifest)
        bundle = assemble(resized_manifest(manifest, options), folder, device, dtype)
    if options is None:
        return bundle
    codec, files = with_options(bundle.unet, bundle.codec, manifest.name, options)
    return replace(bundle, codec=codec, files=(*bundle.files, *files))


def bundle_folder(name_or_folder: str | Path) -> Path:
    """Return the folder of a bundle by name or path; it may be incomplete.

    Raises:
        WeightsError: neither a known name nor a folder, or a known bundle that is not installed.
    """
    if str(name_or_folder) == "embedded":
        return EMBEDDED
    try:
        folder = Path(name_or_folder).expanduser()
    except RuntimeError:  # no such user
        folder = Path(name_or_folder)
    if is_folder(folder):
        return folder
    return installed_folder(str(name_or_folder)[:300])


def verify_files(folder: Path, manifest: BundleManifest) -> None:
    """Check that every file is there with its SHA-256.

    Raises:
        WeightsError: naming the first file that is not.
    """
    for entry in manifest.files:
        path = folder / entry.path
        if not is_file(path):
            raise WeightsError(f"bundle {manifest.name}: {str(path)[:300]} is missing")
        found = sha256_file(path)
        if found != entry.sha256:
            raise WeightsError(
                f"bundle {manifest.name}: {path} is damaged or was changed"
                f" (SHA-256 {found[:12]}…, expected {entry.sha256[:12]}…)",
                hint="restore the file: fetch or import the bundle again",
            )


# --------------------------------------------------------------------------------- assembling


def assemble(
    manifest: BundleManifest, folder: Path | None, device: torch.device, dtype: torch.dtype
) -> Bundle:
    """Build all networks; from files where there is a folder, else with random weights."""
    if folder is None:
        parts = build_networks(manifest)
    else:
        parts = _built(manifest, folder)
        _load_all(parts, manifest, folder)
    encoder = parts.encoder
    vae_dtype = torch.float32 if dtype is torch.float16 else dtype
    for module in (parts.codec, encoder, parts.unet, parts.adapter, parts.projector):
        if module is not None:
            # nn.Module's own `to`: diffusers' warns about float32 layers these models don't have
            nn.Module.to(module, device, vae_dtype if module is parts.codec else dtype)
            module.eval().requires_grad_(False)
    if device.type != "cpu" or sum(p.numel() for p in parts.unet.parameters()) < WIDE:
        parts.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if isinstance(encoder, MobileNetV2Tokens):  # twice as fast on a CPU
        encoder.fold()
    tower = ImageEncoder(encoder, manifest.encoder, encoder_identity(manifest, dtype))
    return Bundle(
        manifest=manifest,
        folder=folder,
        codec=parts.codec,
        encoder=tower,
        torch_unet=lambda: parts.unet,
        adapter=parts.adapter,
        projector=parts.projector,
        files=manifest.files,
        device=device,
        dtype=dtype,
    )


def _built(manifest: BundleManifest, folder: Path) -> Networks:
    """Return the empty networks of a manifest that may describe anything.

    Raises:
        WeightsError: it describes none, or some that do not fit each other.
    """
    try:
        parts = build_networks(manifest, empty=True)
        problems = misfits(manifest, parts.codec, parts.unet, parts.encoder)
    except FapVideoError:
        raise
    except Exception as error:  # diffusers and transformers raise a dozen kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        problems = [reason[:300]]
    if problems:
        raise WeightsError(
            f"{folder / MANIFEST_NAME} describes no networks that work: {problems[0]}",
            hint="get the bundle from its maker again",
        )
    return parts


@dataclass(frozen=True, slots=True)
class Networks:
    """The bare networks of a manifest; what training starts from."""

    codec: SpaceToDepth | VaeCodec
    encoder: nn.Module
    unet: nn.Module
    adapter: Adapter
    projector: MlpProjector | None


def build_networks(
    manifest: BundleManifest, *, empty: bool = False, zero_init: bool = False
) -> Networks:
    """Build the networks of a manifest with random weights, or `empty` ones on the meta device.

    `zero_init` starts adapter A's projections at zero (training).
    """
    if empty:
        # Buffers stay real: some, like CLIP's position ids, are in no weights file.
        with without_weights():
            return _networks(manifest, zero_init)
    return _networks(manifest, zero_init)


def _networks(manifest: BundleManifest, zero_init: bool) -> Networks:
    spec = manifest.codec
    codec = build_codec(spec.kind, factor=spec.factor, scaling=spec.scaling, config=spec.config)
    encoder = _build_encoder(manifest.encoder)
    unet = build_unet(manifest.unet.kind, manifest.unet.config)
    projector: MlpProjector | None = None
    adapter: Adapter
    if manifest.adapter.variant == "B":
        strip_dead_cross_attention(unet)
        width = int(manifest.unet.config.get("cross_attention_dim", 768))
        adapter = AttentionAdapter(unet, width)
        projector = MlpProjector(manifest.encoder.width, width)
    else:
        if manifest.unet.kind == "unet2d_condition":
            silence_cross_attention(unet)
        adapter = ResnetAdapter(
            unet, manifest.encoder.width, default_blocks(manifest, unet), zero_init=zero_init
        )
    return Networks(codec, encoder, unet, adapter, projector)


def default_blocks(manifest: BundleManifest, unet: nn.Module) -> tuple[str, ...]:
    """Return the ResNet blocks that carry adapter A: the published ones for SD-1.5's class.

    For other UNets: all that work at a grid of 32 or coarser.
    """
    if manifest.unet.kind == "unet2d_condition":
        return published_resnets(unet)
    return resnets_up_to(unet, manifest.resolution // manifest.codec.factor)


def _build_encoder(spec: EncoderSpec) -> nn.Module:
    if spec.kind == "mobilenet_v2":
        return MobileNetV2Tokens()
    if spec.name.startswith("open_clip:"):
        from fapvideo.nets.open_clip_tower import OpenClipTower

        return ClipTokens(OpenClipTower(spec.name), spec.image_size)
    return ClipTokens(TransformersTower(spec.config), spec.image_size)


def encoder_identity(manifest: BundleManifest, dtype: torch.dtype) -> str:
    """Return what the reference cache keys on: weights, preprocessing and number format."""
    hashes = {entry.path: entry.sha256 for entry in manifest.files}
    file = manifest.encoder.file
    weights = hashes.get(file, file) if file else f"{manifest.name}-random-{TINY_SEED}"
    kind = manifest.encoder.kind
    preprocessing = PREPROCESSING if kind == "clip" else MOBILENET_PREPROCESSING
    return f"{kind} {manifest.encoder.name} {weights} {preprocessing} {dtype}".replace("torch.", "")


def _load_all(parts: Networks, manifest: BundleManifest, folder: Path) -> None:
    """Fill the empty networks from the bundle's files."""
    listed = {entry.path for entry in manifest.files}

    def path_of(what: str, file: str | None) -> Path:
        if file is None or file not in listed:
            raise WeightsError(
                f"{folder / MANIFEST_NAME}: {what} names no file that is listed under [[files]]"
            )
        return folder / file

    if isinstance(parts.codec, VaeCodec):
        path = path_of("codec.file", manifest.codec.file)
        load_into(parts.codec.vae, read_tensors(path), "the codec", path)
    _load_encoder(parts.encoder, path_of("encoder.file", manifest.encoder.file))
    path = path_of("unet.file", manifest.unet.file)
    tensors = read_tensors(path)
    if manifest.unet.kind == "unet2d_condition":
        for key in dead_keys(tensors):
            del tensors[key]
    load_into(parts.unet, tensors, "the UNet", path)
    path = path_of("adapter.file", manifest.adapter.file)
    load_into(parts.adapter, read_tensors(path), "the adapter", path)
    if parts.projector is not None:
        path = path_of("adapter.projector_file", manifest.adapter.projector_file)
        load_into(parts.projector, read_tensors(path), "the projector", path)


def _load_encoder(encoder: nn.Module, path: Path) -> None:
    tower = getattr(encoder, "tower", None)
    tensors = read_tensors(path)
    if isinstance(tower, TransformersTower):
        load_into(tower, tower.select(tensors), "the CLIP tower", path)
    elif tower is not None:
        tower.load_clip_state(tensors)
    else:
        load_into(encoder, tensors, "the image encoder", path)


# ------------------------------------------------------------------------------------- saving


def save_bundle(
    folder: Path,
    manifest: BundleManifest,
    states: Mapping[str, Mapping[str, Tensor]],
    *,
    licences: Mapping[str, str] | str,
    extra: Mapping[str, str] | None = None,
) -> BundleManifest:
    """Write a bundle: all its files, then in one step its folder; a reader never sees half of it.

    Args:
        folder: replaced if it exists.
        manifest: its `files` are ignored and written anew, with SHA-256; it is returned so.
        states: file name, as the manifest's specs name it -> tensors.
        licences: one for all files, or by file name.
        extra: other text files, such as a model card, by name.

    Raises:
        WeightsError: the folder cannot be written, or exists and is no bundle.
    """
    if folder.exists() and not (folder / MANIFEST_NAME).is_file():
        raise WeightsError(f"{folder} exists and is no bundle: not replaced")
    try:
        with write_atomically(folder) as fresh:
            fresh.mkdir(parents=True)
            entries = []
            for name, state in states.items():
                write_tensors(fresh / name, state)
                licence = licences if isinstance(licences, str) else licences[name]
                digest = sha256_file(fresh / name)
                entries.append(BundleFile(path=name, sha256=digest, licence=licence))
            for name, text in (extra or {}).items():
                (fresh / name).write_text(text, "utf-8")
            manifest = manifest.model_copy(update={"files": tuple(entries)})
            (fresh / MANIFEST_NAME).write_text(manifest_toml(manifest), "utf-8")
    except OSError as error:
        raise WeightsError(f"{folder} cannot be written: {error}") from None
    return manifest


def manifest_toml(manifest: BundleManifest) -> str:
    """Return the text of `bundle.toml`."""
    import tomlkit

    return tomlkit.dumps(manifest.model_dump(mode="json", exclude_none=True))
