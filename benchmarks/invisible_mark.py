"""Can a mark that nobody sees, inside the mask only, live through a platform's encoder? The curve.

python benchmarks/invisible_mark.py CLIPS [--portraits DIR] [--only NAME ...] [--ways N]
                                    [--output FILE]

Ten seconds of each clip (shorter ones are played to and fro), of the example and of animated
portraits are marked, encoded by x264 as said, and looked for by a detector that has the encoded
file and the key alone: it follows the face itself, at the size that the file has.

The mark is a keyed pattern of noise of a band of wavelengths in the face's own aligned coordinates,
under the feathered mask of eyes, brows, nose and mouth, stronger where the picture is busy. Its
strength swings softly between plus and minus, so that what the face looks like cancels out in the
sum over time. The detector takes crops, evens out their contrast, adds them with the sign of the
swing (its phase is unknown: 12 are tried), evens out the spectrum of the sum and correlates it with
the pattern (at 25 places around, in case the face was followed a little differently).

False alarms need no fitted tail: a key's pattern is Gaussian noise, drawn without a look at the
video, so the score of a file that was not marked, divided by its own deviation, is normal whatever
the file shows. `z` is that score for the right key; with 300 tries a false alarm of one in a
million takes 5.9. That other keys' scores are so is checked: their deviation and kurtosis (1 and 3
for a normal distribution) and their greatest are in the results. How surely a clip is found is
what is left between z and 5.9, in deviations of 1.

The mark is put on the video as it was filmed, in grey: a swap has smoother parts, so this is the
better case.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import av
import cv2
import numpy as np
from about import about

from fapvideo.config.schema import MaskConfig, TrackConfig
from fapvideo.mask.parts import part_masks
from fapvideo.ops.geometry import invert, transform, warp
from fapvideo.ops.pose import CROP_INTEROCULAR, crop_matrix, head_pose
from fapvideo.plan.follow import follow
from fapvideo.reference.images import read_image
from fapvideo.structs import Bytes, Floats
from fapvideo.synth.portrait import AnimatedPortrait
from fapvideo.video.reader import VideoReader

EXAMPLE = Path(__file__).parent.parent / "examples" / "talking_portrait.mp4"
SIZE, SECONDS, KEY = 192, 10.0, 7
"""Side of the crop; length of a clip; the key."""
PARTS = ["eyes", "brows", "nose", "mouth"]
BAND = (6.0, 14.0)
"""Wavelengths of the pattern in the crop, pixels; CROP_INTEROCULAR of SIZE lies between eyes."""
SWING_S, PHASES = 0.96, 12
"""Seconds from plus to plus, and how many phases are tried."""
REACH = 2
"""Pixels of the crop that the detector looks around."""
DE_PER_LEVEL = 100 / 255
"""Lightness per level of luma, about, in mid tones."""
WAYS = (
    (0.28, "crf 28, half size", 28, 0.5),
    (0.28, "crf 28", 28, 1.0),
    (0.56, "crf 28, half size", 28, 0.5),
)
"""Mean change of lightness under the mask, in dE; name, quality and size of the encoded file."""
TRIES = PHASES * (2 * REACH + 1) ** 2
NEEDED = NormalDist().inv_cdf(1 - 1e-6 / TRIES)
OTHERS = 2400
"""Scores of keys that were not used, a clip, to see how they spread."""
_MASK = MaskConfig(keep_inner_mouth=False)


@cache
def band() -> Floats:
    """Return [SIZE, SIZE] 1 at the frequencies of the pattern, else 0."""
    fy, fx = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij")
    radius = np.hypot(fx, fy)
    return ((radius >= 1 / BAND[1]) & (radius <= 1 / BAND[0])).astype(np.float32)


def pattern(key: int) -> Floats:
    """Return a key's noise [SIZE, SIZE], of deviation 1."""
    noise = np.random.default_rng(key).normal(size=(SIZE, SIZE))
    return (np.fft.ifft2(np.fft.fft2(noise) * band()).real / np.sqrt(band().mean())).astype(
        np.float32
    )


def swing(times_s: Floats, phase: float = 0.0) -> Floats:
    """Return the strength at each time, in [-1, 1]: a wave with broad tops."""
    return np.tanh(2.5 * np.sin(2 * np.pi * (times_s / SWING_S + phase))) / np.tanh(2.5)


