"""Bundles and pickles that are damaged or mean ill: a `WeightsError`, soon, without code run."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from fapvideo.errors import WeightsError
from fapvideo.weights.bundle import EMBEDDED, load_bundle
from fapvideo.weights.detect import detect_file
from fapvideo.weights.foreign import read_foreign

HOSTILE = Path(__file__).parents[1] / "data" / "hostile"
MANIFEST = (EMBEDDED / "bundle.toml").read_text("utf-8")

CHANGES = {
    "a path out of the folder": ('path = "unet.', 'path = "../unet.', "own folder"),
    "an absolute path": ('path = "unet.', 'path = "/unet.', "own folder"),
    "a path of Windows": ('path = "unet.', r'path = "C:\\unet.', "own folder"),
    "text for a number": ("resolution = 128", 'resolution = "128"', "resolution"),
    "no picture": ("resolution = 128", "resolution = 0", "resolution"),
    "infinity": ("scaling = 1.0", "scaling = inf", "scaling"),
    "not a number, deep": ("norm_num_groups = 16", "norm_num_groups = nan", "not finite"),
    "a network of years": ("layers_per_block = 1", "layers_per_block = 100000000", "layers"),
    "a network of terabytes": ("[64, 128, 256]", "[64, 128, 1099511627776]", "more than"),
    "other channels": ("in_channels = 160", "in_channels = 161", "in_channels"),
    "a grid of its own": ("grid = 16", "grid = 15", "grid"),
    "no such block": ('"UpBlock2D"', '"UppBlock2D"', "describes no networks"),
    "not so many blocks": ("[64, 128, 256]", "[64, 128]", "describes no networks"),
    "no TOML": ("[codec]", "[codec", "TOML"),
    "an unknown key": ("guide_channels", "guide_chanels", "guide_chanels"),
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED, tmp_path / "bundle"))


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_that_cannot_be_true(bundle: Path, name: str) -> None:
    old, new, what = CHANGES[name]
    assert old in MANIFEST
    (bundle / "bundle.toml").write_text(MANIFEST.replace(old, new), "utf-8")
    with pytest.raises(WeightsError, match=what):
        load_bundle(bundle)


def test_the_kept_manifest(bundle: Path) -> None:
    """It names the files of another version: those of this one, so that they are not the reason."""
    manifest = bundle / "bundle.toml"
    hostile = (HOSTILE / "w_manifest_16.toml").read_text("utf-8").partition("[[files]]")[0]
    manifest.write_text(hostile + "".join(manifest.read_text("utf-8").partition("[[files]]")[1:]))
    with pytest.raises(WeightsError, match="AttnDownAttnDownBlock2D"):
        load_bundle(bundle)


def op(*items: object) -> bytes:
    return b"".join(item if isinstance(item, bytes) else str(item).encode() for item in items)


def nested(levels: int, step: bytes) -> bytes:
    """Return a pickle of {t: None} with t = (t, t), (t, t), ...: a key that hashes for ever."""
    return op(b"\x80\x02}(", b")", step * levels, b"Nu.")


def ten(number: int) -> bytes:
    """Return what puts an object of the memo into a dictionary, ten times."""
    return op(b"(", *(op(b"X\x01\0\0\0", key, b"h", bytes([number])) for key in "abcdefghij"), b"u")


ARCHIVES = {
    "a tuple of tuples as a key": nested(60, b"2\x86"),
    "a deep tuple": nested(100_000, b"\x85"),
    "a large array": op(b"\x80\x02c__builtin__\nbytearray\n\x8a\x06", bytes(5), b"\x10\x85R."),
    "a large tensor": op(b"\x80\x02ctorch\nTensor\n\x8a\x06", bytes(5), b"\x10\x85R."),
    "an empty stack": b"\x80\x020000.",
    "an unknown memo": b"\x80\x02h\x09.",
    "a number": b"\x80\x02K\x07.",
    "not ended": b"\x80\x02}(",
    "a dictionary in itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "a bomb of dictionaries": op(
        b"\x80\x02}q\x00", *(op(b"}q", bytes([n]), ten(n - 1)) for n in range(1, 12)), b"."
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_not_end(tmp_path: Path, name: str, zipped: bool) -> None:
    path = tmp_path / "fap.bin"
    if zipped:
        torch.save({}, path)
        entries = {}
        with zipfile.ZipFile(path) as archive:
            entries = {entry: archive.read(entry) for entry in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for entry, data in entries.items():
                archive.writestr(entry, ARCHIVES[name] if entry.endswith("data.pkl") else data)
    else:
        torch.save({}, path, _use_new_zipfile_serialization=False)
        start = pickle.dumps({}, 2)[:-1]
        whole = path.read_bytes()
        at = whole.index(start, whole.index(b"type_size"))
        path.write_bytes(whole[:at] + ARCHIVES[name] + pickle.dumps([], 2))
    with pytest.raises(WeightsError):
        read_foreign(path)


def test_more_than_is_in_the_file(tmp_path: Path) -> None:
    """A view that repeats one number, and a packed archive."""
    path = tmp_path / "fap.bin"
    torch.save({"a": torch.zeros(1).expand(10**9)}, path)
    with pytest.raises(WeightsError, match="no plain tensor"):
        read_foreign(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10**6))
    with pytest.raises(WeightsError, match="compressed"):
        read_foreign(path)


def test_the_kept_pickle(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        read_foreign(HOSTILE / "p_10.bin")


def test_tensors_of_another_kind_of_number(bundle: Path) -> None:
    from fapvideo.ops.files import sha256_file
    from fapvideo.weights.state import read_tensors, write_tensors

    path = bundle / "adapter.safetensors"
    old = sha256_file(path)
    write_tensors(path, {k: v.to(torch.int8) for k, v in read_tensors(path).items()})
    text = MANIFEST.replace(old, sha256_file(path))
    (bundle / "bundle.toml").write_text(text, "utf-8")
    with pytest.raises(WeightsError, match="holds int8"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000, "~nosuchuser/a", "", "/dev/null"])
def test_names_that_no_bundle_or_file_can_have(name: str) -> None:
    with pytest.raises(WeightsError):
        load_bundle(name)
    with pytest.raises(WeightsError):
        detect_file(Path(name))
