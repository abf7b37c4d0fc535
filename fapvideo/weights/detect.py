"""What is this file? Answered from tensor names and shapes, whatever the file is called."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fapvideo.errors import WeightsError
from fapvideo.weights.foreign import read_layout

Kind = Literal["fap", "unet", "clip_vision", "vae", "taesd", "lora", "unknown"]
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

NAMES: dict[Kind, str] = {
    "fap": "FuseAnyPart checkpoint (fap.bin)",
    "unet": "Stable Diffusion UNet",
    "clip_vision": "CLIP image tower",
    "vae": "AutoencoderKL",
    "taesd": "AutoencoderTiny (TAESD)",
    "lora": "LoRA",
    "unknown": "unknown file",
}


@dataclass(frozen=True, slots=True)
class Detected:
    """What a weights file turned out to be."""

    kind: Kind
    detail: str
    """For people: naming layout, size, what is special about it."""
    tensors: int
    parameters: int

    def __str__(self) -> str:
        """Describe in one line."""
        inside = f"{self.tensors} tensors, {self.parameters / 1e6:.1f} M parameters"
        return f"{NAMES[self.kind]}{f' ({self.detail})' if self.detail else ''}: {inside}"


def detect_file(path: Path) -> Detected:
    """Say what the weights in `path` are, without reading their values.

    Raises:
        WeightsError: missing, damaged, or a pickle that holds more than tensors.
    """
    return detect_keys(read_layout(path))


def detect_keys(shapes: Shapes) -> Detected:
    """Say what a set of tensors is, from names and shapes."""
    kind, detail = next(
        (found for test in _TESTS if (found := test(shapes)) is not None), _unknown(shapes)
    )
    return Detected(kind, detail, len(shapes), sum(map(math.prod, shapes.values())))


def expect(path: Path, *kinds: Kind) -> Detected:
    """Return what `path` is, if it is one of `kinds`.

    Raises:
        WeightsError: it is something else.
    """
    found = detect_file(path)
    if found.kind not in kinds:
        wanted = " or ".join(NAMES[kind] for kind in kinds)
        raise WeightsError(f"{path} is no {wanted}; it is: {found}")
    return found


Answer = tuple[Kind, str] | None


def _fap(shapes: Shapes) -> Answer:
    groups = [g for g in ("image_proj", "image_proj2", "unet") if _any(shapes, f"{g}.")]
    injected = any("attn2.processor.image_projector" in key for key in shapes)
    if "image_proj2" in groups or injected:
        missing = {"image_proj2", "unet"} - set(groups)
        return "fap", f"without group {', '.join(sorted(missing))}" if missing else "variant B"
    return None


def _lora(shapes: Shapes) -> Answer:
    marks = ("lora_up", "lora_down", "lora_A", "lora_B", ".lora.")
    return ("lora", "") if any(mark in key for key in shapes for mark in marks) else None


def _unet(shapes: Shapes) -> Answer:
    first = shapes.get("conv_in.weight")
    if first is not None and "time_embedding.linear_1.weight" in shapes:
        context = next((s[1] for k, s in shapes.items() if k.endswith("attn2.to_k.weight")), 0)
        return "unet", f"{first[1]} input channels, context {context}"
    return None


def _clip(shapes: Shapes) -> Answer:
    for prefix in ("", "vision_model."):
        patch = shapes.get(f"{prefix}embeddings.patch_embedding.weight")
        if patch is not None:
            return "clip_vision", f"{_tower(patch)}, transformers' names"
    for prefix in ("", "visual."):
        patch = shapes.get(f"{prefix}conv1.weight")
        if patch is not None and f"{prefix}class_embedding" in shapes:
            return "clip_vision", f"{_tower(patch)}, open_clip's names"
    return None


def _tower(patch: Shape) -> str:
    size = {1280: "ViT-H", 1024: "ViT-L", 768: "ViT-B"}.get(patch[0], f"width {patch[0]}")
    return f"{size}/{patch[2]}"


def _vae(shapes: Shapes) -> Answer:
    if _any(shapes, "encoder.mid_block.") and _any(shapes, "decoder.mid_block."):
        old = any(".attentions.0.query." in key for key in shapes)
        return "vae", "old attention names" if old else ""
    return None


def _taesd(shapes: Shapes) -> Answer:
    found = _any(shapes, "encoder.layers.") and _any(shapes, "decoder.layers.")
    return ("taesd", "") if found else None


_TESTS: tuple[Callable[[Shapes], Answer], ...] = (_fap, _lora, _unet, _clip, _vae, _taesd)


def _unknown(shapes: Shapes) -> tuple[Kind, str]:
    first = ", ".join(sorted(shapes)[:3])
    return "unknown", f"first names: {first}" if first else "no tensors"


def _any(shapes: Shapes, prefix: str) -> bool:
    return any(key.startswith(prefix) for key in shapes)
