"""The noise of a track is its own, everywhere and always."""

from __future__ import annotations

import torch
from fresh import run_fresh

from fapvideo.denoise.noise import track_noise


def test_same_track_same_noise_whatever_ran_before() -> None:
    first = track_noise(3, 1, (8, 16, 16))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(first, track_noise(3, 1, (8, 16, 16)))
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone
    assert first.dtype is torch.float32


def test_another_process_draws_the_same() -> None:
    code = "from fapvideo.denoise.noise import *; print(track_noise(3, 1, (4, 8, 8)).sum().item())"
    other = run_fresh(code)
    assert float(other.stdout) == track_noise(3, 1, (4, 8, 8)).sum().item()


def test_tracks_and_seeds_differ_and_are_normal() -> None:
    fields = [track_noise(s, t, (4, 64, 64)) for s, t in ((0, 0), (0, 1), (1, 0), (1, 11), (11, 1))]
    for i, a in enumerate(fields):
        assert abs(a.mean()) < 0.03
        assert abs(a.std() - 1) < 0.03
        for b in fields[:i]:
            assert abs((a * b).mean()) < 0.03
