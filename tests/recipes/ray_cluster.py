"""A Ray cluster of two machines on this one, of which one goes while a run is under way.

A program of its own, since a cluster leaves threads and handlers behind:
`python ray_cluster.py FOLDER`. FOLDER holds talk.mp4, clips/, mine.toml and the recipe, ray.md.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from served import recipe

from fapvideo import load_preset
from fapvideo.cli.main import run_program
from fapvideo.run.farm import Farm
from fapvideo.run.job import job_folder
from fapvideo.run.on_ray import ray_pool

TRIES = 5


def start(cluster: Any) -> Any:
    """Add a machine of one core.

    Ray gives a machine's agent 15 s to begin, which is too short for one that is busy with tests.
    """
    for _ in range(TRIES):
        with suppress(Exception):
            return cluster.add_node(num_cpus=1, num_gpus=0)
    raise RuntimeError("no machine of a Ray cluster could be started")


def warm(farm: Farm) -> None:
    """Have clips done until both machines work, so that one is lost that does."""
    for number in range(10):
        output = Path(f"warm{number}.mp4")
        farm.run("talk.mp4", output, keep_work=True)
        log = (job_folder(output) / "log.txt").read_text("utf-8")
        if len(set(re.findall(r" (\d+) painted", log))) == 2:
            return
    raise RuntimeError("one machine of two never did anything")


def main(folder: Path) -> None:
    """Run a clip, and after its first segment remove a machine; then do what the recipe says."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "40"}
    import ray
    from ray.cluster_utils import Cluster

    os.chdir(folder)
    cluster = Cluster()
    start(cluster)
    second = start(cluster)
    os.environ["RAY_ADDRESS"] = cluster.address
    seen: dict[str, Any] = {}

    def progress(now: Any) -> None:
        if now.stage == "swap" and 0 < now.done < now.total and "removed_at" not in seen:
            seen["machines"] = sum(node["Alive"] for node in ray.nodes())
            cluster.remove_node(second, allow_graceful=False)
            seen["removed_at"] = now.done

    preset = load_preset("mine.toml")
    try:
        with ray_pool("cpu") as pool:
            seen["room"] = pool.room()
            warm(Farm(preset, pool))
            Farm(preset, pool).run("talk.mp4", "lost.mp4", progress=progress, keep_work=True)
            Farm(preset, pool).run("talk.mp4", layers="layers")
            signed = load_preset(preset, {"provenance.enabled": True})
            Farm(signed, pool).run("talk.mp4", "signed.mp4")
        page = Path("ray.md")
        lines = [line for line in recipe(page).splitlines() if line.startswith("fapvideo ")]
        seen["commands"] = [run_program(shlex.split(line)[1:]) for line in lines]
        exec(recipe(page, "python"), {})
    finally:
        cluster.shutdown()
    Path("seen.json").write_text(json.dumps(seen), "utf-8")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    main(Path(sys.argv[1]))
