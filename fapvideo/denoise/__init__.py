"""The diffusion itself: shared noise, samplers, batching."""
