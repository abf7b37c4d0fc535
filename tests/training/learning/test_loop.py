"""The loop learns, can be stopped anywhere, and goes on as if it had not been."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from training_setup import first_of, tiny_preset

from fapvideo.errors import WeightsError
from fapvideo.nets.mobilenet import MobileNetV2Tokens
from fapvideo.training.learning.adversary import Adversary
from fapvideo.training.learning.checkpoint import CHECKPOINT
from fapvideo.training.learning.loop import Trainer
from fapvideo.training.learning.pretrained import load_encoder
from fapvideo.training.learning.processes import ALONE
from fapvideo.training.learning.records import append_log, read_log
from fapvideo.training.samples.pool import Pool

CPU = torch.device("cpu")


def trainer(folder: Path, pool: Pool, **optim: Any) -> Trainer:
    return Trainer(tiny_preset(**optim), folder, pool, first_of(pool, 4), None, CPU)


@pytest.mark.slow
def test_the_tower_judges_what_is_learnt_from_its_tokens(pool: Pool, tmp_path: Path) -> None:
    preset = tiny_preset(steps=2, eval_steps=1, token_weight=0.5)
    tower = load_encoder(preset, Path("no sets are needed"), None)
    assert isinstance(tower, MobileNetV2Tokens)
    Trainer(preset, tmp_path / "a", pool, pool, None, CPU, tower=tower).run()
    assert all(float(row["tokens"]) > 0 for row in read_log(tmp_path / "a" / "log.csv")[1:])
    trainer(tmp_path / "b", pool, steps=2).run()
    learnt, other = (checkpoint(tmp_path / name)["network"] for name in "ab")
    assert any(not torch.equal(value, other[name]) for name, value in learnt.items())


def checkpoint(folder: Path) -> dict[str, Any]:
    return torch.load(folder / CHECKPOINT, weights_only=True)


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries and lists by dotted name."""
    if isinstance(state, dict | list):
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {k: v for key, value in items for k, v in flat(value, f"{name}.{key}").items()}
    return {name: state}


def stop_after(steps: int) -> Any:
    asked = iter(range(1000))
    return lambda: next(asked) >= steps


@pytest.mark.slow
def test_a_resumed_run_equals_a_straight_one_to_the_bit(pool: Pool, tmp_path: Path) -> None:
    noisy = {"steps": 6, "eval_steps": 2, "sheet_steps": 4}  # measuring must not disturb
    trainer(tmp_path / "straight", pool, steps=6).run()
    done = 0
    for until in (1, 4):
        trainer(tmp_path / "parts", pool, **noisy).run(stop=stop_after(until - done))
        done = until
        torch.rand(7)  # what else the program draws must not matter
    assert checkpoint(tmp_path / "parts")["step"] == 4
    trainer(tmp_path / "parts", pool, **noisy).run()
    assert_same_state(tmp_path / "straight", tmp_path / "parts")


def assert_same_state(first: Path, second: Path) -> None:
    """Assert that two checkpoints hold the same to the bit, but for the time they took."""
    straight, resumed = flat(checkpoint(first)), flat(checkpoint(second))
    assert straight.keys() == resumed.keys()
    for name, value in straight.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, resumed[name]), name
            assert value.stride() == resumed[name].stride()
        elif not name.startswith((".seconds", ".preset")):
            assert value == resumed[name], name


@pytest.mark.slow
def test_a_run_resumed_amid_the_adversary_equals_a_straight_one(pool: Pool, tmp_path: Path) -> None:
    """Stopped before it acts, and while it does."""
    optim = {"steps": 6, "adversarial_weight": 0.5, "adversarial_start": 0.4}
    trainer(tmp_path / "straight", pool, **optim).run()
    trainer(tmp_path / "parts", pool, **optim).run(stop=stop_after(2))
    trainer(tmp_path / "parts", pool, **optim).run(stop=stop_after(2))
    trainer(tmp_path / "parts", pool, **optim).run()
    assert_same_state(tmp_path / "straight", tmp_path / "parts")
    started = Adversary(tiny_preset(**optim).optim, 1, CPU, ALONE).state()["network"]
    learnt = checkpoint(tmp_path / "parts")["adversary"]["network"]
    weights = {name: value for name, value in started.items() if name.endswith("original")}
    assert len(weights) == 5
    assert all(not torch.equal(learnt[name], value) for name, value in weights.items())
    # It has its say: without it the weights are others.
    trainer(tmp_path / "without", pool, steps=6).run()
    with_it, without = (checkpoint(tmp_path / name)["ema"] for name in ("straight", "without"))
    assert any(not torch.equal(with_it[name], value) for name, value in without.items())


