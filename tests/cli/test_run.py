"""`run`, `preview` and `inspect`: options reach the swapper, results reach the user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import fake_swapper
import pytest
from fake_swapper import FakeSwapper, span
from PIL import Image

from fapvideo.cli.options import parse_time
from fapvideo.cli.output import show_progress
from fapvideo.cli.summary import told_spans
from fapvideo.errors import WeightsError
from fapvideo.progress import Progress


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("75", 75), ("7.25", 7.25), ("1:15", 75), ("01:15.5", 75.5), ("1:02:03", 3723)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "1:75", "1.5:10", "1:2:3:4", "nan", "1e3", ":"])
def test_what_is_no_time_is_refused(text: str, fapvideo: Any, clip: Path) -> None:
    result = fapvideo("run", clip, f"--start={text}")
    assert result.code == 2
    assert result.err.startswith("error: Invalid value for '--start'")


@pytest.fixture
def run(fapvideo: Any, swapper: type[FakeSwapper], preset: Path, clip: Path) -> Any:
    """Return a function that runs `run` on the clip by the preset: `run("--json")`."""
    return partial(fapvideo, "run", clip, "--preset", preset)


def test_options_reach_the_swapper(
    fapvideo: Any, swapper: type[FakeSwapper], preset: Path, clip: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    other.touch()
    result = fapvideo(
        *("run", clip, "-o", tmp_path / "new.mp4", "--preset", preset, "--device", "cpu"),
        *("--reference", f"eyes={other}", "--reference", f"eyes={preset.parent / 'face.png'}"),
        *("--set", "denoise.steps=3", "--set", "track.faces=all", "--set", "video.start_s=9"),
        *("--start", "1.5", "--end", "1:00", "--overwrite"),
    )
    assert result.code == 0, result.err
    (opened,) = swapper.opened
    assert opened.calls == [(clip, tmp_path / "new.mp4", True, False)]
    assert opened.closed
    assert opened.device == "cpu"
    used = opened.preset
    assert (used.denoise.steps, used.track.faces) == (3, "all")
    assert (used.video.start_s, used.video.end_s) == (1.5, 60.0)
    assert [Path(source.path).name for source in used.references["eyes"]] == [
        "other.png",
        "face.png",
    ]
    assert set(used.references) == {"eyes"}, "no other part comes along"


def test_people_take_the_place_of_the_presets(
    fapvideo: Any, swapper: type[FakeSwapper], preset: Path, clip: Path, tmp_path: Path
) -> None:
    for name in ("anna.png", "eyes.png", "lips,2.png"):
        (tmp_path / name).touch()
    photo, eyes, lips = (tmp_path / name for name in ("anna.png", "eyes.png", "lips,2.png"))
    result = fapvideo(
        *("run", clip, "--preset", preset, "--reference", f"nose={eyes}"),
        *("--person", f"{photo}:eyes={eyes},mouth={lips},mouth={eyes},strength=0.5,seed=7"),
        *("--person", "track=3:keep", "--person", "everyone_else"),
    )
    assert result.code == 0, result.err
    used = swapper.opened[0].preset
    anna, third, others = used.people
    assert (anna.who.photo, anna.strength, anna.seed, anna.keep) == (str(photo), 0.5, 7, False)
    assert {part: [Path(one.path) for one in given] for part, given in anna.references.items()} == {
        "eyes": [eyes], "mouth": [lips, eyes],
    }  # fmt: skip
    assert (third.who.track, third.keep) == (3, True)
    assert others.who.everyone_else
    assert set(used.references) == {"nose"}, "for everyone else"
    result = fapvideo("run", clip, "--preset", preset, "--reference", f"nose={eyes}",
                      "--person", f"left=1:eyes={eyes}")  # fmt: skip
    assert result.code == 2
    assert "references: everybody in people has references of their own" in result.err


def test_the_summary_says_what_was_done(run: Any, clip: Path) -> None:
    result = run()
    assert result.code == 0
    assert str(clip.with_name("talk.swapped.mp4")) in result.out
    assert "4: 3 swapped, 0 held, 0 faded, 1 left" in result.out
    assert "2 (1 chosen)" in result.out
    assert result.out.splitlines()[-2:] == [
        "3 of 4 frames swapped",
        "track 1: 0:01.28-0:01.32 left, turned too far to the side",
    ]
    assert "1 (1 from the cache)" in result.out
    assert "300 MiB" in result.out
    assert "warning: the brand's face [it] is small" in result.err
    for stage in ("analyse", "references", "swap", "finish"):
        assert stage in result.err
    assert "4/4" in result.err
    assert "12.5 fps" in result.err


def test_json_is_all_there_is_on_both_streams(run: Any) -> None:
    result = run("--json")
    assert result.code == 0
    report = json.loads(result.out)
    assert report["frames"] == {"total": 4, "swapped": 3, "held": 0, "faded": 0, "left": 1}
    assert report["schema_version"] == 1
    assert len(result.events) == 16
    want = {"event": "progress", "stage": "analyse", "done": 2, "total": 4, "fps": 12.5}
    assert result.events[1] == want


def test_a_fade_goes_with_what_it_leads_to() -> None:
    """Told in time and once, whatever faces nobody asked for do meanwhile."""
    log = [
        span(0, 5, 9, "faded", "beside"), span(0, 10, 12, "left", "jumps"),
        span(0, 13, 17, "faded", "beside"), span(0, 30, 34, "faded", "beside"),
        span(1, 2, 4, "held", "not_measured"), span(2, 0, 99, "left", "not_cast"),
    ]  # fmt: skip
    told = [(s["first"], s["state"]) for s in told_spans(log)]
    assert told == [(2, "held"), (10, "left"), (30, "faded")]


def test_strict_is_exit_code_9_after_all_is_written(
    run: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("--strict")
    assert result.code == 9
    assert clip.with_name("talk.swapped.mp4").exists()
    assert "3 of 4 frames swapped" in result.out
    error, hint = result.err.splitlines()[-2:]
    assert error == (
        "error: 1 of 4 frames fell back (profile 1): "
        "track 1 0:01.28-0:01.32 left, turned too far to the side"
    )
    assert "docs/report.md" in hint
    as_json = run("--strict", "--json", "--overwrite")
    assert as_json.code == as_json.events[-1]["exit_code"] == 9
    assert json.loads(as_json.out)["frames"]["left"] == 1
    monkeypatch.setattr(fake_swapper, "LOG", [])
    assert run("--strict").code == 0, "a face that nobody asked for is no fault"


def test_an_input_that_was_cut(run: Any, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both numbers are in the summary; `--strict` makes it an error, faces or not."""
    monkeypatch.setattr(fake_swapper, "LOG", [])
    cut = {"short": True, "held_frames": 4, "promised_frames": 9}
    monkeypatch.setattr(fake_swapper, "INPUT", cut)
    assert "4 of 9: 4 swapped" in run("--overwrite").out
    result = run("--strict", "--overwrite")
    assert result.code == 9
    assert "is cut off: 4 of 9 frames" in result.err
    monkeypatch.setattr(fake_swapper, "INPUT", {**cut, "held_frames": 8})
    assert "4 (8 of 9 are there)" in run("--overwrite").out
    monkeypatch.setattr(fake_swapper, "INPUT", {"short": False, "promised_frames": 9})
    assert run("--strict", "--overwrite").code == 0


