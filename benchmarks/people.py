"""How well `fapvideo/track/identity.py` tells people apart, on clips and photos of your own.

python benchmarks/people.py --clips DIR --photos DIR

CLIPS is a folder of videos, each of another person; PHOTOS one with a photo a person, of which
every tenth by sorted name is measured (`scripts/learn_looks.py` leaves these out). Prints the area
under the ROC curve and quantiles of the distances, as in docs/casting.md, of: single frames at
least a third of a clip apart, one of them relit; tracks of four frames from quarters of a clip, at
least half of it apart; moved and relit copies of the photos.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from fapvideo.errors import FapVideoError
from fapvideo.reference.images import read_image
from fapvideo.structs import Bytes, Floats
from fapvideo.track.finder import FaceFinder
from fapvideo.track.identity import Looks, aligned, apart
from fapvideo.video.reader import VideoReader

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
from learn_looks import moved, relit

FRAMES, QUARTERS, MOVED = 24, 4, 4

Sample = tuple[int, float, Floats]
"""Person, place in the clip in [0, 1], looks."""


def of_clip(path: Path, finder: FaceFinder) -> list[Bytes]:
    """Return about FRAMES aligned faces, evenly over the clip."""
    crops = []
    with VideoReader(path) as reader:
        step = max(1, reader.info.frames // FRAMES)
        for frame, picture in reader.pictures():
            faces = finder(picture) if frame.index % step == 0 else []
            crops += [aligned(picture, faces[0].landmarks)] if faces else []
    return crops


def tell(name: str, samples: list[Sample], others: list[Sample], gap: float) -> None:
    """Print how far pairs of one person and pairs of two are apart."""
    same, strange = [], []
    for (a, place, one), (b, elsewhere, other) in (
        pair for i, sample in enumerate(samples) for pair in ((sample, o) for o in others[:i])
    ):
        if a != b:
            strange.append(apart(one, other))
        elif abs(place - elsewhere) >= gap:
            same.append(apart(one, other))
    ranks = rankdata(-np.array(same + strange))
    n = len(same)
    area = (ranks[:n].sum() - n * (n + 1) / 2) / n / len(strange)
    shown = [np.round(np.quantile(x, q), 2) for x, q in (
        (same, (0.5, 0.95, 0.99, 1.0)), (strange, (0.0, 0.001, 0.01, 0.5)))]  # fmt: skip
    print(f"{name}: AUC {area:.4f}; {n} pairs of one person, 50/95/99/100 %: {shown[0]}; "
          f"{len(strange)} of two, 0/0.1/1/50 %: {shown[1]}")  # fmt: skip


def main() -> None:
    """Measure what is given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--photos", type=Path)
    args = parser.parse_args()
    finder, looks, rng = FaceFinder(), Looks(), np.random.default_rng(5)
    plain, changed, tracks, later = (list[Sample]() for _ in range(4))
    for person, path in enumerate(sorted(args.clips.glob("*.mp4")) if args.clips else ()):
        crops = of_clip(path, finder)
        other = [relit(crop, rng) for crop in crops]
        for place, (one, two) in enumerate(zip(crops, other, strict=True)):
            plain.append((person, place / len(crops), looks.of_crops([one])))
            changed.append((person, place / len(crops), looks.of_crops([two])))
        for quarter, rows in enumerate(np.array_split(np.arange(len(crops)), QUARTERS)):
            some = rows[np.linspace(0, len(rows) - 1, 4).astype(int)]
            tracks.append((person, quarter / 4, looks.of_crops([crops[i] for i in some])))
            later.append((person, quarter / 4, looks.of_crops([other[i] for i in some])))
    if args.clips:
        tell("single frames, one relit", plain, changed, 1 / 3)
        tell("tracks, one relit", tracks, later, 1 / 2)
    copies: list[Sample] = []
    for person, path in enumerate(sorted(args.photos.iterdir())[::10] if args.photos else ()):
        try:
            picture = read_image(path)[0]
            crop = aligned(picture, finder(picture)[0].landmarks)
            copies += [
                (person, i, looks.of_crops([c])) for i, c in enumerate(moved(crop, MOVED, rng))
            ]
        except (FapVideoError, IndexError):
            continue
    if args.photos:
        tell("photos", copies, copies, 1.0)


if __name__ == "__main__":
    main()
