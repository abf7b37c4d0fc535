import os
import threading

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from fapvideo.reference import cache as module
from fapvideo.reference.cache import FeatureCache

SHA, OTHER = "a" * 64, "b" * 64
TOKENS = np.random.default_rng(0).normal(size=(256, 24)).astype(np.float32)


OTHER_TOKENS = {
    "a type": TOKENS.astype(np.float64),
    "a shape": TOKENS.reshape(24, 256),
    "no number": np.full_like(TOKENS, np.nan),
}


class Encoder:
    """Counts how often it is asked."""

    def __init__(self, tokens=TOKENS):
        self.calls, self.tokens = 0, tokens

    def __call__(self):
        self.calls += 1
        return self.tokens


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_second_time_nothing_is_computed(tmp_path):
    encoder, cache = Encoder(), FeatureCache(tmp_path, "encoder-1")
    fresh, hit = cache.get(SHA, "eyes", encoder)
    assert (hit, encoder.calls) == (False, 1)
    again, hit = FeatureCache(tmp_path, "encoder-1").get(SHA, "eyes", encoder)
    assert (hit, encoder.calls) == (True, 1)
    np.testing.assert_array_equal(again, fresh)
    assert again.dtype == np.float32
    assert [path.suffix for path in files(tmp_path)] == [".safetensors"], "nothing left over"


@pytest.mark.parametrize(
    ("sha", "part", "identity"),
    [(OTHER, "eyes", "encoder-1"), (SHA, "nose", "encoder-1"), (SHA, "eyes", "encoder-2")],
)
def test_another_image_part_or_encoder_is_another_entry(tmp_path, sha, part, identity):
    FeatureCache(tmp_path, "encoder-1").get(SHA, "eyes", Encoder())
    _, hit = FeatureCache(tmp_path, identity).get(sha, part, Encoder())
    assert not hit
    assert len(files(tmp_path)) == 2


def test_another_way_to_cut_parts_out_is_another_entry(tmp_path, monkeypatch):
    FeatureCache(tmp_path, "encoder-1").get(SHA, "eyes", Encoder())
    monkeypatch.setattr(module, "PREPROCESSING", "something-else")
    assert not FeatureCache(tmp_path, "encoder-1").get(SHA, "eyes", Encoder())[1]


@pytest.mark.parametrize(
    "damage", [b"", b"nonsense", "half", "other", "a bit", "a type", "a shape", "no number"]
)
def test_a_damaged_file_is_made_again(tmp_path, caplog, damage):
    cache, encoder = FeatureCache(tmp_path, "encoder-1"), Encoder()
    cache.get(SHA, "eyes", encoder)
    path = cache.path(SHA, "eyes")
    if damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "other":
        save_file({"something": TOKENS}, path)
    elif damage == "a bit":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage in OTHER_TOKENS:
        save_file({"tokens": OTHER_TOKENS[damage]}, path, {"sha256": module._digest(TOKENS)})
    else:
        path.write_bytes(damage)
    tokens, hit = cache.get(SHA, "eyes", encoder)
    assert (hit, encoder.calls) == (False, 2)
    np.testing.assert_array_equal(tokens, TOKENS)
    assert str(path) in caplog.text
    assert cache.get(SHA, "eyes", encoder)[1], "and the new file is whole"


def test_a_folder_that_cannot_be_made_costs_speed_and_not_the_run(tmp_path, caplog):
    """A file stands where the folder should be: that stops root too."""
    (tmp_path / "taken").write_text("a file")
    cache, encoder = FeatureCache(tmp_path / "taken", "encoder-1"), Encoder()
    for _ in range(2):
        tokens, hit = cache.get(SHA, "eyes", encoder)
        assert not hit
        np.testing.assert_array_equal(tokens, TOKENS)
    assert encoder.calls == 2
    assert "not cached" in caplog.text


@pytest.mark.parametrize("error", [OSError, SafetensorError])
def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch, caplog, error):
    def full(*_):
        raise error("No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    tokens, hit = FeatureCache(tmp_path, "encoder-1").get(SHA, "eyes", Encoder())
    assert not hit
    np.testing.assert_array_equal(tokens, TOKENS)
    assert files(tmp_path) == []
    assert "No space" in caplog.text


def test_switched_off_it_neither_reads_nor_writes(tmp_path):
    FeatureCache(tmp_path, "encoder-1").get(SHA, "eyes", Encoder())
    before = files(tmp_path)
    encoder = Encoder(TOKENS + 1)
    tokens, hit = FeatureCache(tmp_path, "encoder-1", enabled=False).get(SHA, "eyes", encoder)
    assert (hit, encoder.calls) == (False, 1)
    np.testing.assert_array_equal(tokens, TOKENS + 1)
    assert files(tmp_path) == before


def test_by_default_it_lies_in_the_users_cache_folder():
    assert str(FeatureCache(None, "x").folder).startswith(os.environ["XDG_CACHE_HOME"])


def test_two_runs_may_share_the_folder(tmp_path):
    """Writers and readers at once never see half a file."""
    wrong = []

    def work(seed):
        for i in range(20):
            cache = FeatureCache(tmp_path, f"encoder-{i % 3}")
            tokens, _ = cache.get(SHA, "eyes", Encoder())
            if not np.array_equal(tokens, TOKENS):
                wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(files(tmp_path)) == 3
