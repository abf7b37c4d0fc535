"""Does fine-tuning on twenty photos of one person help that person?

    python benchmarks/finetune_person.py [--minutes 15] [--work DIR]

Twenty frames of one man, ten of each of two recordings, are written as photos, and
`fapvideo train --preset finetune --data PHOTOS` is run on them as a newcomer would; every fifth is
held out. Writes benchmarks/results/finetune_person.json: the held-out metrics of the shipped bundle
and after training.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import heldout
from PIL import Image

from fapvideo.config.schema import VideoConfig
from fapvideo.training.faces.sets import fetch, sets_folder
from fapvideo.training.learning.loop import LOG
from fapvideo.training.learning.records import read_log
from fapvideo.training.work import work_folder
from fapvideo.video.reader import VideoReader

CLIPS = {"jwp_intro": "jwpIntro.mp4", "jwp_movie": "testMovie.mp4"}
"""Set -> file: one man in two recordings, in other light."""
EACH = 10


def main() -> None:
    """Write the photos, train, read the log, write the record."""
    parser = heldout.arguments(__doc__, "finetune")
    parser.add_argument("--minutes", type=float, default=15.0)
    asked = parser.parse_args()
    photos, output = asked.work / "photos", asked.work / "bundle"
    write_photos(photos)
    command = [sys.executable, "-m", "fapvideo", "train", "--preset", "finetune"]
    command += ["--data", str(photos), "-o", str(output), "--max-minutes", str(asked.minutes)]
    subprocess.run(command, check=True)
    rows = read_log(work_folder(output) / LOG)
    names = ("step", "minutes", "psnr", "lpips", "sharpness", "guide_psnr", "guide_lpips")
    record = {
        "what": "Twenty frames of one man from two recordings as photos; held out every fifth of "
        "them; `fapvideo train --preset finetune --data PHOTOS` started from the shipped bundle "
        f"and was given {asked.minutes:g} minutes, samples included. PSNR (dB) and LPIPS in the "
        "hole, on the held-out photos of that man.",
        "rows": {
            f"step {row['step']}": {name: float(row[name]) for name in names if name in row}
            for row in rows
        },
    }
    heldout.write("finetune_person", record, "python benchmarks/finetune_person.py")


def write_photos(folder: Path) -> None:
    """Write `EACH` evenly spaced frames of each clip as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for collection, file in CLIPS.items():
        reader = VideoReader(fetch(collection, sets_folder())[0].parent / file, VideoConfig())
        step = max(1, reader.info.frames // EACH)
        for frame, rgb in reader.pictures():
            number, rest = divmod(frame.index, step)
            if rest == 0 and number < EACH:
                # Interleaved by name, so that every fifth is one of either recording.
                Image.fromarray(rgb).save(folder / f"{number:02d}_{collection}.png")


if __name__ == "__main__":
    main()
