"""How often `fapvideo protect` misses somebody, and how often it takes a stranger for somebody.

python benchmarks/protected.py --photos DIR --clips DIR [--album DIR] [--output FILE]

PHOTOS is a folder with a photo a person, of which every tenth by sorted name is measured (the
others were learned from, `scripts/learn_looks.py`): the list has the photo, the face that is looked
for is a moved and relit copy of it. CLIPS is a folder of videos, each of another person: the list
has one frame of the first third, and the face is the track as a run follows and samples it, from
the middle on. ALBUM is a folder of photos in which some people are shown twice, on other days:
pairs that dlib's network (extra `identity`) puts closer than 0.45 count as one person, over 0.8 as
strangers; the first thousand by sorted name are looked at.

For each threshold: the share of people who are missed, and of strangers who are taken for the one
person on a list of one; with ten on the list a stranger has ten chances.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from about import about

from fapvideo.config.schema import TrackConfig
from fapvideo.errors import FapVideoError
from fapvideo.plan.follow import follow
from fapvideo.reference.images import read_image
from fapvideo.structs import Bytes, Floats
from fapvideo.track.finder import FaceFinder
from fapvideo.track.identity import Looks, aligned, apart
from fapvideo.trust.protected import NEAR
from fapvideo.video.reader import VideoReader

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
from learn_looks import moved

THRESHOLDS = (0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)
MOVED, ALBUM = 4, 1000
ONE, OTHER = 0.45, 0.8
"""dlib's distance under which photos of the album show one person, and over which two."""

Gaps = tuple[list[float], list[float]]
"""Distances of pairs of one person, and of strangers."""


def of_photos(folder: Path, looks: Looks, finder: FaceFinder) -> Gaps:
    """Compare held-out photos with moved and relit copies of each."""
    listed, seen = [], []
    rng = np.random.default_rng(0)
    for path in sorted(folder.iterdir())[::10]:
        crop = _largest(read_image(path)[0], finder)
        if crop is not None:
            listed.append(looks.of_crops([crop]))
            seen.append(looks.of_crops(list(moved(crop, MOVED, rng))))
    return _all_pairs(listed, seen)


def of_clips(folder: Path, looks: Looks, finder: FaceFinder) -> Gaps:
    """Compare a frame of each clip with its second half, as a run samples it."""
    listed, seen = [], []
    for path in sorted(folder.glob("*.mp4")):
        with VideoReader(path) as reader, tempfile.TemporaryDirectory() as scratch:
            middle = reader.info.duration_s / 2
            crops = (_largest(picture, finder) for _, picture in reader.cut(0.0, None).pictures())
            first = next(crop for crop in crops if crop is not None)
            later = reader.cut(middle, None)
            plan = follow(later.batches(8), reader.info, TrackConfig(), Path(scratch))
            if plan.tracks:
                longest = max(plan.tracks, key=len)
                listed.append(looks.of_crops([first]))
                seen.append(plan.looks[longest.id])
    return _all_pairs(listed, seen)


def of_album(folder: Path, looks: Looks, finder: FaceFinder) -> Gaps:
    """Compare photos of other days; dlib's network says who is who."""
    from fapvideo.trust.recognition import IdentityEmbedding

    judge = IdentityEmbedding()
    mine, theirs = [], []
    for path in sorted(folder.glob("*.jpg"))[:ALBUM]:
        try:
            rgb = read_image(path)[0]
            faces = finder(rgb)
        except FapVideoError:
            continue
        if faces:
            mine.append(looks.of_crops([aligned(rgb, faces[0].landmarks)]))
            theirs.append(judge(rgb, faces[0].landmarks))
    known, judged = np.stack(mine), np.stack(theirs)
    upper = np.triu_indices(len(known), 1)
    gaps = (1 - known @ known.T)[upper]
    told = np.linalg.norm(judged[:, None] - judged[None], axis=-1)[upper]
    copies = told < 0.05  # the same photo twice
    return gaps[(told < ONE) & ~copies].tolist(), gaps[told > OTHER].tolist()


def _largest(rgb: Bytes, finder: FaceFinder) -> Bytes | None:
    faces = finder(rgb)
    return aligned(rgb, faces[0].landmarks) if faces else None


def _all_pairs(listed: Sequence[Floats], seen: Sequence[Floats]) -> Gaps:
    same = [apart(a, b) for a, b in zip(listed, seen, strict=True)]
    strange = [apart(a, b) for i, a in enumerate(listed) for j, b in enumerate(seen) if i != j]
    return same, strange


def curve(name: str, same: Sequence[float], strange: Sequence[float]) -> dict[str, Any]:
    """Return misses and false alarms by threshold."""
    near, far = np.array(same), np.array(strange)
    rows: dict[str, Any] = {}
    for threshold in THRESHOLDS:
        alarms = float((far < threshold).mean())
        rows[f"{name}, under {threshold}"] = {
            "pairs of one": len(near),
            "missed": f"{(near >= threshold).mean():.1%}",
            "pairs of two": len(far),
            "false alarms": f"{alarms:.2%}",
            "of ten": f"{1 - (1 - alarms) ** 10:.1%}",
        }
    return rows


def main() -> None:
    """Measure what is given, print it and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("photos", "clips", "album", "output"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    looks, finder = Looks(), FaceFinder()
    found: dict[str, Any] = about(
        "How often `fapvideo protect` misses somebody, and takes a stranger for somebody, by the "
        "distance that counts as near. Photos: held-out portraits against moved and relit copies. "
        "Clips: a frame of the first third against the second half as a run samples it. Album: "
        "photos of other days, CelebA's first thousand, judged by dlib's network. "
        "`of ten`: a stranger's chance with ten people on the list.",
        "python benchmarks/protected.py --photos DIR --clips DIR --album DIR --output FILE",
    )
    found["near"] = NEAR
    for name, measure in (("photos", of_photos), ("clips", of_clips), ("album", of_album)):
        folder = getattr(given, name)
        if folder is not None:
            found[name] = curve(name, *measure(folder, looks, finder))
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