class Faces:
    """The longest track of a video, as aligned crops and masks."""

    def __init__(self, path: Path) -> None:
        """Follow the face."""
        with VideoReader(path) as reader, tempfile.TemporaryDirectory() as scratch:
            self.rate = reader.info.frame_rate
            kept: list[Bytes] = []

            def grey(rgb: Bytes, _: object) -> None:
                kept.append(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))

            plan = follow(reader.batches(8), reader.info, TrackConfig(), Path(scratch), look=grey)
            track = max(plan.tracks, key=len)
            frames = range(track.first_frame, track.last_frame + 1)
            self.luma = [kept[i] for i in frames]
            self.times_s = plan.times_s[list(frames)]
            shapes = np.array(track.landmarks)
        self.matrices = [crop_matrix(head_pose(shape), SIZE) for shape in shapes]
        unit = CROP_INTEROCULAR * SIZE
        self.masks = [
            part_masks([transform(matrix, shape)], PARTS, _MASK, SIZE, unit).hole
            for matrix, shape in zip(self.matrices, shapes, strict=True)
        ]

    def marked(self, key: int, strength: float) -> Iterator[tuple[Bytes, float]]:
        """Yield the frames with the mark, and the mean change under the mask, dE."""
        keyed, signs = pattern(key), swing(self.times_s)
        signs /= np.abs(signs).mean()
        for grey, matrix, hole, sign in zip(
            self.luma, self.matrices, self.masks, signs, strict=True
        ):
            picture = grey.astype(np.float32)
            crop = warp(picture, matrix, (SIZE, SIZE))
            busy = np.sqrt(np.maximum(cv2.blur(crop**2, (9, 9)) - cv2.blur(crop, (9, 9)) ** 2, 0))
            change = keyed * hole * np.clip(busy / 12, 0.25, 3.0)
            area = max(float(hole.sum()), 1e-6)
            change *= strength / DE_PER_LEVEL / max(float(np.abs(change).sum()) / area, 1e-6)
            placed = warp(change * sign, invert(matrix), grey.shape[::-1])
            yield (
                (picture + placed).round().clip(0, 255).astype(np.uint8),
                float(np.abs(change * sign).sum() / area * DE_PER_LEVEL),
            )

    def sums(self) -> Floats:
        """Return [PHASES, SIZE, SIZE], the sums over time by phase, of an even spectrum."""
        phases = np.stack([swing(self.times_s, n / PHASES) for n in range(PHASES)])
        phases -= phases.mean(axis=1, keepdims=True)
        total = np.zeros((PHASES, SIZE, SIZE), np.float32)
        for grey, matrix, hole, signs in zip(
            self.luma, self.matrices, self.masks, phases.T, strict=True
        ):
            crop = warp(grey.astype(np.float32), matrix, (SIZE, SIZE))
            crop -= cv2.GaussianBlur(crop, (0, 0), 5)
            crop *= hole / (np.sqrt(cv2.GaussianBlur(crop**2, (0, 0), 6)) + 2.0)
            total += signs[:, None, None].astype(np.float32) * crop
        return np.stack([_even(one) for one in total])


def _even(total: Floats) -> Floats:
    """Return a sum inside the band, with as much of each wavelength, and of deviation 1."""
    spectrum = np.fft.fft2(total) * band()
    power = np.abs(spectrum) ** 2
    smooth = cv2.GaussianBlur(np.fft.fftshift(power).astype(np.float64), (0, 0), 4)
    spectrum /= np.sqrt(np.fft.ifftshift(smooth)) + 1e-12
    spectrum *= band()
    even = np.fft.ifft2(spectrum).real
    return (even / np.sqrt((even**2).sum())).astype(np.float32)


def scores(sums: Floats, key: int) -> Floats:
    """Return [PHASES, places] scores, each normal with deviation 1 for a key that was not used."""
    correlated = np.fft.ifft2(np.fft.fft2(sums) * np.conj(np.fft.fft2(pattern(key)))).real
    near = np.arange(-REACH, REACH + 1)
    # The pattern has all its power in the band, where the sums are: see `pattern` and `_even`.
    return correlated[:, near][:, :, near].reshape(PHASES, -1) * np.sqrt(band().mean())


def ten_seconds(path: Path, folder: Path) -> Path:
    """Write ten seconds of a clip, losslessly; a shorter one is played to and fro."""
    with VideoReader(path) as reader:
        rate, reader = reader.info.frame_rate, reader.cut(0.0, SECONDS)
        frames = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for _, rgb in reader.pictures()]
    wanted = round(SECONDS * float(rate))
    there_and_back = [*frames, *frames[-2:0:-1]]
    played = (there_and_back[i % len(there_and_back)] for i in range(wanted))
    return encoded(played, rate, 0, 1.0, folder / f"{path.stem}.mp4")


