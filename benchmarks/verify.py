"""Is `verify` ever fooled, by a file that was changed or by one that nobody signed?

python benchmarks/verify.py [FOLDER ...] [--output FILE]

A short signed file is changed in one byte at a random place, CHANGES times, and verified; `whole`
is how often that was not noticed. In MP4 the box of the file type and empty boxes are not covered
by the signature (C2PA excludes them): those hits are counted apart. FOLDERs hold videos that nobody
signed, damaged ones too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from about import about
from provenance import make_video

from fapvideo.config.schema import RunPreset
from fapvideo.run.seal import Seal
from fapvideo.trust.credentials import read_credentials
from fapvideo.trust.metadata import top_level_boxes
from fapvideo.video.probe import probe

CHANGES = 500


def fooled(folder: Path, suffix: str) -> dict[str, int]:
    """Return how often one changed byte of a signed file is not noticed."""
    source = folder / "short.mp4"
    if not source.exists():
        make_video(source, 1)
    seal = Seal(RunPreset(), probe(source))
    output = folder / f"signed{suffix}"
    seal.opened(probe(source), output, overwrite=True)
    shutil.copy(source, output)
    seal(output, output)
    data = bytearray(output.read_bytes())
    free = [
        range(start - 8, start + size)
        for kind, start, size in top_level_boxes(output)
        if kind in (b"ftyp", b"free", b"skip")
    ]
    rng = np.random.default_rng(1)
    counts = {"changes": CHANGES, "whole": 0, "of these where C2PA does not look": 0}
    for at in rng.integers(0, len(data), CHANGES):
        at, old = int(at), data[at]
        data[at] ^= int(rng.integers(1, 256))
        output.write_bytes(data)
        data[at] = old
        found = read_credentials(output)
        if found is not None and found.whole:
            counts["whole"] += 1
            counts["of these where C2PA does not look"] += any(at in one for one in free)
    return counts


def unsigned(folders: Sequence[Path]) -> dict[str, int]:
    """Return how many files that nobody signed are called signed, whole or broken."""
    files = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
    found = [read_credentials(path) for path in files]
    return {"files": len(files), "called signed": sum(one is not None for one in found)}


def main() -> None:
    """Count, print and write down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = {f"one byte of a {s[1:].upper()}": fooled(Path(name), s) for s in (".mp4", ".mkv")}
    found = about(
        "How often `fapvideo verify` is fooled: signed files with one changed byte that are called "
        "whole, and files that nobody signed (clips of KwaiVGI/LivePortrait, odd, damaged and no "
        "videos) that are called signed.",
        "python benchmarks/verify.py FOLDER ... --output FILE",
    )
    found |= {"changed": rows, "never signed": {"files": unsigned(given.folders)}}
    text = json.dumps(found, indent=1) + "\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
