"""`[[spans]]`: other settings for a stretch of time, the same everywhere else."""

from __future__ import annotations

from pathlib import Path

import face_clips
import numpy as np
import pytest
import runs


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clips.face_clip(tmp_path_factory.mktemp("clips"), "one_face", frames=8)


@pytest.mark.slow
def test_a_span_changes_its_frames_and_no_others(clip: Path, tmp_path: Path) -> None:
    """What decides the fate, the guide and the paste; in the middle of a batch, too."""
    made = {}
    for name, spans in {
        "without": [],
        "with": [
            {"from": 0.08, "to": 0.16, "composite": {"opacity": 0.0}},
            {"from": 0.2, "to": 0.24, "guide": {"shape": {"mouth": 1.0}}},
            {"from": 0.24, "to": 9.0, "mask": {"policy": "keep", "max_yaw_deg": 0.01}},
        ],
    }.items():
        with runs.swapper(spans=spans, mask={"policy": "keep"}) as swap:
            report = swap.run(clip, tmp_path / f"{name}.mkv")
        runs.audit(report, tmp_path / f"{name}.mkv")
        made[name] = runs.decode(tmp_path / f"{name}.mkv")
    source = runs.decode(clip)
    same = [made["with"].same_samples(made["without"], i) for i in range(8)]
    assert same == [True, True, False, False, True, False, False, False]
    untouched = [made["with"].same_samples(source, i) for i in range(8)]
    assert np.flatnonzero(untouched).tolist() == [2, 3, 6, 7]
    (span,) = report.frame_log
    assert (span["first"], span["last"], span["reason"]) == (6, 7, "profile")
