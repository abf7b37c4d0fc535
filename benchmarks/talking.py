"""The packaged brand face, talking, for as long as one likes: a second that goes to and fro.

It costs little to make, and clips of all lengths show the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, cycle, islice
from pathlib import Path

import av
import cv2
import numpy as np

from fapvideo.config.presets import ASSETS
from fapvideo.structs import Bytes
from fapvideo.synth.portrait import AnimatedPortrait

RATE, POSES = 25, 25
BEGINS_S = 0.7
GREY = 96


def pictures(
    frames: int, size: tuple[int, int], face_size: tuple[int, int] | None = None
) -> Iterator[Bytes]:
    """Yield that many pictures uint8 [height, width, 3].

    Args:
        frames: how many.
        size: (width, height).
        face_size: of the portrait, in the middle of a grey picture; by default it is all of it.
    """
    width, height = size
    across, down = face_size or size
    photo = cv2.imread(str(ASSETS / "brand_face.png"))[..., ::-1]
    portrait = AnimatedPortrait(photo, (across, down))
    poses = []
    for pose in range(POSES):
        picture = np.full((height, width, 3), GREY, np.uint8)
        left, top = (width - across) // 2, (height - down) // 2
        shown = portrait.render(BEGINS_S + pose / RATE)[0]
        picture[top : top + down, left : left + across] = shown
        poses.append(picture)
    there_and_back = chain(range(POSES), range(POSES - 2, 0, -1))
    yield from (poses[pose] for pose in islice(cycle(there_and_back), frames))


def write_clip(
    path: Path, frames: int, size: tuple[int, int], face_size: tuple[int, int] | None = None
) -> None:
    """Write them as a lossless H.264 clip."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"crf": "0", "preset": "ultrafast"}
        )
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number, pose in enumerate(pictures(frames, size, face_size)):
            picture = av.VideoFrame.from_ndarray(pose, "rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
