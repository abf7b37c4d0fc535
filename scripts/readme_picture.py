"""Make the README's picture: four frames of the example clip, as they are and as the brand avatar.

    python scripts/readme_picture.py

Writes docs/pictures/before_after.jpg, and beside it a JSON file with the SHA-256 of what it was
made from; a test compares those with the files that are shipped. No random numbers; half a minute.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

import av
import cv2
import numpy as np

import fapvideo

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "before_after.jpg"
RECORD = PICTURE.with_suffix(".json")
CLIP = ROOT / "examples" / "talking_portrait.mp4"
PRESET = "brand_avatar"
SOURCES = (
    "examples/talking_portrait.mp4",
    "fapvideo/assets/brand_face.png",
    "fapvideo/bundles/embedded/*.safetensors",
    "fapvideo/bundles/embedded/bundle.toml",
    f"presets/run/{PRESET}.toml",
)
FRAMES = {"at rest": 0, "blinking": 23, "speaking": 40, "turned": 74}
"""What the speaker does, and the index of the frame that shows it."""
TOP, BOTTOM, LEFT, RIGHT = 0, 450, 110, 530
"""The head, in every frame."""
CELL = (280, 300)
"""Width and height of one frame in the picture."""


def made_from() -> dict[str, str]:
    """Return path -> SHA-256 of everything that decides how the picture looks."""
    return {
        str(path.relative_to(ROOT)): hashlib.sha256(contents(path)).hexdigest()
        for pattern in SOURCES
        for path in sorted(ROOT.glob(pattern))
    }


def contents(path: Path) -> bytes:
    """Return a file's bytes; of TOML the values, whatever the comments say."""
    data = path.read_bytes()
    if path.suffix == ".toml":
        data = json.dumps(tomllib.loads(data.decode("utf-8")), sort_keys=True).encode()
    return data


def before() -> np.ndarray:
    """Return the clip's frames, uint8 [N, H, W, 3]."""
    with av.open(CLIP) as clip:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)])


def after() -> np.ndarray:
    """Return the frames with their parts swapped, uint8 [N, H, W, 3]."""
    with fapvideo.VideoSwapper.from_preset(PRESET, device="cpu") as swapper:
        return np.concatenate([batch.rgb for batch in swapper.stream(CLIP)])


def row(frames: np.ndarray, name: str, labels: bool) -> np.ndarray:
    """Return the chosen frames side by side, with the row's name and what the speaker does."""
    cells = []
    for label, index in FRAMES.items():
        head = frames[index, TOP:BOTTOM, LEFT:RIGHT]
        cell = cv2.resize(head, CELL, interpolation=cv2.INTER_AREA)
        if labels:
            write(cell, label, (8, CELL[1] - 9))
        cells.append(cell)
    write(cells[0], name, (8, 18))
    return np.concatenate(cells, axis=1)


def write(cell: np.ndarray, text: str, at: tuple[int, int]) -> None:
    """Write a small label into a picture, white with a dark rim."""
    for colour, width in (((30, 30, 30), 2), ((255, 255, 255), 1)):
        cv2.putText(cell, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, width, cv2.LINE_AA)


def main() -> None:
    """Render, write the picture and its record."""
    picture = np.concatenate([row(before(), "source", False), row(after(), "result", True)])
    PICTURE.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(PICTURE), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    record = {
        "made_by": "scripts/readme_picture.py",
        "sha256": hashlib.sha256(contents(PICTURE)).hexdigest(),
        "made_from": made_from(),
    }
    RECORD.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
