"""Make `examples/talking_portrait.mp4`: a public-domain portrait that talks, blinks and turns.

    pip install "fapvideo[dev]"        # for skimage, which carries the photo
    python examples/make_example.py [OUTPUT.mp4]

Photo: NASA, portrait of astronaut Eileen Collins, public domain (`skimage.data.astronaut`). The
motion is `fapvideo.synth.motion.talking`; the sound is made here, in step with the mouth.
"""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data

from fapvideo.ops.files import write_atomically
from fapvideo.synth.motion import speech
from fapvideo.synth.portrait import AnimatedPortrait

SIZE = (640, 480)
FPS = 25
SECONDS = 4.0
RATE = 48000
TITLE = "Talking portrait"
CREDIT = "NASA portrait of Eileen Collins (public domain), animated by fapvideo"
CROP = (97, 12, 256)
"""Left, top and width of the part of the photo that is shown."""


def portrait() -> AnimatedPortrait:
    """Return the animated astronaut, head and shoulders."""
    left, top, width = CROP
    scale = SIZE[0] / width
    view = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    photo = skimage.data.astronaut()
    soft = cv2.GaussianBlur(photo, (0, 0), 0.8)
    sharp = cv2.addWeighted(photo, 1.6, soft, -0.6, 0)  # the photo is enlarged 2.5 times
    return AnimatedPortrait(sharp, SIZE, view=view)


def voice() -> np.ndarray:
    """Return a hummed melody of vowels, float32 [samples]: a pulse train through two formants."""
    t = np.arange(int(SECONDS * RATE)) / RATE
    loud = np.array([speech(float(x)) for x in t[:: RATE // 200]])
    loud = np.interp(t, t[:: RATE // 200], loud)
    pitch = 190 + 25 * np.sin(2 * np.pi * t / 1.3) - 12 * t + 30 * loud
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    first, second = 380 + 380 * loud, 1150 + 500 * np.sin(2 * np.pi * t / 0.9)
    sound = np.zeros_like(t)
    for harmonic in range(1, 19):
        hertz = harmonic * pitch
        gain = _formant(hertz, first, 110.0) + 0.45 * _formant(hertz, second, 160.0)
        sound += gain / harmonic**0.6 * np.sin(harmonic * phase)
    return (0.22 * sound * loud**1.5).astype(np.float32)


def _formant(hertz: np.ndarray, centre: np.ndarray, width: float) -> np.ndarray:
    """Return the gain of a resonance."""
    return 1 / (1 + ((hertz - centre) / width) ** 2)


def write(path: Path) -> None:
    """Write the clip: H.264 and AAC in MP4, title and credit in its metadata."""
    animated = portrait()
    options = {"movflags": "faststart"}
    with write_atomically(path) as fresh, av.open(fresh, "w", container_options=options) as output:
        output.metadata.update(title=TITLE, comment=CREDIT)
        video = output.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "slow"})
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 1
        context.thread_count = 1  # the same bytes on every machine
        audio = output.add_stream("aac", rate=RATE, layout="mono")
        audio.codec_context.bit_rate = 96000
        for index in range(int(SECONDS * FPS)):
            rgb, _ = animated.render(index / FPS)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace=1, src_color_range=2, dst_color_range=1
            )
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        _mux_sound(output, audio)


def _mux_sound(output: av.container.OutputContainer, stream: av.AudioStream) -> None:
    samples = voice()
    step = 1024
    for start in range(0, len(samples), step):
        frame = av.AudioFrame.from_ndarray(
            samples[None, start : start + step], format="fltp", layout="mono"
        )
        frame.sample_rate = RATE
        frame.pts, frame.time_base = start, Fraction(1, RATE)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    here = Path(__file__).parent / "talking_portrait.mp4"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    write(target)
    print(f"{target}: {target.stat().st_size / 1e3:.0f} kB")
