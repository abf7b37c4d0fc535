"""The transformers backend on a small random network, loaded from a real folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tiny_grounding_dino as tiny
import torch
from safetensors.torch import load_file, save_file

from fapvideo.config.schema import MaskConfig
from fapvideo.errors import PresetError, WeightsError
from fapvideo.mask.grounding import (
    GroundingDinoDetector,
    prompt_columns,
    read_detections,
)
from fapvideo.mask.open_set import Backend, load_detector
from fapvideo.ops.geometry import iou
from fapvideo.ops.torchvision_shim import make_torchvision_importable

make_torchvision_importable()

PROMPTS = ("eyes", "Nose ", "red hat")
LABELS = {"eyes", "nose", "red hat"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_hf_folder(tmp_path_factory.mktemp("grounding") / "model")


@pytest.fixture(scope="module")
def detector(folder: Path) -> GroundingDinoDetector:
    loaded = load_detector("grounding_dino", folder)
    assert isinstance(loaded, GroundingDinoDetector)
    return loaded


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)


def test_network_is_small(detector: GroundingDinoDetector) -> None:
    assert sum(p.numel() for p in detector._model.parameters()) < 400_000


def test_raw_output(detector: GroundingDinoDetector, picture: np.ndarray) -> None:
    logits, boxes, ids = detector.raw(picture, "eyes. nose.")
    assert logits.shape == (tiny.QUERIES, 256)
    assert boxes.shape == (tiny.QUERIES, 4)
    assert ids.tolist() == [101, 200, 1012, 202, 1012, 102]
    assert np.isneginf(logits[:, len(ids) :]).all()
    assert np.isfinite(logits[:, : len(ids)]).all()
    assert boxes.min() >= 0
    assert boxes.max() <= 1


def test_detections_are_labelled_inside_and_sorted(
    detector: GroundingDinoDetector, picture: np.ndarray
) -> None:
    found = detector.detect(picture, PROMPTS, threshold=0.0, max_overlap=1.0)
    assert len(found) == tiny.QUERIES
    assert {d.label for d in found} <= LABELS
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    for detection in found:
        x0, y0, x1, y1 = detection.box
        assert 0 <= x0 < x1 <= 200
        assert 0 <= y0 < y1 <= 120


def test_threshold_cuts_exactly(detector: GroundingDinoDetector, picture: np.ndarray) -> None:
    everything = detector.detect(picture, PROMPTS, threshold=0.0, max_overlap=1.0)
    limit = everything[5].score
    above = detector.detect(picture, PROMPTS, threshold=limit, max_overlap=1.0)
    assert above == [d for d in everything if d.score > limit]
    assert 0 < len(above) < len(everything)
    assert detector.detect(picture, PROMPTS, threshold=1.0) == []


def test_duplicates_are_suppressed(detector: GroundingDinoDetector, picture: np.ndarray) -> None:
    everything = detector.detect(picture, PROMPTS, threshold=0.0, max_overlap=1.0)
    kept = detector.detect(picture, PROMPTS, threshold=0.0, max_overlap=0.0)
    assert len(kept) < len(everything)
    pairs = [(a, b) for a in kept for b in kept if a is not b and a.label == b.label]
    assert all(iou([a.box], [b.box]) == 0 for a, b in pairs)


def test_boxes_scale_with_the_picture(detector: GroundingDinoDetector) -> None:
    """A plain picture and one three times as large look alike to the network."""
    small = np.full((96, 160, 3), (200, 150, 120), np.uint8)
    large = np.full((288, 480, 3), (200, 150, 120), np.uint8)
    a, b = (detector.detect(rgb, PROMPTS, 0.0, max_overlap=1.0) for rgb in (small, large))
    assert [d.label for d in a] == [d.label for d in b]
    for one, three in zip(a, b, strict=True):
        assert three.box == pytest.approx([3 * edge for edge in one.box], abs=1e-3)


def test_model_object_gives_what_its_folder_gives(
    detector: GroundingDinoDetector, picture: np.ndarray
) -> None:
    model = tiny.hf_model()
    tiny.randomise(model)
    built = GroundingDinoDetector(model, detector._tokenizer, detector._image_processor, "cpu")
    assert built.detect(picture, PROMPTS, 0.1) == detector.detect(picture, PROMPTS, 0.1)


def test_published_names_are_what_is_loaded(folder: Path) -> None:
    """The folder on disk has the key names of the published checkpoints (transformers 4)."""
    keys = load_file(folder / "model.safetensors").keys()
    swin = "model.backbone.conv_encoder.model.encoder.layers.0.blocks.0.attention."
    assert f"{swin}self.query.weight" in keys
    assert f"{swin}output.dense.weight" in keys


@pytest.mark.slow
def test_a_norm_that_nothing_reads_may_be_absent(
    detector: GroundingDinoDetector, folder: Path, tmp_path: Path, picture: np.ndarray
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    state = load_file(copy / "model.safetensors")
    unused = [key for key in state if "model.swin.layernorm" in key]
    assert len(unused) == 2
    for key in unused:
        del state[key]
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    loaded = load_detector("grounding_dino", copy)
    assert loaded.detect(picture, PROMPTS, 0.1) == detector.detect(picture, PROMPTS, 0.1)


# ------------------------------------------------------------------- reading the output


IDS = np.array([101, 200, 1012, 209, 207, 1012, 102])
"""[CLS] eyes . red hat . [SEP]"""


def logits_for(*rows: dict[int, float]) -> np.ndarray:
    table = np.full((len(rows), 256), -np.inf, np.float32)
    table[:, : len(IDS)] = -4.0
    for row, values in enumerate(rows):
        for column, value in values.items():
            table[row, column] = value
    return table


def test_tokens_belong_to_their_prompt() -> None:
    assert [own.tolist() for own in prompt_columns(IDS, 2)] == [[1], [3, 4]]
    with pytest.raises(PresetError, match="3 detection prompts were read as 2"):
        prompt_columns(IDS, 3)


def test_label_is_the_prompt_with_the_best_token() -> None:
    # The separators' own columns (0, 2, 5, 6) are high everywhere and must not count.
    separators = {0: 9.0, 2: 9.0, 5: 9.0, 6: 9.0}
    logits = logits_for(
        {**separators, 1: 1.0, 3: 0.0}, {**separators, 1: 0.5, 4: 2.0}, {**separators}
    )
    boxes = np.array([[0.5, 0.5, 0.2, 0.4], [0.1, 0.5, 0.4, 0.2], [0.5, 0.5, 0.1, 0.1]], np.float32)
    found = read_detections(logits, boxes, IDS, ["eyes", "red hat"], (200, 100), threshold=0.5)
    assert [d.label for d in found] == ["red hat", "eyes"]
    assert [d.score for d in found] == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-1))])
    assert found[0].box == pytest.approx((0, 40, 60, 60))  # clipped at the left
    assert found[1].box == pytest.approx((80, 30, 120, 70))


def test_boxes_without_area_are_dropped() -> None:
    logits = logits_for({1: 3.0}, {1: 3.0})
    boxes = np.array([[0.5, 0.5, 0.0, 0.4], [1.3, 0.5, 0.2, 0.2]], np.float32)
    assert read_detections(logits, boxes, IDS, ["eyes", "red hat"], (200, 100), 0.5) == []


# ------------------------------------------------------------------- errors


@pytest.mark.parametrize("prompts", [[], [""], ["eyes", " "], ["eyes. nose"], ["eyes?"]])
def test_unusable_prompts(
    detector: GroundingDinoDetector, picture: np.ndarray, prompts: list[str]
) -> None:
    with pytest.raises(PresetError, match="detection prompt"):
        detector.detect(picture, prompts, 0.3)


def test_repeated_prompts_count_once(detector: GroundingDinoDetector, picture: np.ndarray) -> None:
    once = detector.detect(picture, ["eyes", "nose"], 0.0)
    assert detector.detect(picture, ["eyes", "nose", "EYES"], 0.0) == once


def test_too_many_prompts(detector: GroundingDinoDetector, picture: np.ndarray) -> None:
    with pytest.raises(PresetError, match="302 tokens"):
        detector.detect(picture, [" ".join(["red"] * 299)], 0.3)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3)])
def test_unusable_pictures(detector: GroundingDinoDetector, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        detector.detect(np.zeros(shape, np.uint8), ["eyes"], 0.3)
    with pytest.raises(ValueError, match="expected uint8"):
        detector.detect(np.zeros((8, 8, 3), np.float32), ["eyes"], 0.3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("config.json", "lacks config.json"),
        ("model.safetensors", "lacks model.safetensors"),
        ("vocab.txt", "lacks tokenizer.json or vocab.txt"),
    ],
)
def test_missing_files_are_named(folder: Path, tmp_path: Path, gone: str, message: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / gone).unlink()
    with pytest.raises(WeightsError, match=message) as caught:
        load_detector("grounding_dino", copy)
    assert "docs/grounding-dino.md" in caught.value.hint


def test_missing_tensor_is_not_filled_with_noise(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    state = load_file(copy / "model.safetensors")
    del state["model.text_projection.bias"]
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 tensor.*model\.text_projection\.bias"):
        load_detector("grounding_dino", copy)


@pytest.mark.parametrize("damage", ["truncated", "reshaped"])
def test_damaged_weights(folder: Path, tmp_path: Path, damage: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    file = copy / "model.safetensors"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:5000])
    else:
        state = load_file(file)
        state["model.text_projection.bias"] = torch.zeros(5)
        save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="does not load as Grounding DINO"):
        load_detector("grounding_dino", copy)


def test_foreign_vocabulary_is_refused(folder: Path, tmp_path: Path) -> None:
    """Other ids of the separators would give wrong boxes without an error."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    words = (copy / "vocab.txt").read_text().split("\n")
    words[1012], words[1013] = words[1013], words[1012]
    (copy / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(WeightsError, match="1013"):
        load_detector("grounding_dino", copy)


# ------------------------------------------------------------------- wiring


def test_backends_are_those_of_the_schema() -> None:
    known = get_args(MaskConfig.model_fields["backend"].annotation)
    assert set(get_args(Backend)) == set(known) - {"landmarks"}


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_detector("grounding_dino", folder)
    assert capfd.readouterr() == ("", "")
