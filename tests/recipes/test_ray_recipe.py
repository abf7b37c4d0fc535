"""The recipe for Ray on a real cluster of two machines, one of which goes in the middle."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ray_cluster
from runs import read_tracks

from fapvideo.run.job import job_folder
from fapvideo.swapper import VideoSwapper
from fapvideo.trust.credentials import read_credentials

pytestmark = pytest.mark.slow


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder but `layers.json`, which says by which name the clip went."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "layers.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_ray_makes_the_file_that_one_process_makes_though_a_machine_is_lost(
    checkout: Path, folder: Path
) -> None:
    pytest.importorskip("ray")
    shutil.copy(checkout / "docs" / "recipes" / "ray.md", folder)
    (folder / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(folder / "talk.mp4", folder / "clips" / name)
    paths = [checkout, checkout / "tests", checkout / "tests" / "recipes"]
    done = subprocess.run(
        [sys.executable, ray_cluster.__file__, folder],
        env={**os.environ, "PYTHONPATH": ":".join(map(str, paths))},
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads((folder / "seen.json").read_text("utf-8"))
    assert (seen["room"], seen["machines"]) == (2, 2)
    assert 0 < seen["removed_at"] < 32
    assert "a worker was lost, its work goes to another" in done.stderr
    assert seen["commands"] == [0, 0]

    with VideoSwapper.from_preset(folder / "mine.toml", device="cpu") as swapper:
        swapper.run(folder / "talk.mp4", folder / "whole.mp4")
        swapper.run(folder / "talk.mp4", layers=folder / "whole")
    whole = (folder / "whole.mp4").read_bytes()
    for name in ("lost.mp4", "new.mp4", "new2.mp4", "swapped/a.mp4", "swapped/b.mp4"):
        assert (folder / name).read_bytes() == whole, name
        assert read_tracks(folder / name) == read_tracks(folder / "whole.mp4")
    made, wanted = (contents(folder / name) for name in ("layers", "whole"))
    assert made == wanted
    assert len(made) > 6 * 32
    log = (job_folder(folder / "lost.mp4") / "log.txt").read_text("utf-8")
    painters = re.findall(r" (\d+) painted segment \d+", log)
    assert len(painters) == 4, "finished segments are never done again"
    found = read_credentials(folder / "signed.mp4")
    assert found is not None
    assert found.whole
