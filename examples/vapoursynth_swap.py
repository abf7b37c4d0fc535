"""Swap a VapourSynth clip: python vapoursynth_swap.py in.vpy | ffmpeg -f rawvideo ... out.mp4."""

import runpy
import sys

import numpy as np
import vapoursynth as vs

from fapvideo import VideoSwapper, stream_info

runpy.run_path(sys.argv[1], run_name="__vapoursynth__")  # ends with clip.set_output()
clip = vs.get_output(0).clip.resize.Bicubic(format=vs.RGB24)
pictures = (np.dstack([np.asarray(f[k]) for k in range(3)]) for f in clip.frames(close=True))
with VideoSwapper.from_preset("brand_avatar") as swapper:
    session = swapper.session(stream_info(clip.width, clip.height, clip.fps))
    for picture in session.stream(pictures):
        sys.stdout.buffer.write(picture.tobytes())
