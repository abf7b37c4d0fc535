"""groundingdino-py behind the same interface, and its equality with transformers' port."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_grounding_dino as tiny
import torch
from safetensors.torch import save_file

from fapvideo.errors import WeightsError
from fapvideo.mask.grounding import GroundingDinoDetector
from fapvideo.mask.grounding_py import GroundingDinoPyDetector
from fapvideo.mask.open_set import load_detector
from fapvideo.ops.torchvision_shim import make_torchvision_importable

make_torchvision_importable()
pytest.importorskip("groundingdino")  # of the extra `groundingdino`

PROMPTS = ("eyes", "nose", "mouth", "a red hat")
CAPTION = "eyes. nose. mouth. a red hat."


@pytest.fixture(scope="module")
def small_swin() -> Iterator[None]:
    with tiny.small_swin():
        yield


@pytest.fixture(scope="module")
def model(small_swin: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    bert = tmp_path_factory.mktemp("bert")
    built = tiny.py_model(bert)
    built.bert_folder = str(bert)
    return built


@pytest.fixture(scope="module")
def folder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("py") / "model"
    return tiny.write_py_folder(folder, model, Path(model.bert_folder))


@pytest.fixture(scope="module")
def ours(folder: Path) -> GroundingDinoPyDetector:
    loaded = load_detector("grounding_dino_py", folder)
    assert isinstance(loaded, GroundingDinoPyDetector)
    return loaded


@pytest.fixture(scope="module")
def theirs(model: Any, tmp_path_factory: pytest.TempPathFactory) -> GroundingDinoDetector:
    """transformers' network with the same checkpoint, renamed key by key."""
    folder = tmp_path_factory.mktemp("hf") / "model"
    state = tiny.to_transformers(model.state_dict())
    return GroundingDinoDetector.from_folder(tiny.write_hf_folder(folder, state))


@pytest.fixture(params=[(120, 200), (96, 160), (300, 120)], ids=str)
def picture(request: pytest.FixtureRequest) -> np.ndarray:
    height, width = request.param
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_one_checkpoint_one_answer(
    ours: GroundingDinoPyDetector, theirs: GroundingDinoDetector, picture: np.ndarray
) -> None:
    """Boxes and logits of both packages agree within 1e-4, from the same picture and words."""
    logits, boxes, ids = ours.raw(picture, CAPTION)
    want_logits, want_boxes, want_ids = theirs.raw(picture, CAPTION)
    assert ids.tolist() == want_ids.tolist()
    assert (np.isneginf(logits) == np.isneginf(want_logits)).all()
    known = np.isfinite(logits)
    assert known.sum() == tiny.QUERIES * len(ids)
    assert np.ptp(logits[known]) > 1
    assert np.ptp(boxes, axis=0).min() > 0.05
    np.testing.assert_allclose(boxes, want_boxes, atol=1e-4, rtol=0)
    scale = max(1.0, np.abs(logits[known]).max() / 10)
    np.testing.assert_allclose(logits[known], want_logits[known], atol=1e-4 * scale, rtol=0)


def test_same_detections(
    ours: GroundingDinoPyDetector, theirs: GroundingDinoDetector, picture: np.ndarray
) -> None:
    found, want = (detector.detect(picture, PROMPTS, 0.3) for detector in (ours, theirs))
    assert 1 < len(found) == len(want)
    assert {d.label for d in found} <= set(PROMPTS)
    assert [d.label for d in found] == [d.label for d in want]
    for a, b in zip(found, want, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-4)
        assert a.box == pytest.approx(b.box, abs=0.05)


def test_folder_gives_the_built_model(ours: GroundingDinoPyDetector, model: Any) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    built = GroundingDinoPyDetector(model, "cpu", *tiny.SIDES)
    assert built.detect(picture, PROMPTS, 0.3) == ours.detect(picture, PROMPTS, 0.3)


