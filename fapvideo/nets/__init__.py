"""Neural network modules only: no files, no paths, no command line."""

from fapvideo.ops.torchvision_shim import make_torchvision_importable

# Before transformers and diffusers: they would fail on a torchvision that does not load.
make_torchvision_importable()
