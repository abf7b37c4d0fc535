"""How often `fapvideo protect` misses somebody, and how often it takes a stranger for somebody.

python benchmarks/protected.py [--photos DIR] [--clips DIR] [--album DIR] [--pairs DIR]
                               [--every N] [--output FILE]

Both networks are measured: the packaged one (`track.identity`), and dlib's (extra `identity`,
`trust.recognition`), which decides where it is installed.

PHOTOS is a folder with a photo a person, of which every tenth by sorted name is measured (the
others were learned from, `scripts/learn_looks.py`): the list has the photo, the face that is looked
for is a moved and relit copy of it. CLIPS is a folder of videos, each of another person: the list
has one frame of the first third, and the face is the track as a run follows and samples it, from
the middle on. PAIRS is a folder of photos of other days with `master.csv` (file_x, file_y,
Decision: Yes where both show one person), as the public repository serengil/deepface has in
tests/unit/dataset: people are linked through pairs, and photos of people who are not linked are
strangers. ALBUM is a folder of photos of many people without names, CelebA's first thousand by
sorted name. For the packaged network pairs that dlib's puts closer than 0.45 count as one person,
over 0.8 as strangers. dlib's cannot judge itself: the share of all pairs under a distance is the
most that it can take for another, as some of them are one person.

For each threshold: the share of people who are missed, and of strangers who are taken for the one
person on a list of one; with ten on the list a stranger has ten chances.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from about import about

from fapvideo.config.schema import TrackConfig
from fapvideo.errors import FapVideoError
from fapvideo.plan.follow import follow
from fapvideo.reference.images import read_image
from fapvideo.structs import Bytes
from fapvideo.track.finder import FaceFinder
from fapvideo.track.identity import Looks, aligned, apart
from fapvideo.trust.protected import NEAR, NEAR_FACE, Seen
from fapvideo.trust.recognition import IdentityEmbedding, recognised_apart
from fapvideo.video.reader import VideoReader

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
from learn_looks import moved

THRESHOLDS = {
    "packaged": (0.5, 0.55, 0.6, 0.65, 0.7, 0.75),
    "dlib": (0.45, 0.5, 0.55, 0.6, 0.65),
}
MOVED, ALBUM = 4, 1000
ONE, OTHER, COPY = 0.45, 0.8, 0.05
"""dlib's distance under which photos of the album show one person, over which two, and under which
they are one photo."""

Gaps = dict[str, tuple[list[float], list[float]]]
"""Network -> distances of pairs of one person, and of strangers."""


class Eyes:
    """Both networks."""

    def __init__(self) -> None:
        """Load them."""
        self._looks, self._dlib, self._finder = Looks(), IdentityEmbedding(), FaceFinder()

    def __call__(self, picture: Bytes) -> Seen | None:
        """Return what the largest face looks like; None where there is none."""
        faces = self._finder(picture)
        if not faces:
            return None
        points = faces[0].landmarks
        return Seen(self._looks.of_faces([(picture, points)]), self._dlib(picture, points))

    def of_copies(self, crops: Sequence[Bytes]) -> Seen | None:
        """Return what several crops of one face look like."""
        each = [one for one in map(self, crops) if one is not None]
        if not each:
            return None
        faces = np.array([one.face for one in each])
        return Seen(self._looks.of_crops(crops), np.median(faces, axis=0))

    def crop(self, picture: Bytes) -> Bytes | None:
        """Return the aligned face."""
        faces = self._finder(picture)
        return aligned(picture, faces[0].landmarks) if faces else None

    @property
    def recognise(self) -> IdentityEmbedding:
        """dlib's network alone."""
        return self._dlib


def of_photos(folder: Path, eyes: Eyes, every: int) -> Gaps:
    """Compare held-out photos with moved and relit copies of each."""
    listed, seen = [], []
    rng = np.random.default_rng(0)
    for path in sorted(folder.iterdir())[::every]:
        picture = read_image(path)[0]
        crop, one = eyes.crop(picture), eyes(picture)
        if crop is not None and one is not None:
            copies = eyes.of_copies(list(moved(crop, MOVED, rng)))
            if copies is not None:
                listed.append(one)
                seen.append(copies)
    return _all_pairs(listed, seen)


def of_clips(folder: Path, eyes: Eyes) -> Gaps:
    """Compare a frame of each clip with its second half, as a run samples it."""
    listed, seen = [], []
    for path in sorted(folder.glob("*.mp4")):
        with VideoReader(path) as reader, tempfile.TemporaryDirectory() as scratch:
            middle = reader.info.duration_s / 2
            looks = (eyes(picture) for _, picture in reader.cut(0.0, None).pictures())
            first = next(one for one in looks if one is not None)
            later = reader.cut(middle, middle + 4)
            plan = follow(later.batches(8), reader.info, TrackConfig(), Path(scratch),
                          recognise=eyes.recognise)  # fmt: skip
            if plan.tracks:
                longest = max(plan.tracks, key=len).id
                listed.append(first)
                seen.append(Seen(plan.looks[longest], plan.faces[longest]))
    return _all_pairs(listed, seen)


