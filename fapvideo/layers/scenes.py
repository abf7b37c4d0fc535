"""Tracks as text that compositors and 3-D programs read: a USD scene, corner pins for Nuke."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

import fapvideo
from fapvideo.layers.frame import TEXTURE_CENTRE
from fapvideo.layers.numbers import Numbers
from fapvideo.layers.tracks import in_pixels, measured
from fapvideo.ops import mesh
from fapvideo.ops.geometry import invert, stretched, transform
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.plan.targets import Plan
from fapvideo.structs import Floats, Track, VideoInfo

APERTURE = 10
"""USD's apertures are tenths of a scene's unit."""
DEPTH = 10_000
"""How far before the picture the USD camera stands, pixels."""
PIN = 1000
"""Side of the square that a corner pin places on the face, pixels."""


def write_usd(output: Path, plan: Plan, info: VideoInfo, numbers: Numbers) -> None:
    """Write every face as a mesh before a camera that shows it where it is in the picture.

    A unit is a pixel of the frame as displayed, the origin its lower left corner, y points up. The
    meshes' texture coordinates are those of the ST maps.

    Raises:
        OSError: it cannot be written.
    """
    width, height = info.display_size
    last = numbers.number(plan.frames - 1)
    with output.open("w", encoding="utf-8") as file:
        file.write(
            "#usda 1.0\n(\n"
            f'    doc = "fapvideo {fapvideo.__version__}: the faces of a clip"\n'
            '    defaultPrim = "faces"\n    upAxis = "Y"\n    metersPerUnit = 0.001\n'
            f"    startTimeCode = {numbers.first}\n    endTimeCode = {last}\n"
            f"    timeCodesPerSecond = {float(numbers.rate):.9g}\n"
            f"    framesPerSecond = {float(numbers.rate):.9g}\n)\n\n"
            'def Xform "faces"\n{\n'
            '    def Camera "frame"\n    {\n        token projection = "orthographic"\n'
            f"        float horizontalAperture = {width * APERTURE}\n"
            f"        float verticalAperture = {height * APERTURE}\n"
            f"        float2 clippingRange = (1, {2 * DEPTH})\n"
            f"        double3 xformOp:translate = ({width / 2}, {height / 2}, {DEPTH})\n"
            '        uniform token[] xformOpOrder = ["xformOp:translate"]\n    }\n'
        )
        for track in plan.tracks:
            _usd_mesh(file, track, plan, info, numbers)
        file.write("}\n")


def _usd_mesh(file: TextIO, track: Track, plan: Plan, info: VideoInfo, numbers: Numbers) -> None:
    height, triangles = info.display_size[1], mesh.triangles()
    where = mesh.canonical()[:, :2] * CROP_INTEROCULAR + np.array(TEXTURE_CENTRE)
    st = np.column_stack([where[:, 0], 1.0 - where[:, 1]])
    person = plan.people.get(track.id, track.id)
    file.write(
        f'\n    def Mesh "track_{track.id}"\n    {{\n'
        f"        custom int fapvideo:person = {person}\n"
        '        uniform token subdivisionScheme = "none"\n'
        f"        int[] faceVertexCounts = [{', '.join(['3'] * len(triangles))}]\n"
        f"        int[] faceVertexIndices = [{', '.join(map(str, triangles.ravel().tolist()))}]\n"
        f"        texCoord2f[] primvars:st = {_tuples(st, 5)} (\n"
        '            interpolation = "vertex"\n        )\n'
        "        token visibility.timeSamples = {\n"
    )
    ends = {track.first_frame: "inherited", track.last_frame + 1: "invisible"}
    if track.first_frame > 0:
        ends[0] = "invisible"
    for frame in sorted(ends):
        file.write(f'            {numbers.number(frame)}: "{ends[frame]}",\n')
    file.write("        }\n        point3f[] points.timeSamples = {\n")
    for frame, points in measured(track):
        placed = in_pixels(points, info.pixel_shape) * (1.0, -1.0, -1.0) + (0.0, height, 0.0)
        file.write(f"            {numbers.number(frame)}: {_tuples(placed, 2)},\n")
    file.write("        }\n    }\n")


def _tuples(rows: Floats, digits: int) -> str:
    told = (", ".join(f"{value:.{digits}f}" for value in row) for row in rows.tolist())
    return "[" + ", ".join(f"({row})" for row in told) + "]"


def write_corner_pins(output: Path, plan: Plan, info: VideoInfo, numbers: Numbers) -> None:
    """Write a Nuke script with a `CornerPin2D` for every track: a square laid onto the face.

    The square is the aligned crop: it follows place, size and lean of the head, not its turn.

    Raises:
        OSError: it cannot be written.
    """
    with output.open("w", encoding="utf-8") as file:
        file.write(f"# fapvideo {fapvideo.__version__}: corner pins, one for each track\n")
        for track in plan.tracks:
            corners = list(_corners(track, info, numbers))
            if corners:
                file.write(_pin(track, plan, corners))


Corners = tuple[int, Floats]
"""Number of a frame, and [4, 2] lower left, lower right, upper right, upper left, y up."""


def _corners(track: Track, info: VideoInfo, numbers: Numbers) -> Iterator[Corners]:
    height = info.display_size[1]
    square = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float64)
    for frame, points in measured(track):
        matrix = stretched(crop_matrix(head_pose(points), 1), info.pixel_shape)
        placed = transform(invert(matrix), square) * (1.0, -1.0) + (0.0, height)
        yield numbers.number(frame), placed


def _pin(track: Track, plan: Plan, corners: list[Corners]) -> str:
    def curve(value: Callable[[Floats], float]) -> str:
        keys, following = [], None
        for number, placed in corners:
            keys.append(f"x{number} " if number != following else "")
            keys.append(f"{value(placed):.3f} ")
            following = number + 1
        return "{curve L " + "".join(keys).strip() + "}"

    lines = ["CornerPin2D {", " inputs 0"]
    for index in range(4):
        x, y = (curve(lambda at, k=axis, i=index: float(at[i, k])) for axis in (0, 1))  # type: ignore[misc]
        lines.append(f" to{index + 1} {{{x} {y}}}")
    sides = ((0, 0), (PIN, 0), (PIN, PIN), (0, PIN))
    lines += [f" from{index + 1} {{{x} {y}}}" for index, (x, y) in enumerate(sides)]
    person = plan.people.get(track.id, track.id)
    lines += [f" name fapvideo_track_{track.id}", f' label "person {person}"', "}"]
    return "\n".join(lines) + "\n"
