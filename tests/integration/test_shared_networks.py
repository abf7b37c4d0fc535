"""`VideoSwapper.with_preset`: loaded once, whoever closes first; the pixels are a fresh one's."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from portrait import astronaut
from runs import BRAND, preset, swapper

from fapvideo.errors import DeviceError, FapVideoError, PresetError
from fapvideo.pipeline import SwappedBatch
from fapvideo.run import networks

NETWORK = {"mode": "guided", "steps": 2, "precision": "fp32"}
EYES: dict[str, Any] = {"references": {"eyes": BRAND}, "denoise": {**NETWORK, "steps": 1}}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the bundles that were loaded, as they are."""
    names: list[str] = []
    load = networks.load_bundle

    def counted(name: str, *rest: Any, **options: Any) -> Any:
        names.append(name)
        return load(name, *rest, **options)

    monkeypatch.setattr(networks, "load_bundle", counted)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("first_to_close", ["old", "new"])
def test_another_preset_shares_the_networks_and_paints_as_a_fresh_swapper(
    loads: list[str], first_to_close: str
) -> None:
    with swapper(**EYES) as fresh:
        wanted = fresh.swap_image(astronaut())
    with swapper(denoise=NETWORK) as fresh:
        mouth = fresh.swap_image(astronaut())
    loads.clear()
    old = swapper(denoise=NETWORK)
    new = old.with_preset(preset(**EYES))
    assert loads == ["tiny"]
    np.testing.assert_array_equal(new.swap_image(astronaut()), wanted)
    np.testing.assert_array_equal(old.swap_image(astronaut()), mouth)
    gone, stays, picture = (old, new, wanted) if first_to_close == "old" else (new, old, mouth)
    gone.close()
    gone.close()
    np.testing.assert_array_equal(stays.swap_image(astronaut()), picture)
    unet = stays._bench.painter.bundle.unet
    stays.close()
    assert not [m for m in unet.modules() if m._forward_hooks], "the last one takes them off"


@pytest.mark.slow
def test_other_networks_are_loaded_and_found_again_by_the_family(loads: list[str]) -> None:
    with (
        swapper(denoise=NETWORK) as one,
        one.with_preset(preset(bundle="tiny_sd15", denoise=NETWORK)) as other,
        other.with_preset(preset(**EYES)) as third,
        one.with_preset(preset(denoise={**NETWORK, "precision": "bf16"})) as halved,
    ):
        assert loads == ["tiny", "tiny_sd15", "tiny"]
        assert third._bench.painter.bundle is one._bench.painter.bundle
        assert halved._bench.painter.bundle.dtype is torch.bfloat16
        assert other.swap_image(astronaut()).shape == astronaut().shape


@pytest.mark.slow
def test_presets_have_all_forms_and_a_wrong_one_harms_nobody(tmp_path: Path) -> None:
    with swapper(denoise=NETWORK) as one:
        before = one.swap_image(astronaut())
        named = one.with_preset("mouth_only", overrides={"bundle": "tiny"})
        assert named.preset.name == "mouth_only"
        named.close()
        for wrong in (preset(denoise={**NETWORK, "mode": "published"}), tmp_path / "none.toml"):
            with pytest.raises(PresetError):
                one.with_preset(wrong)
        np.testing.assert_array_equal(one.swap_image(astronaut()), before)
    with pytest.raises(FapVideoError, match="closed"):
        one.with_preset("mouth_only")


@pytest.mark.slow
def test_swappers_that_share_serve_one_call_at_a_time_between_them(clip: Any) -> None:
    """Their networks hold what is injected in a call: two at once would give wrong pixels."""
    with swapper(denoise=NETWORK) as one, one.with_preset(preset(**EYES)) as other:
        stream = one.stream(clip("one_face", frames=20))
        next(stream)
        with pytest.raises(FapVideoError, match="shares its networks"):
            other.swap_image(astronaut())
        thread = threading.Thread(target=other.close)
        thread.start()
        thread.join()
        stream.close()
        assert one.swap_image(astronaut()).shape == astronaut().shape


def planes_of(batches: Iterable[SwappedBatch]) -> np.ndarray:
    """Return all samples that would be written."""
    frames = (frame for batch in batches for frame in batch.frames)
    return np.concatenate([plane.ravel().astype(int) for frame in frames for plane in frame.planes])


@pytest.mark.slow
def test_a_full_device_is_told_and_a_full_machine_says_what_to_set(
    clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, denoise = clip("one_face", frames=4), {**NETWORK, "batch_size": 4}
    with swapper(denoise=denoise) as one:
        wanted = planes_of(one.stream(source))
        forward = one._bench.painter.bundle.unet.forward

        def small(sample: Any, *rest: Any) -> Any:
            if len(sample) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(sample, *rest)

        monkeypatch.setattr(one._bench.painter.bundle.unet, "forward", small)
        report = one.run(source, tmp_path / "o.mkv")
        got = planes_of(one.stream(source))
    assert np.abs(got - wanted).max() <= 1, "of the file's samples: a level of Cr is two of red"
    assert report.frames["swapped"] == 4
    halved = [text for text in report.warnings if "ran out of memory" in text]
    assert len(halved) == 2
    assert "denoise.batch_size = 1" in halved[-1]

    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("fapvideo.pipeline.FrameCanvas", full)
    with swapper() as one, pytest.raises(DeviceError, match="machine ran out") as caught:
        one.run(source, tmp_path / "p.mkv")
    assert "video.prefetch_batches = 1" in caught.value.hint
    assert [path.name for path in tmp_path.glob("*p.mkv*")] == [".p.mkv.fapvideo"]