def of_pairs(folder: Path, eyes: Eyes) -> Gaps:
    """Compare photos of other days, whose people somebody has named."""
    with (folder / "master.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["Decision"] == "Yes"]
    person: dict[str, str] = {}
    for row in rows:
        one, other = (person.setdefault(row[key], row[key]) for key in ("file_x", "file_y"))
        person = {name: one if who == other else who for name, who in person.items()}
    photos = {name: eyes(read_image(folder / name)[0]) for name in sorted(person)}
    known = [(person[name], one) for name, one in photos.items() if one is not None]
    gaps: Gaps = {"packaged": ([], []), "dlib": ([], [])}
    for i, (who, one) in enumerate(known):
        for other_who, other in known[:i]:
            for name, distance in _distances(one, other).items():
                gaps[name][who != other_who].append(distance)
    return gaps


def of_album(folder: Path, eyes: Eyes) -> Gaps:
    """Compare photos of many people; dlib's network says who is who, but for itself."""
    seen = []
    for path in sorted(folder.glob("*.jpg"))[:ALBUM]:
        try:
            one = eyes(read_image(path)[0])
        except FapVideoError:
            continue
        if one is not None:
            seen.append(one)
    known, judged = (np.stack([np.asarray(row) for row in rows]) for rows in (
        [one.looks for one in seen], [one.face for one in seen]))  # fmt: skip
    upper = np.triu_indices(len(known), 1)
    gaps = (1 - known @ known.T)[upper]
    told = np.linalg.norm(judged[:, None] - judged[None], axis=-1)[upper]
    copies = told < COPY
    return {
        "packaged": (gaps[(told < ONE) & ~copies].tolist(), gaps[told > OTHER].tolist()),
        "dlib": ([], told[~copies].tolist()),
    }


def _distances(one: Seen, other: Seen) -> dict[str, float]:
    assert one.face is not None
    assert other.face is not None
    return {
        "packaged": apart(one.looks, other.looks),
        "dlib": recognised_apart(one.face, other.face),
    }


def _all_pairs(listed: Sequence[Seen], seen: Sequence[Seen]) -> Gaps:
    gaps: Gaps = {"packaged": ([], []), "dlib": ([], [])}
    for i, one in enumerate(listed):
        for j, other in enumerate(seen):
            for name, distance in _distances(one, other).items():
                gaps[name][i != j].append(distance)
    return gaps


def curve(gaps: Gaps) -> dict[str, Any]:
    """Return misses and false alarms by network and threshold."""
    rows: dict[str, Any] = {}
    for network, thresholds in THRESHOLDS.items():
        near, far = map(np.array, gaps[network])
        for threshold in thresholds:
            alarms = float((far < threshold).mean())
            rows[f"{network}, under {threshold}"] = {
                "pairs of one": len(near),
                "missed": f"{(near >= threshold).mean():.1%}" if len(near) else "-",
                "pairs of two": len(far),
                "false alarms": f"{alarms:.2%}",
                "of ten": f"{1 - (1 - alarms) ** 10:.1%}",
            }
    return rows


def main() -> None:
    """Measure what is given, print it and write it down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("photos", "clips", "album", "pairs", "output"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--every", type=int, default=10, help="of PHOTOS; a multiple of ten")
    given = parser.parse_args()
    eyes = Eyes()
    found: dict[str, Any] = about(
        "How often `fapvideo protect` misses somebody, and takes a stranger for somebody, by "
        "network and the distance that counts as near. Photos: held-out portraits "
        "(voteview/member_photos) against moved and relit copies. Clips (KwaiVGI/LivePortrait, "
        "commit 1986663b): one frame against the second half as a run samples it. Pairs: photos of "
        "other days that people have named (serengil/deepface, tests/unit/dataset). Album: "
        "CelebA's first thousand, judged by dlib's network; of that one all pairs, some of which "
        "are one person. `of ten`: a stranger's chance with ten people on the list.",
        "python benchmarks/protected.py --photos DIR --clips DIR --pairs DIR --album DIR "
        "--output FILE",
    )
    found |= {"near": NEAR, "near, dlib": NEAR_FACE}
    photos = partial(of_photos, every=given.every)
    ways = (("pairs", of_pairs), ("clips", of_clips), ("photos", photos), ("album", of_album))
    for name, measure in ways:
        folder = getattr(given, name)
        if folder is not None:
            found[name] = curve(measure(folder, eyes))
            print(name, flush=True)
            if given.output is not None:
                given.output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
