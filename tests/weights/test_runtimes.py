"""ONNX Runtime in torch's place: the same pictures, graphs that are kept, what is without it."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fresh import run_fresh
from torch import Tensor

from fapvideo.config.presets import load_preset
from fapvideo.config.schema import DenoiseConfig, FuseConfig
from fapvideo.denoise.denoiser import Denoiser
from fapvideo.denoise.noise import track_noise
from fapvideo.errors import DeviceError, PresetError
from fapvideo.mask.occlusion import Occluders
from fapvideo.run.networks import networks_key
from fapvideo.swapper import VideoSwapper
from fapvideo.video.reader import VideoReader
from fapvideo.weights import quick, runtimes
from fapvideo.weights.bundle import Bundle, load_bundle
from fapvideo.weights.runtimes import number_format, with_runtime

ASKED = DenoiseConfig(runtime="onnxruntime", steps=2)
EXAMPLE = Path(__file__).parents[2] / "examples/talking_portrait.mp4"
HALF_A_LEVEL = 1 / 255
"""Of a picture in [-1, 1]."""


@pytest.fixture(scope="module")
def plain() -> Bundle:
    return load_bundle("embedded")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def fast(plain: Bundle, kept: Path) -> Bundle:
    return with_runtime(plain, ASKED, kept)


def painted(bundle: Bundle, count: int, seed: int) -> Tensor:
    """Return crops of smooth pictures with a hole, and with tokens of others."""
    generator, side = torch.Generator().manual_seed(seed), bundle.manifest.resolution
    coarse = torch.rand(2, count, 3, 8, 8, generator=generator)
    target, guide = (torch.nn.functional.interpolate(x, side, mode="bilinear") for x in coarse)
    hole = torch.zeros(count, 1, side, side)
    hole[..., 32:80, 32:96] = 1
    tokens = bundle.encoder(target)
    denoiser = Denoiser(bundle, ASKED, FuseConfig())
    noise = torch.stack([track_noise(seed, row, denoiser.noise_shape) for row in range(count)])
    result = denoiser(target * 2 - 1, guide * 2 - 1, hole, tokens, noise)
    denoiser.close()
    return result


@pytest.mark.parametrize(("count", "seed"), [(1, 0), (3, 1)])
def test_it_paints_what_torch_paints(plain: Bundle, fast: Bundle, count: int, seed: int) -> None:
    assert fast.runtime.startswith("onnxruntime 1.")
    one, other = painted(plain, count, seed), painted(fast, count, seed)
    assert torch.allclose(one, other, rtol=0, atol=HALF_A_LEVEL)
    assert not torch.equal(one, other), "torch painted both"


def test_a_whole_frame_is_that_of_torch(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs is what was within rounding of the next level."""
    monkeypatch.setattr(runtimes, "user_cache_dir", lambda _: kept.parent)
    monkeypatch.setattr(runtimes, "GRAPHS", kept.name)
    with VideoReader(EXAMPLE) as reader:
        frame = next(iter(reader.batches(1))).rgb[0]
    pictures = []
    for runtime in ("torch", "onnxruntime"):
        options = {"denoise.runtime": runtime}
        with VideoSwapper.from_preset("brand_avatar", device="cpu", overrides=options) as swapper:
            pictures.append(swapper.swap_image(frame).astype(np.int16))
    far = np.abs(pictures[0] - pictures[1])
    assert far.max() <= 1
    assert (far > 0).mean() < 1e-3
    assert np.abs(pictures[0] - frame).max() > 20, "nothing was swapped"


def test_every_map_and_the_time_reach_the_network(plain: Bundle, fast: Bundle) -> None:
    x, time, maps = runtimes._example(plain, samples=1, seed=5)
    assert fast.exported is not None
    before = fast.exported.predict(x, time, maps)
    changed = [{**maps, name: torch.zeros_like(maps[name])} for name in maps]
    assert all(not torch.equal(before, fast.exported.predict(x, time, m)) for m in changed)
    assert not torch.equal(before, fast.exported.predict(x, time - 300, maps))