def portrait(photo: Path, folder: Path) -> Path:
    """Write ten seconds of a photo that talks, blinks and turns."""
    moving = AnimatedPortrait(read_image(photo)[0], (480, 480))
    rendered = (moving.render(n / 25) for n in range(round(SECONDS * 25)))
    frames = (cv2.cvtColor(one[0], cv2.COLOR_RGB2GRAY) for one in rendered)
    return encoded(frames, 25, 0, 1.0, folder / f"{photo.stem}.mp4")


def encoded(frames: Iterator[Bytes], rate: Any, crf: int, scale: float, path: Path) -> Path:
    """Write grey frames by x264."""
    with av.open(path, "w") as container:
        options = {"crf": str(crf), "preset": "medium" if crf else "ultrafast", "threads": "1"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        for grey in frames:
            height, width = (int(side * scale) // 2 * 2 for side in grey.shape)
            if not stream.codec_context.is_open:
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            sized = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
            frame = av.VideoFrame.from_ndarray(sized, "gray")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def measure(path: Path, ways: int) -> tuple[dict[str, Any], list[float]]:
    """Return a clip's row for the first of WAYS, and other keys' scores on it."""
    filmed = Faces(path)
    spread: list[float] = []
    across = float(np.median([1 / np.linalg.norm(m[0, :2]) for m in filmed.matrices]))
    row: dict[str, Any] = {
        "frames": len(filmed.luma),
        "between the eyes, px": round(across * CROP_INTEROCULAR * SIZE),
    }
    with tempfile.TemporaryDirectory() as folder:
        for strength, codec, crf, scale in WAYS[:ways]:
            marked = list(filmed.marked(KEY, strength))
            row[f"mean change at {strength}"] = round(float(np.mean([de for _, de in marked])), 2)
            name = Path(folder) / f"{strength}_{crf}_{scale}.mp4"
            frames = (one for one, _ in marked)
            sums = Faces(encoded(frames, filmed.rate, crf, scale, name)).sums()
            row[f"z, {strength} dE, {codec}"] = round(float(scores(sums, KEY).max()), 1)
            for other in range(1000, 1000 + OTHERS // (len(WAYS) * PHASES)):
                spread += scores(sums, other)[:, 0].tolist()
    return row, spread


def main() -> None:
    """Measure every clip in every way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--portraits", type=Path, help="folder of photos, to be animated")
    parser.add_argument("--only", nargs="*", default=())
    parser.add_argument("--ways", type=int, default=len(WAYS), help="so many of WAYS")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    rows: dict[str, Any] = {}
    spread: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = sorted(given.portraits.iterdir()) if given.portraits else []
        jobs = [(path.stem, lambda path=path: ten_seconds(path, folder))
                for path in (EXAMPLE, *sorted(given.clips.glob("*.mp4")))]  # fmt: skip
        jobs += [(f"portrait {n}", lambda photo=photo: portrait(photo, folder))
                 for n, photo in enumerate(photos)]  # fmt: skip
        if given.only:
            jobs = [job for stem in given.only for job in jobs if job[0] == stem]
        for stem, make in jobs:
            rows[stem], more = measure(make(), given.ways)
            spread += more
            print(stem, rows[stem], flush=True)
            _write(given.output, rows, np.array(spread))


def _write(path: Path | None, rows: dict[str, Any], spread: Floats) -> None:
    """Print the table, and write it down."""
    record = about(
        "An invisible mark inside the mask only: how far its score stands out after an encoder, "
        "by strength and size; the detector follows the face itself. Ten seconds each. Clips: "
        "KwaiVGI/LivePortrait (commit 1986663b), portraits: held-out photos of "
        "voteview/member_photos, animated.",
        "python benchmarks/invisible_mark.py CLIPS --portraits DIR --output FILE",
    )
    record["needed for a false alarm of 1e-6"] = round(NEEDED, 2)
    record["other keys"] = {
        "scores": len(spread),
        "deviation": round(float(spread.std()), 3),
        "kurtosis": round(float(((spread - spread.mean()) ** 4).mean() / spread.var() ** 2), 2),
        "greatest": round(float(np.abs(spread).max()), 2),
    }
    kinds = {name for row in rows.values() for name in row if name.startswith("z,")}
    record["marks"] = {}
    for kind in sorted(kinds):
        z = [row[kind] for row in rows.values() if kind in row]
        sure = [NormalDist().cdf(value - NEEDED) for value in z]
        record["marks"][kind] = {
            "clips": len(z),
            "found": sum(value > NEEDED for value in z),
            "expected share found": round(float(np.mean(sure)), 3),
            "z median": round(float(np.median(z)), 1),
            "z least": min(z),
        }
    record["clips"] = rows
    text = json.dumps(record, indent=1) + "\n"
    if path is not None:
        path.write_text(text, "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
