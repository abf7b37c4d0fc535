"""Presets that are damaged or mean ill: one line that says what is wrong, never a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from fapvideo.config.presets import load_preset
from fapvideo.errors import PresetError

HOSTILE = Path(__file__).parents[1] / "data" / "hostile"

WRONG: dict[str, tuple[str | bytes, str]] = {
    "a dotted key that takes tomllib minutes": ("a" + ".a" * 30_000 + " = 1", "nested too deeply"),
    "tables in tables": ("x = " + "{a = " * 3000 + "}" * 3000, "nested too deeply"),
    "lists in lists": (f"seed = {'[' * 20}{']' * 20}", "nested more than"),
    "a large integer": (f"seed = 0x{'f' * 30_000}", "64 bits"),
    "a large file": ("#" * 100_000, "larger than"),
    "no UTF-8": (b'name = "\xff"', "utf-8"),
    "UTF-16": ('name = "a"'.encode("utf-16"), "utf-8"),
    "infinity": ("[mask]\nmax_jump = inf", "finite"),
    "many unknown keys": ("\n".join(f"key{i} = 1" for i in range(5000)), "more problems"),
    "a long value": (f'[track]\nfaces = "{"x" * 60_000}"', "track.faces"),
    "a long name": (f'[references]\neyes = "{"a" * 5000}"', "not found"),
    "an unknown home": ('bundle = "~nosuchuser/x"', "nosuchuser"),
    "an address": ('[references]\neyes = "https://example.org/a.png"', "addresses are not read"),
    "a thousand photos": (f"[references]\neyes = {['pkg:brand_face.png'] * 1000}", "at most 100"),
    "out of the package": ('[references]\neyes = "pkg:../structs.py"', "does not come with"),
    "out of the package, too": ('[references]\neyes = "pkg:/etc/passwd"', "does not come with"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_preset_that_is_wrong_is_said_to_be(tmp_path: Path, name: str) -> None:
    content, what = WRONG[name]
    path = tmp_path / "a.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(PresetError, match=what) as caught:
        load_preset(path)
    assert len(str(caught.value)) < 10_000, "a message is to be read"


def test_kept_files() -> None:
    for path in sorted(HOSTILE.glob("t_*.toml")):
        with pytest.raises(PresetError):
            load_preset(path)


def test_a_byte_order_mark_is_read() -> None:
    """As Notepad writes."""
    preset = load_preset(HOSTILE / "bom.toml")
    assert preset.denoise.mode == "off"


def test_overrides_are_looked_at_as_well() -> None:
    for key, value in (
        ("a" + ".a" * 1000, 1),
        ("references.eyes", "a\0b.png"),
        ("references.eyes", "\udcff.png"),
        ("seed", 10**5000),
        ("mask.feather", float("nan")),
    ):
        with pytest.raises(PresetError) as caught:
            load_preset("brand_avatar", {key: value})
        str(caught.value).encode()
