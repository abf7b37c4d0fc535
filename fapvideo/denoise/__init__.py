"""The diffusion itself: shared noise, samplers, batching."""

from fapvideo.ops.torchvision_shim import make_torchvision_importable

# Before diffusers, which the sampler imports: it would fail on a torchvision that does not load.
make_torchvision_importable()
