"""The model card of a trained bundle: where it comes from, what it can do, what it can't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tomlkit

from fapvideo.config.train import TrainPreset
from fapvideo.training.faces.prepare import FaceSet
from fapvideo.training.faces.sets import PublicSet, public_set
from fapvideo.training.learning.adapter_task import MEASURED, STEPS
from fapvideo.training.learning.pretrained import (
    ENCODER_SET,
    ENLARGER_SET,
    PERCEPTUAL_SET,
    wanted_sets,
)
from fapvideo.weights.bundle import Bundle

OWN_PHOTOS = "the trainer's own; their licence and the consent of the people shown decide"

AS_USED = (
    "\n\nMeasured as it was trained. It is used with half of the start noise and nine tenths of"
    " the correction: nearer to the guide where that is good."
)
"""What the table does not show of an embedded bundle: see `network.for_sampling`."""
USE = (
    "Meant for swapping eyes, brows, nose and mouth in videos with `fapvideo run --set"
    " bundle=FOLDER`: virtual humans, brand avatars, research. Only with the consent of the"
    " people shown, and with the result marked as synthetic where people may take it for real."
)

IMAGENET = (
    "- ImageNet's photos are given out for non-commercial research and education; torchvision"
    " publishes weights trained on them under BSD-3-Clause. Whether the photos' terms reach weights"
    " is settled nowhere that we know of."
)
"""What is known of the image tower."""

PURPOSES = {
    ENCODER_SET: "image tower",
    PERCEPTUAL_SET: "training loss",
    ENLARGER_SET: "enlarged small photos",
}


@dataclass(frozen=True, slots=True)
class Training:
    """What a card tells of one training run."""

    preset: TrainPreset
    faces: FaceSet
    sets: Sequence[str]
    """Public sets the photos are from; none for photos of one's own."""
    steps: int
    seconds: float
    metrics: Mapping[str, float]
    """Last row of `log.csv`."""
    samples: int
    heldout_samples: int
    start: Bundle | None = None
    """Whose weights it started from."""


def bundle_licences(training: Training) -> dict[str, str]:
    """Return file name -> licence of the bundle's weights."""
    photos = [public_set(name).licence for name in training.sets] or [OWN_PHOTOS]
    trained = f"weights trained by fapvideo; photos: {'; '.join(photos)}"
    files = ("unet.safetensors", "adapter.safetensors")
    if training.preset.model.kind == "sd15_adapter":
        assert training.start is not None
        return _adapter_licences(training, training.start, trained)
    if training.start is not None:  # what the first weights were under, these are under, too
        before = {file.path: file.licence for file in training.start.files}
        name = training.start.manifest.name
        started = {
            file: before[file]  # the same terms again
            if before[file].startswith(trained)
            else f"{trained}; started from {name} ({before[file]})"
            for file in files
        }
        return {**started, "encoder.safetensors": before["encoder.safetensors"]}
    imagenet = training.preset.model.encoder == "imagenet"
    encoder = public_set("mobilenet_v2").licence if imagenet else "Apache-2.0 (random weights)"
    return {**dict.fromkeys(files, trained), "encoder.safetensors": encoder}


def _adapter_licences(training: Training, start: Bundle, trained: str) -> dict[str, str]:
    """Return the licences of a bundle around an adapter: what it was before, and what was added."""
    given = start.manifest
    kept = {
        "codec.safetensors": given.codec.file,
        "encoder.safetensors": given.encoder.file,
        "unet.safetensors": given.unet.file,
        "adapter.safetensors": given.adapter.file,
        "projector.safetensors": given.adapter.projector_file,
    }
    listed = {file.path: file.licence for file in start.files}
    before = {
        name: listed.get(file or "", "Apache-2.0 (random weights)") for name, file in kept.items()
    }
    changed = ["adapter.safetensors", "projector.safetensors"]
    if training.preset.optim.train_unet:
        changed.append("unet.safetensors")
    started = {name: f"{trained}; started from {given.name} ({before[name]})" for name in changed}
    if training.preset.model.variant == "A":
        del before["projector.safetensors"], started["projector.safetensors"]
    return before | started