def test_tokens_are_those_that_are_cached(plain: Bundle, fast: Bundle) -> None:
    pictures = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(plain.encoder(pictures), fast.encoder(pictures), rtol=0, atol=1e-4)
    assert plain.encoder.identity == fast.encoder.identity


def test_graphs_are_made_once_and_again_when_damaged(
    plain: Bundle, fast: Bundle, kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    made, export = [], runtimes.onnx_graph

    def counted(module: Any, inputs: Any) -> bytes:
        made.append(type(module).__name__)
        return export(module, inputs)

    monkeypatch.setattr(runtimes, "onnx_graph", counted)
    with_runtime(plain, ASKED, kept)
    assert made == []
    (tower,) = kept.glob("tower-*")
    whole = tower.read_bytes()
    tower.write_bytes(whole[:-100] + bytes(100))
    again = with_runtime(plain, ASKED, kept)
    assert made == ["MobileNetV2Tokens"]
    assert "is damaged and is made again" in caplog.text
    assert tower.stat().st_size == len(whole)
    assert again.runtime == fast.runtime
    names = {path.name.partition("-")[0] for path in kept.iterdir()}
    assert names <= {"unet", "tower", "occluders"}, "nothing is left half-written"


def test_with_kept_graphs_torchs_unet_is_built_when_it_is_asked_for(
    plain: Bundle, fast: Bundle, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def counted(*given: Any, **named: Any) -> Bundle:
        loaded.append(given)
        return load_bundle(*given, **named)

    monkeypatch.setattr(quick, "load_bundle", counted)
    given = "embedded", torch.device("cpu"), torch.float32, ASKED
    bundle = quick.kept_bundle(*given, kept)
    assert bundle is not None
    assert bundle.runtime == fast.runtime
    assert torch.equal(painted(bundle, 1, 0), painted(fast, 1, 0))
    assert bundle.encoder.identity == plain.encoder.identity
    assert loaded == []
    x, time, maps = runtimes._example(bundle, samples=1, seed=2)
    for one in (bundle, plain):
        one.adapter.inject()
    with torch.no_grad():
        said = (one.adapter.predict(one.unet, x, time, maps) for one in (bundle, plain))
        assert torch.equal(*said)
    plain.adapter.eject()
    assert len(loaded) == 1
    assert quick.kept_bundle(*given, tmp_path) is None, "no graph is kept there"
    assert quick.kept_bundle(*given[:3], DenoiseConfig(runtime="torch"), kept) is None
    assert quick.kept_bundle("tiny", *given[1:], kept) is None


@pytest.mark.slow
def test_a_swapper_with_kept_graphs_imports_no_diffusers(kept: Path, fast: Bundle) -> None:
    cache = kept.parent / "cache"
    (cache / "fapvideo").mkdir(parents=True)
    (cache / "fapvideo" / runtimes.GRAPHS).symlink_to(kept)
    code = (
        f"import os, sys; os.environ['XDG_CACHE_HOME'] = {str(cache)!r};"
        "from fapvideo import VideoSwapper;"
        "options = {'denoise.runtime': 'onnxruntime'};"
        "VideoSwapper.from_preset('brand_avatar', device='cpu', overrides=options).close();"
        "print('diffusers' in sys.modules, 'transformers' in sys.modules)"
    )
    done = run_fresh(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "False"]


def test_what_is_in_front_of_a_face_is_what_torch_sees(
    kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(runtimes, "user_cache_dir", lambda _: kept.parent)
    monkeypatch.setattr(runtimes, "GRAPHS", kept.name)
    crop = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    crop = np.repeat(np.repeat(crop[::16, ::16], 16, 0), 16, 1)
    landmarks = 64 + 60 * np.random.default_rng(1).uniform(-1, 1, (478, 2))
    by_torch, by_other = (
        Occluders(DenoiseConfig(runtime=name))(crop, landmarks) for name in ("torch", "onnxruntime")
    )
    assert np.allclose(by_torch, by_other, rtol=0, atol=runtimes.TOLERANCE)
    assert by_torch.max() > 0.01
    assert not np.array_equal(by_torch, by_other), "torch saw both"
    (graph,) = kept.glob("occluders-*")
    graph.unlink()
    monkeypatch.setattr(runtimes, "onnx_graph", lambda *_: b"no graph")
    without = Occluders(DenoiseConfig(runtime="onnxruntime"))(crop, landmarks)
    assert np.array_equal(without, by_torch)
    assert "ONNX Runtime cannot compute occluders here" in caplog.text


def test_two_threads_may_export_at_once(tmp_path: Path, caplog: Any) -> None:
    networks = [torch.nn.Conv2d(3, 4, 3) for _ in range(4)]

    def made(network: torch.nn.Module) -> Any:
        return runtimes.exported(network, "convolution", 16, ASKED, tmp_path)

    with ThreadPoolExecutor(4) as threads:
        computes = list(threads.map(made, networks))
    assert caplog.text == ""
    pictures = torch.rand(1, 3, 16, 16)
    for network, compute in zip(networks, computes, strict=True):
        assert torch.allclose(compute(pictures), network(pictures), atol=1e-6)


def test_what_fails_is_torchs_with_one_warning_or_an_error_where_it_was_asked_for(
    plain: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(runtimes, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr(runtimes, "onnx_graph", lambda *_: b"no graph")
    with caplog.at_level(logging.WARNING):
        assert with_runtime(plain, DenoiseConfig(), tmp_path).runtime == "torch"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "torch does, more slowly" in caplog.text
    with pytest.raises(DeviceError, match="cannot compute bundle embedded here") as found:
        with_runtime(plain, ASKED, tmp_path)
    assert found.value.hint == 'set denoise.runtime = "auto" or "torch"'
    assert list(tmp_path.iterdir()) == [], "what does not work is not kept"


@pytest.mark.slow
def test_an_export_that_says_something_else_is_refused(
    plain: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = runtimes.onnx_graph

    def other_network(module: Any, inputs: Any) -> bytes:
        unet = getattr(module, "unet", None)
        if unet is None:
            return export(module, inputs)
        bias = unet.conv_out.bias
        with torch.no_grad():
            bias += 0.01
            graph = export(module, inputs)
            bias -= 0.01
        return graph

    monkeypatch.setattr(runtimes, "onnx_graph", other_network)
    with pytest.raises(DeviceError, match=r"the exported UNet differs from torch's by 0\.01"):
        with_runtime(plain, ASKED, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_auto_is_torch_and_asking_says_what_to_install(
    plain: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(runtimes, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr(runtimes, "find_spec", lambda _: None)
    assert with_runtime(plain, DenoiseConfig()) is plain
    assert caplog.text == ""
    with pytest.raises(DeviceError, match="onnxruntime and onnx not installed") as found:
        with_runtime(plain, ASKED)
    assert 'pip install "fapvideo[fast]"' in found.value.hint


def test_bundles_of_other_networks_and_bf16_stay_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, dtype in (("tiny", torch.float32), ("embedded", torch.bfloat16)):
        bundle = load_bundle(name, dtype=dtype)
        monkeypatch.setattr(runtimes, "cpu_has_bf16", lambda: False)
        assert with_runtime(bundle, DenoiseConfig()) is bundle
        with pytest.raises(DeviceError):
            with_runtime(bundle, ASKED)


def test_asking_for_it_decides_the_number_format_and_who_shares(
    plain: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fapvideo.ops.precision.cpu_has_bf16", lambda: True)
    monkeypatch.setattr(runtimes, "cpu_has_bf16", lambda: True)
    cpu = torch.device("cpu")
    assert number_format(ASKED, cpu) is torch.float32
    assert number_format(DenoiseConfig(), cpu) is torch.bfloat16
    assert with_runtime(plain, DenoiseConfig()) is plain, "bf16 in torch is faster there"
    kinds = ("auto", "torch", "onnxruntime")
    presets = [load_preset("brand_avatar", {"denoise.runtime": kind}) for kind in kinds]
    assert len({networks_key(preset) for preset in presets}) == 3
    with pytest.raises(PresetError, match=r"denoise\.compile is for"):
        load_preset("brand_avatar", {"denoise.runtime": "onnxruntime", "denoise.compile": True})
