"""Write `fapvideo/packaged.sha256`: the hashes of the nets and pictures that come with the package.

Run it after one of them was changed on purpose: `python scripts/packaged_hashes.py`.
"""

from __future__ import annotations

from pathlib import Path

from fapvideo.ops.files import sha256_file

PACKAGE = Path(__file__).resolve().parents[1] / "fapvideo"
KINDS = ("assets/*.png", "track/models/*.tflite", "*/models/*.safetensors")


def lines() -> str:
    """Return the file's text."""
    files = sorted(path for kind in KINDS for path in PACKAGE.glob(kind))
    return "".join(
        f"{sha256_file(path)}  {path.relative_to(PACKAGE).as_posix()}\n" for path in files
    )


if __name__ == "__main__":
    (PACKAGE / "packaged.sha256").write_text(lines(), "utf-8")
