"""What `fapvideo train` says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from fapvideo.cli import train as command
from fapvideo.training.train import TrainReport


def report(before: dict[str, float]) -> TrainReport:
    return TrainReport(
        output=Path("anna"),
        work=Path("anna.work"),
        finished=True,
        step=300,
        steps=300,
        minutes=12.0,
        faces=20,
        heldout=2,
        identities=0,
        dropped={},
        metrics={
            "psnr": 24.518,
            "guide_psnr": 22.0,
            "psnr_no_injection": 24.1,
            "lpips": 0.0812,
            "guide_lpips": 0.17,
        },
        before=before,
    )


def test_it_says_what_was_gained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command._print_summary(report({"psnr": 23.04, "lpips": 0.1}))
    shown = capsys.readouterr().out
    assert "23.04 -> 24.52 (guide 22.00, without injection 24.10)" in shown
    assert "0.1000 -> 0.0812 (guide 0.1700)" in shown


def test_where_the_start_was_not_measured_it_says_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    command._print_summary(report({}))
    assert "24.52 (guide 22.00, without injection 24.10)" in capsys.readouterr().out
