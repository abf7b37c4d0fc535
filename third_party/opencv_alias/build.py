"""Write the stand-in wheel that makes `opencv-python` mean `opencv-python-headless`.

`groundingdino-py` and `supervision` ask for `opencv-python`, the build with windows. fapvideo asks
for `opencv-python-headless`. Both unpack into the same `cv2/` folder; whichever comes last wins,
and the window build cannot be imported on a machine without libGL. This wheel holds no code: it
carries the name and requires the headless build of the same version, so that there is one `cv2`.
`constraints.txt` points pip at it; its local version (`+headless`) sorts above the registry's.

    python third_party/opencv_alias/build.py    # rewrites the wheel, byte for byte the same
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

VERSION = "4.14.0.94"
NAME = f"opencv_python-{VERSION}+headless"
WHEEL = Path(__file__).parent / f"{NAME}-py3-none-any.whl"

METADATA = f"""\
Metadata-Version: 2.1
Name: opencv-python
Version: {VERSION}+headless
Summary: Stand-in without code, from fapvideo: requires opencv-python-headless
License: Apache-2.0
Requires-Dist: opencv-python-headless=={VERSION}
"""
TAGS = """\
Wheel-Version: 1.0
Generator: fapvideo third_party/opencv_alias/build.py
Root-Is-Purelib: true
Tag: py3-none-any
"""


def build(target: Path) -> Path:
    """Write the wheel to `target`, the same bytes every time, and return it."""
    info = f"{NAME}.dist-info"
    files = {f"{info}/METADATA": METADATA, f"{info}/WHEEL": TAGS}
    record = "".join(
        f"{name},sha256={_digest(text.encode())},{len(text.encode())}\n"
        for name, text in files.items()
    )
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return target


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


if __name__ == "__main__":
    build(WHEEL)