def test_package_is_left_as_it_was(ours: GroundingDinoPyDetector) -> None:
    from groundingdino.models.GroundingDINO import groundingdino as package
    from groundingdino.models.GroundingDINO.bertwarper import BertModelWarper
    from groundingdino.util import get_tokenlizer

    assert package.BertModelWarper is BertModelWarper
    assert package.get_tokenlizer is get_tokenlizer


def test_safetensors_checkpoint_of_an_older_bert(
    ours: GroundingDinoPyDetector, model: Any, folder: Path, tmp_path: Path
) -> None:
    """Older transformers saved BERT's position ids, and some files leave its pooler out."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "groundingdino_tiny.pth").unlink()
    state = {k: v.clone() for k, v in model.state_dict().items() if "bert.pooler" not in k}
    state["bert.embeddings.position_ids"] = torch.arange(300)[None]
    save_file(state, copy / "model.safetensors")
    picture = np.random.default_rng(2).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    loaded = load_detector("grounding_dino_py", copy)
    assert loaded.detect(picture, PROMPTS, 0.3) == ours.detect(picture, PROMPTS, 0.3)


# ------------------------------------------------------------------- errors


def test_published_architectures_are_recognised(tmp_path: Path) -> None:
    """Without a config.json the package's own configuration is chosen by the weights."""
    from fapvideo.mask.grounding_py import _settings

    key = "backbone.0.patch_embed.proj.weight"
    assert _settings(tmp_path, {key: torch.zeros(96, 3, 4, 4)})["backbone"] == "swin_T_224_1k"
    assert _settings(tmp_path, {key: torch.zeros(128, 3, 4, 4)})["backbone"] == "swin_B_384_22k"
    with pytest.raises(WeightsError, match="neither Swin-T nor Swin-B") as caught:
        _settings(tmp_path, {"model.level_embed": torch.zeros(4, 32)})
    assert "grounding_dino" in caught.value.hint


def with_state(folder: Path, tmp_path: Path, change: Any) -> Path:
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "groundingdino_tiny.pth"
    whole = torch.load(path, weights_only=True)
    change(whole["model"])
    torch.save(whole, path)
    return copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("module.feat_map.bias"), r"1 tensor\(s\) missing.*feat_map\.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unknown, first: extra"),
        (lambda s: s.update({"module.feat_map.bias": torch.zeros(3)}), "another shape: .*feat_map"),
    ],
)
def test_unfit_checkpoints(
    small_swin: None, folder: Path, tmp_path: Path, change: Any, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        load_detector("grounding_dino_py", with_state(folder, tmp_path, change))


class Malicious:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


def test_pickled_code_is_refused(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    torch.save({"model": Malicious()}, copy / "groundingdino_tiny.pth")
    with pytest.raises(WeightsError, match="is refused: it holds more than tensors"):
        load_detector("grounding_dino_py", copy)
    assert "executed" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"PK\x03\x04 broken", "cannot be read")]
)
def test_damaged_checkpoint(folder: Path, tmp_path: Path, content: bytes, message: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "groundingdino_tiny.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_detector("grounding_dino_py", copy)


def test_missing_and_ambiguous_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="exactly one Grounding DINO checkpoint, found: none"):
        load_detector("grounding_dino_py", tmp_path)
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.copy(copy / "groundingdino_tiny.pth", copy / "other.pth")
    with pytest.raises(WeightsError, match=r"found: groundingdino_tiny\.pth, other\.pth"):
        load_detector("grounding_dino_py", copy)
    (copy / "other.pth").unlink()
    shutil.rmtree(copy / "bert")
    with pytest.raises(WeightsError, match=r"bert is no Grounding DINO model: it lacks config"):
        load_detector("grounding_dino_py", copy)


def test_missing_extra_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "groundingdino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "groundingdino", None)
    with pytest.raises(WeightsError, match="needs groundingdino-py") as caught:
        load_detector("grounding_dino_py", folder)
    assert "fapvideo[groundingdino]" in caught.value.hint


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_detector("grounding_dino_py", folder)
    assert capfd.readouterr() == ("", "")