def model_card(training: Training) -> str:
    """Return the card as Markdown."""
    preset = training.preset
    blocks = [
        f"# Model card: {preset.name}",
        preset.description,
        _facts(training),
        "## Data and licences\n\n" + _data(training),
        "## Held-out metrics\n\n" + _metrics(training),
        "## Use\n\n" + USE,
        "## Limits\n\n" + _limits(preset),
        "## Settings\n\n```toml\n"
        + tomlkit.dumps(preset.model_dump(mode="json", exclude_none=True)).strip()
        + "\n```",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _facts(training: Training) -> str:
    """Return what was trained, from what, and for how long."""
    model, optim = training.preset.model, training.preset.optim
    if training.start is not None and model.kind == "sd15_adapter":
        place = (
            "added inside its ResNet blocks (FuseAnyPart's variant A)"
            if model.variant == "A"
            else "in place of its cross-attention (FuseAnyPart's variant B)"
        )
        learnt = "UNet and injection were trained" if optim.train_unet else "The UNet was frozen"
        network = (
            f"The UNet of bundle {training.start.manifest.name} on {model.resolution} px face"
            f" crops, with the fused reference tokens {place}. {learnt}: noise prediction on"
            " DDPM's schedule."
        )
        kept = "what was trained is"
    else:
        network = (
            f"A rectified-flow UNet (levels of {', '.join(map(str, model.channels))} channels) on"
            f" {model.resolution} px face crops, {model.factor}x space-to-depth, with the fused"
            " reference tokens of a frozen MobileNetV2 added inside its ResNet blocks"
            " (FuseAnyPart's variant A) and the warped reference as a guide."
        )
        kept = "weights are"
    return (
        f"{network}\n\nTrained for {training.steps} steps of {optim.batch_size} samples"
        f" ({training.steps * optim.batch_size} samples drawn from a pool of {training.samples}) in"
        f" {training.seconds / 3600:.1f} hours, by `fapvideo train`; {kept} the exponential moving"
        " average."
    )


def _data(training: Training) -> str:
    faces = training.faces
    held = len(faces.indices(heldout=True))
    lines = [_set_line("photos", public_set(name)) for name in training.sets]
    if not lines:
        lines.append(f"- photos: {OWN_PHOTOS}")
    for name in wanted_sets(training.preset):
        lines.append(_set_line(PURPOSES[name], public_set(name)))
    if ENCODER_SET in wanted_sets(training.preset):
        lines.append(IMAGENET)
    people = f"of {faces.identities} people" if faces.identities else "not sorted by person"
    reasons = ", ".join(f"{count} {reason}" for reason, count in faces.reasons().items())
    left_out = f"{len(faces.dropped)} left out" + (f" ({reasons})" if reasons else "")
    lines.append(f"- {len(faces)} photos used, {people}; {left_out}")
    lines.append(
        f"- held out: every {training.preset.data.holdout}th photo by sorted name, {held} of those"
        " used; never trained on"
    )
    if training.start is not None:
        licences = {file.licence for file in training.start.files}
        name = training.start.manifest.name
        lines.append(f"- weights it started from: bundle {name}; {'; '.join(sorted(licences))}")
    if any("non-commercial" in licence for licence in bundle_licences(training).values()):
        lines.append(
            "\n**Research, non-commercial use only**, because of the photos. No photo is in this"
            " folder."
        )
    return "\n".join(lines)


def _set_line(what: str, entry: PublicSet) -> str:
    return f"- {what}: {entry.title}; {entry.licence}; from `{entry.origin}`"


def _metrics(training: Training) -> str:
    metrics, how, note = training.metrics, "one step", AS_USED
    if training.preset.model.kind == "sd15_adapter":
        how, note = f"{STEPS} steps without guidance, of the first {MEASURED} samples", ""

    def cell(name: str, form: str) -> str:
        return format(metrics[name], form) if name in metrics else "–"

    rows = [
        ("guide alone (no network)", "guide_psnr", "guide_lpips"),
        (f"result, {how}", "psnr", "lpips"),
        ("result without injection", "psnr_no_injection", "lpips_no_injection"),
    ]
    table = ["| | PSNR in the hole, dB (higher is better) | LPIPS in the hole (lower is better) |"]
    table.append("|---|---|---|")
    table += [f"| {title} | {cell(p, '.2f')} | {cell(d, '.4f')} |" for title, p, d in rows]
    return (
        f"{training.heldout_samples} samples of held-out faces, each a face whose parts are to be"
        " restored from a reference with the errors of real swaps; the truth is the face itself."
        "\n\n" + "\n".join(table) + note
    )


def _limits(preset: TrainPreset) -> str:
    lines = [
        f"- It sees {preset.model.resolution} px crops: larger faces get their fine texture from"
        " the guide.",
        f"- Faces turned by more than {preset.data.max_yaw_deg:.0f} degrees were not in the"
        " training photos.",
        "- It looks as its photos do: groups that are rare among them come out worse. Not"
        " measured by group here.",
        "- Hands, microphones and hair over a part may be painted over.",
    ]
    if preset.model.encoder == "random" and preset.model.kind == "embedded":
        lines.insert(0, "- **A trial run: not meant to be used.** Its image tower is random.")
    return "\n".join(lines)