def test_long_lists_of_stretches_are_cut(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    log = [span(1, 2 * at, 2 * at, "left", "jumps") for at in range(11)]
    monkeypatch.setattr(fake_swapper, "LOG", log)
    lines = run().out.splitlines()
    assert sum(line.startswith("track 1: ") for line in lines) == 8
    assert lines[-1].startswith("and 3 more stretches: see frame_log in ")
    assert lines[-1].endswith("talk.swapped.mp4.report.json")


def test_progress_that_counts_no_frames_has_a_note_instead(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with show_progress(as_json=True) as show:
        show(Progress("train", 3, 6, note="loss 0.123"))
    want = {"event": "progress", "stage": "train", "done": 3, "total": 6, "note": "loss 0.123"}
    assert json.loads(capsys.readouterr().err) == want
    with show_progress() as show:
        show(Progress("train", 3, 6, note="loss [0.123]"))
    assert "3/6" in (drawn := capsys.readouterr().err)
    assert "loss [0.123]" in drawn


def test_an_error_is_two_lines_and_an_exit_code(
    run: Any, swapper: type[FakeSwapper], clip: Path
) -> None:
    result = run("--require-face")
    assert result.code == 5
    assert result.out == ""
    lines = [f"error: no face in {clip}", "hint: leave out --require-face"]
    assert result.err.splitlines()[-2:] == lines
    assert swapper.opened[0].closed


def test_layers_go_to_a_folder(swapper: Any, fapvideo: Any, preset: Path, clip: Path) -> None:
    asked = "run", clip, "--preset", preset, "--layers", clip.parent / "layers"
    assert fapvideo(*asked).code == 0
    assert swapper.opened[0].layers == clip.parent / "layers"
    refused = fapvideo(*asked, "--report")
    assert refused.code == 2
    assert "makes none" in refused.err
    assert len(swapper.opened) == 1, "refused before anything is loaded"


def test_an_error_in_json(run: Any, swapper: type[FakeSwapper]) -> None:
    swapper.failure = WeightsError("b.safetensors is damaged", hint="fetch it again")
    result = run("--json")
    assert result.code == 7
    assert result.out == ""
    assert result.events == [
        {
            "event": "error",
            "type": "WeightsError",
            "message": "b.safetensors is damaged",
            "hint": "fetch it again",
            "exit_code": 7,
        }
    ]


def test_an_unexpected_exception_points_to_debug(run: Any, swapper: type[FakeSwapper]) -> None:
    swapper.failure = ZeroDivisionError("division by [zero]")
    result = run()
    assert result.code == 1
    assert "error: unexpected ZeroDivisionError: division by [zero]" in result.err
    assert "--debug" in result.err
    assert "Traceback" not in result.err
    assert "Traceback" in run(debug=True).err


def test_a_wrong_preset_fails_before_anything_is_loaded(
    fapvideo: Any, swapper: type[FakeSwapper], clip: Path
) -> None:
    result = fapvideo("run", clip, "--preset", "brand_avatr", "--set", "seed=1")
    assert result.code == 2
    assert "unknown preset 'brand_avatr', did you mean brand_avatar?" in result.err
    assert swapper.opened == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "denoise.stps=3"], "denoise.stps: unknown key, did you mean denoise.steps?"),
        (["--set", "nothing"], "'nothing': expected KEY=VALUE"),
        (["--reference", "a.png"], "--reference 'a.png': expected PART=IMAGE"),
        (["--reference", "ears=a.png"], "references.ears: should be 'eyes', 'brows'"),
        (["--person", "her.png"], "people.0.who.photo: photo not found: "),
        (["--person", "left=1:ears=a.png"], "people.0.references.ears: should be 'eyes', 'brows'"),
        (["--person", "left=one:keep"], "--person 'left=one:keep': expected WHO[:WHAT,..]"),
        (["--person", "left=0"], "people.0.who.left: should be greater than or equal to 1"),
        (["--start", "9", "--end", "4"], "end_s 4.0 is not after start_s 9.0"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_wrong_arguments_are_exit_code_2(
    fapvideo: Any, preset: Path, clip: Path, arguments: list[str], message: str
) -> None:
    result = fapvideo("run", clip, "--preset", preset, *arguments)
    assert result.code == 2
    assert message in result.err
    assert result.err.startswith("error: ")


def stop_program(number: signal.Signals, preset: Path, clip: Path, **env: str) -> str:
    """Send a signal once the program has said something; return the message it ends with."""
    program = Path(__file__).with_name("fake_swapper.py")
    command = [sys.executable, program, "run", clip, "--preset", preset, "--json"]
    pipe = subprocess.PIPE
    streams: dict[str, Any] = {"stderr": pipe, "stdout": pipe, "env": os.environ | env}
    # Of a shell's background job, whose children ignore SIGINT, this one listens to it.
    streams["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, **streams) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert out == b""
    files = sorted(path.name for path in clip.parent.iterdir())
    assert files == ["face.png", "mine.toml", "talk.mp4"]
    stopped = json.loads(err.splitlines()[-1])
    assert stopped["type"] == "Cancelled"
    assert stopped["exit_code"] == 128 + number
    return str(stopped["message"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_through_its_callback(
    number: signal.Signals, preset: Path, clip: Path
) -> None:
    assert "talk.swapped.mp4 was not written" in stop_program(number, preset, clip)


@pytest.mark.slow
def test_a_run_that_does_not_ask_is_interrupted(preset: Path, clip: Path) -> None:
    message = stop_program(signal.SIGINT, preset, clip, FAKE_FRAME_S="60")
    assert message == "stopped; nothing was written"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_breaks_off_loading(number: signal.Signals, preset: Path, clip: Path) -> None:
    message = stop_program(number, preset, clip, FAKE_LOAD_S="60")
    assert message == "stopped; nothing was written"


def test_preview_writes_a_sheet_once(
    fapvideo: Any, swapper: type[FakeSwapper], preset: Path, clip: Path
) -> None:
    sheet = clip.with_name("sheet.png")
    arguments = ("preview", clip, "--preset", preset, "--at", "1,0:02.5", "-o", sheet)
    result = fapvideo(*arguments)
    assert result.code == 0, result.err
    assert result.out.strip() == str(sheet)
    assert swapper.opened[0].calls == [(clip, (1.0, 2.5))]
    with Image.open(sheet) as image:
        assert (image.format, image.size, image.getpixel((0, 0))) == ("PNG", (6, 8), (200,) * 3)
    assert fapvideo(*arguments).code == 4
    assert fapvideo(*arguments, "--overwrite").code == 0
    assert not list(clip.parent.glob("*.partial*"))


@pytest.mark.parametrize("name", ["sheet.mp4", "talk.mp4", "no/folder/sheet.png"])
def test_preview_refuses_what_it_cannot_write_before_the_work(
    fapvideo: Any, swapper: type[FakeSwapper], preset: Path, clip: Path, name: str
) -> None:
    arguments = ("--preset", preset, "--at", "1", "--overwrite", "-o", clip.parent / name)
    assert fapvideo("preview", clip, *arguments).code == 4
    assert swapper.opened == []
    assert clip.read_bytes() == b""


def test_inspect(fapvideo: Any, swapper: type[FakeSwapper], preset: Path, clip: Path) -> None:
    result = fapvideo("inspect", clip, "--preset", preset)
    assert result.code == 0, result.err
    for shown in ("h264", "size_px", "Tracks: none", "warning: the face is small"):
        assert shown in result.out
    found = json.loads(fapvideo("inspect", clip, "--preset", preset, "--json").out)
    assert found == FakeSwapper.inspect(swapper.opened[0], clip)