def test_the_loss_falls(pool: Pool, tmp_path: Path) -> None:
    """Without a guide there is much to learn."""
    losses: list[float] = []
    run = trainer(tmp_path, pool, steps=20, learning_rate=1e-3, batch_size=8, guide_dropout=1)
    run.run(progress=lambda _: losses.append(float(run.losses["pixel"])))
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_network_starts_as_the_guide(pool: Pool, tmp_path: Path) -> None:
    """The correction and the injection are zero at first, so the output is the guide, exactly."""
    run = trainer(tmp_path, pool)
    for parameter in run.network.get_submodule("unet.conv_out").parameters():
        assert not parameter.detach().any()
    metrics = run.evaluate(run.averaged())
    assert metrics["psnr"] == metrics["psnr_no_injection"]


def test_time_is_up_at_once_and_the_run_is_saved(pool: Pool, tmp_path: Path) -> None:
    run = trainer(tmp_path, pool)
    run.run(stop=lambda: True)
    assert run.step == 0
    assert checkpoint(tmp_path)["step"] == 0


def test_the_global_generator_is_left_alone(pool: Pool, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trainer(tmp_path, pool, steps=1).run()
    assert torch.equal(torch.rand(3), expected)


def test_the_log_has_no_rows_from_after_the_checkpoint(pool: Pool, tmp_path: Path) -> None:
    trainer(tmp_path, pool, steps=4, eval_steps=2).run()
    assert [row["step"] for row in read_log(tmp_path / "log.csv")] == ["0", "2", "4"]
    # As after a crash: logged, but the checkpoint is older.
    append_log(tmp_path / "log.csv", {"step": 6, "extra": 0.5})
    run = trainer(tmp_path, pool, steps=8, eval_steps=2)
    assert [row["step"] for row in read_log(tmp_path / "log.csv")] == ["0", "2", "4"]
    run.run(stop=stop_after(1))
    row = run.conclude()
    assert row["step"] == "5"
    start = run.metrics_at_start()
    assert start["step"] == 0
    assert start["guide_psnr"] == float(row["guide_psnr"])
    assert start["psnr"] != float(row["psnr"])
    assert "loss" not in start
    assert float(row["guide_psnr"]) > 5
    assert (tmp_path / "sheet_000005.png").is_file()
    assert run.conclude() == row
    assert len(read_log(tmp_path / "log.csv")) == 4


def test_a_checkpoint_that_does_not_fit_is_named(pool: Pool, tmp_path: Path) -> None:
    trainer(tmp_path, pool, steps=1).run()
    path, state = tmp_path / CHECKPOINT, checkpoint(tmp_path)
    del state["network"]["unet.conv_out.bias"]
    for damage in (
        lambda: path.write_bytes(path.read_bytes()[:1000]),
        lambda: path.write_text("not a checkpoint"),
        lambda: torch.save(state, path),  # of another network
    ):
        damage()
        with pytest.raises(WeightsError, match="is damaged or of another network") as e:
            trainer(tmp_path, pool, steps=1)
        assert "checkpoint.pt" in str(e.value)
        assert "--fresh" in e.value.hint


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, pool, steps=1)
    run.run()
    before = (tmp_path / CHECKPOINT).read_bytes()

    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WeightsError, match="No space left"):
        run.save()
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
def test_a_compiled_network_learns_the_same_and_is_saved_under_the_same_names(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whole but for the generated C++, which takes a plain CPU the better part of an hour.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    plain = trainer(tmp_path / "plain", pool, steps=2)
    compiled = trainer(tmp_path / "compiled", pool, steps=2, compile=True)
    for run in (plain, compiled):
        run.run()
    assert checkpoint(tmp_path / "plain")["ema"].keys() == compiled.ema.state.keys()
    for name, value in plain.losses.items():
        assert float(compiled.losses[name]) == pytest.approx(float(value), rel=0.01), name
    one, other = (float(run.conclude()["psnr"]) for run in (plain, compiled))
    assert other == pytest.approx(one, abs=0.1)
