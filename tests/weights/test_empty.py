"""Networks without weights are built in one thread, and no other notices."""

from __future__ import annotations

import threading

from torch import nn

from fapvideo.weights.empty import without_weights


def test_other_threads_build_theirs_as_usual() -> None:
    built: list[nn.Module] = []

    def build() -> None:
        built.append(nn.BatchNorm2d(4))

    usual = nn.Module.register_parameter
    with without_weights():
        here = nn.BatchNorm2d(4)
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    assert here.weight.is_meta
    assert not here.running_mean.is_meta, "buffers stay"
    assert not built[0].weight.is_meta
    assert nn.Module.register_parameter is usual
    assert not nn.Linear(2, 2).weight.is_meta
