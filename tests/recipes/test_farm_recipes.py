"""The recipes for farms do what they say, on schedulers that run every task here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from runs import read_tracks
from served import recipe, run_script

from fapvideo.cli.jobs import array_of
from fapvideo.swapper import VideoSwapper

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SBATCH = """#!/bin/bash
# Runs the tasks of an array; the first one of all is lost with its node.
[[ $1 == --wait ]]
array=${2#--array=} script=$3
shift 3
echo "$array" >> "$SERVED/arrays"
failed=0
for part in ${array//,/ }; do
    for index in $(seq "${part%-*}" "${part#*-}"); do
        if mkdir "$SERVED/lost" 2> /dev/null; then failed=1; continue; fi
        SLURM_ARRAY_TASK_ID=$index bash "$script" "$@" || failed=1
    done
done
exit $failed
"""
KUBECTL = f"""#!{sys.executable}
# Runs the pods of Jobs one after the other; their volume is this folder.
import os, pathlib, subprocess, sys, yaml

served, (verb, *rest) = pathlib.Path(os.environ["SERVED"]), sys.argv[1:]
if verb == "logs":
    print((served / rest[0].partition("/")[2]).read_text(), end="")
elif verb == "wait":
    assert (served / rest[-1].partition("/")[2]).exists()
else:
    assert verb == "apply" and rest[0] == "-f" and rest[2] == "-l"
    for job in yaml.safe_load_all(pathlib.Path(rest[1]).read_text()):
        name, spec = job["metadata"]["name"], job["spec"]
        if job["metadata"]["labels"]["step"] != rest[3].partition("=")[2]:
            continue
        (container,) = spec["template"]["spec"]["containers"]
        words = [word.replace("/work", os.getcwd()) for word in container["args"]]
        indexed = spec.get("completionMode") == "Indexed"
        log = ""
        for index in range(spec["completions"]) if indexed else [""]:
            seen = {{**os.environ, "JOB_COMPLETION_INDEX": str(index)}}
            pod = subprocess.run(["fapvideo", *words], env=seen, capture_output=True, text=True)
            log += pod.stdout + pod.stderr
            assert pod.returncode == 0, pod.stderr
        (served / name).write_text(log)
"""


@pytest.fixture(scope="module")
def whole(start: Path) -> Path:
    """What one process makes of the clip."""
    with VideoSwapper.from_preset(start / "mine.toml", device="cpu") as swapper:
        swapper.run(start / "talk.mp4", start / "whole.mp4")
    return start / "whole.mp4"


def steps(calls: list[list[str]]) -> list[tuple[str, str, str]]:
    """Return what was asked of `fapvideo`: command, index by Slurm, index by Kubernetes."""
    return [(words[2], words[0], words[1]) for words in calls]


@pytest.mark.slow
def test_slurm(checkout: Path, folder: Path, whole: Path) -> None:
    text = recipe(checkout / "docs" / "recipes" / "slurm.md")
    ran = run_script(text, folder, {"srun": SRUN, "sbatch": SBATCH})
    assert ran.code == 0, ran.text
    asked = steps(ran.calls)
    plan, jobs, join = ("plan", "", ""), ("jobs", "", ""), ("join", "", "")
    segments = [("segment", str(index), "") for index in range(4)]
    assert asked == [
        plan, jobs, *segments[1:], jobs, segments[0], jobs, join,
        plan, jobs, jobs, *segments, join,
    ]  # fmt: skip
    arrays = (folder / ".served" / "arrays").read_text("utf-8").split()
    assert arrays == ["0-3", "0", "0-3"], "only what is missing is asked for again"
    assert "--array=0-3\n" in ran.text
    for name in ("new.mp4", "new2.mp4"):
        assert (folder / name).read_bytes() == whole.read_bytes()
        assert read_tracks(folder / name) == read_tracks(whole)
    assert not (folder / "talk.job").exists()


@pytest.mark.slow
def test_kubernetes(checkout: Path, folder: Path, whole: Path) -> None:
    text = recipe(checkout / "docs" / "recipes" / "kubernetes.md")
    ran = run_script(text, folder, {"kubectl": KUBECTL})
    assert ran.code == 0, ran.text
    segments = [("segment", "", str(index)) for index in range(4)]
    assert steps(ran.calls) == [("plan", "", ""), *segments, ("join", "", "")]
    assert (folder / "talk.swapped.mp4").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("numbers", "array"),
    [([], ""), ([0], "0"), ([0, 1, 2, 3], "0-3"), ([1, 3, 4, 9], "1,3-4,9")],
)
def test_what_is_missing_as_an_array(numbers: list[int], array: str) -> None:
    assert array_of(numbers) == array


def program(name: str) -> str:
    """Return the path of a linter; skip without it."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def lint(name: str, *arguments: Any) -> None:
    done = subprocess.run([program(name), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scripts_are_sound(checkout: Path) -> None:
    scripts = sorted((checkout / "examples" / "farm").glob("*.sh"))
    assert len(scripts) == 2
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
        assert script.stat().st_mode & 0o111, script
    lint("shellcheck", *scripts)


def test_the_image_s_recipe_is_sound(checkout: Path) -> None:
    """Linted; what it copies is there; both bases are named."""
    path = checkout / "examples" / "farm" / "Dockerfile"
    text = path.read_text("utf-8")
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    assert all((checkout / name).exists() for names in copied for name in names)
    assert "ARG BASE=python:3.12-slim-bookworm\nFROM ${BASE}" in text
    assert "--build-arg BASE=nvidia/cuda:" in text
    assert "USER 10001" in text
    lint("hadolint", path)


def test_the_jobs_are_what_kubernetes_takes(checkout: Path) -> None:
    path = checkout / "examples" / "farm" / "kubernetes.yaml"
    plan, segments, join = yaml.safe_load_all(path.read_text("utf-8"))
    assert [job["metadata"]["labels"]["step"] for job in (plan, segments, join)] == [
        "plan", "segments", "join",
    ]  # fmt: skip
    assert segments["spec"]["completionMode"] == "Indexed"
    for job in (plan, segments, join):
        pod = job["spec"]["template"]["spec"]
        assert pod["restartPolicy"] == "Never", "with backoffLimitPerIndex nothing else is allowed"
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    schemas = pytest.importorskip("kubernetes_validate")
    for job in (plan, segments, join):
        schemas.validate(job, "1.33", strict=True)
