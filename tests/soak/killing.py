"""Runs that are killed at any moment and started again: what is left, and what comes out."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import face_clips
from clips import CLIPS, write_clip
from programs import Program, Programs

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
PRESET = f"""name = "kills"
bundle = "tiny"
references = {{mouth = "{face_clips.BRAND}"}}
[denoise]
mode = "off"
[composite]
max_size = 64
check = false
[video]
speed = "ultrafast"
"""
JOB = ".out.mp4.fapvideo"
REPORTS = ("out.mp4.report.json", "out.mp4.tracks.jsonl")
ONNX_RUNTIMES = ".ses"
"""51 bytes that ONNX Runtime keeps in TMPDIR, of all processes: one file, however many runs."""


class Kill(NamedTuple):
    """One run that was killed, and the one after it, which goes on with what is done."""

    signal: str
    moment: str
    """The stage it was in, or `done` where it was through already."""
    exit_code: int
    left: tuple[str, ...]
    """Hidden files and folders beside the input after the kill."""
    resumed: bool
    """Whether there was something to go on with."""
    faults: tuple[str, ...]


class Kills:
    """A folder with a clip, and what a whole run makes of it."""

    def __init__(self, programs: Programs, folder: Path, temporary: Path, frames: int) -> None:
        """Make the clip and run once; `temporary` is the programs' TMPDIR."""
        self._programs, self._temporary = programs, temporary
        self._said = folder / "said"
        self._place = folder / "place"
        for made in (self._said, self._place):
            made.mkdir()
        self.preset = folder / "kills.toml"
        self.preset.write_text(PRESET)
        self.clip, self.output = self._place / "in.mp4", self._place / "out.mp4"
        long_clip(self.clip, frames)
        program = self._start()
        if program.wait():
            raise AssertionError(program.said)
        self.cpu_s = program.cpu_s
        self.wanted = content_of(self.output)
        self.beside = {path.name for path in self._place.iterdir()}
        if self.beside != {"in.mp4", "out.mp4", *REPORTS}:
            raise AssertionError(sorted(self.beside))

    def _start(self) -> Program:
        arguments = ("--preset", self.preset, "--overwrite", "--json", "-o", self.output)
        return self._programs.start(self._said, "run", self.clip, *arguments)

    def random(self, count: int, seed: int) -> Iterator[Kill]:
        """Yield kills at random moments, the signals in turn."""
        chance = random.Random(seed)
        for number in range(count):
            yield self.kill(SIGNALS[number % len(SIGNALS)], chance.uniform(0, 1.05 * self.cpu_s))

    def kill(self, number: signal.Signals, after_s: float, times: int = 1) -> Kill:
        """Start anew, kill after so much processor time, look around, run to the end, compare."""
        for path in self._place.iterdir():
            if path != self.clip:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        program = self._start()
        program.wait_for(after_s)
        for _ in range(times):
            program.send(number)
            time.sleep(0.02 if times > 1 else 0)
        code = program.wait()
        moment, faults = program.stage if code else "done", self._faults(program, number, code)
        left = self._hidden()
        again = self._start()
        if again.wait():
            faults.append(f"the next run failed: {again.said[-500:]}")
        elif content_of(self.output) != self.wanted:
            faults.append("another output")
        names = {path.name for path in self._place.iterdir()}
        stayed = self._hidden()
        if names - set(stayed) != self.beside:
            faults.append(f"the folder holds {sorted(names)}")
        if stayed:
            faults.append(f"stayed: {stayed}")
        return Kill(number.name, moment, code, left, JOB in left, tuple(faults))

    def _faults(self, program: Program, number: signal.Signals, code: int) -> list[str]:
        """Return what is wrong right after a kill."""
        faults = []
        unheard = code == -number and not program.said  # before the program's first line
        if code not in (0, CODES[number]) and not unheard:
            faults.append(f"exit code {code}: {program.said[-500:]}")
        if "Traceback" in program.said or "this is a bug" in program.said:
            faults.append(program.said[-2000:])
        hidden = set(self._hidden()) - {JOB}
        hidden |= {p.name for p in (self._place / JOB).rglob("*") if ".partial" in p.name}
        if number is not signal.SIGKILL and hidden:
            faults.append(f"left behind: {sorted(hidden)}")
        scratch = [p.name for p in self._temporary.iterdir() if p.name != ONNX_RUNTIMES]
        if number is not signal.SIGKILL and scratch:
            faults.append(f"left in TMPDIR: {scratch}")
        for path in self._temporary.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shown = {path.name for path in self._place.iterdir() if not path.name.startswith(".")}
        if shown - self.beside:
            faults.append(f"the folder holds {sorted(shown)}")
        if self.output.exists() and content_of(self.output) != self.wanted:
            faults.append("an output that is not whole has its final name")
        return faults

    def _hidden(self) -> tuple[str, ...]:
        return tuple(sorted(p.name for p in self._place.iterdir() if p.name.startswith(".")))


def long_clip(path: Path, frames: int) -> None:
    """Write a clip of small frames with a face, each almost a second long.

    20 of them are enough for two segments of a job.
    """
    face = face_clips.animated_brand_face(128)
    pictures = [face_clips.rendered(face, 0.7 + i / 25)[0] for i in range(4)]
    clip = replace(
        CLIPS["plain"], size=(128, 128), frames=frames, rate=Fraction(6, 5), options={"g": "3"}
    )
    write_clip(path, clip, lambda index: pictures[index % 4].copy())


def content_of(path: Path) -> str:
    """Return a hash of everything in a video: streams, packets with all their times, tags."""
    digest = hashlib.sha256()
    with av.open(path) as container:
        for stream in container.streams:
            context = stream.codec_context
            digest.update(repr((stream.type, stream.time_base, dict(stream.metadata),
                                context.extradata if context else b"")).encode())  # fmt: skip
        digest.update(repr(dict(container.metadata)).encode())
        for packet in container.demux():
            times = packet.stream_index, packet.pts, packet.dts, packet.duration
            digest.update(repr((*times, packet.is_keyframe)).encode() + bytes(packet))
    return digest.hexdigest()
