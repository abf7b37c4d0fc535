"""How long people wait in the studio: for the first still of the example, and after a change.

    python benchmarks/studio.py -o benchmarks/results/studio.json

Over the server's own answers, without a browser. Seconds on the wall depend on what else the
machine does; those of the process (all its threads) hardly.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import psutil
from about import about

from fapvideo.studio.guard import TOKEN_HEADER
from fapvideo.studio.server import Serving, Studio

CHANGES = 5
WHAT = "waiting in the studio: the example clip, brand_avatar, two cores"
COMMAND = "python benchmarks/studio.py -o benchmarks/results/studio.json"


class Page:
    """What a browser would ask."""

    def __init__(self, studio: Studio, address: str) -> None:
        """Open the address with the token."""
        self._own, self._token = address.split("/?")[0], studio.token
        jar = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(jar)
        self._opener.open(address).read()

    def ask(self, place: str, body: Any = None) -> Any:
        """Return the answer to a request."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._own + place, data, {TOKEN_HEADER: self._token})
        return json.loads(self._opener.open(request).read())


def timed(act: Callable[[], Any]) -> dict[str, float]:
    """Return seconds on the wall and of the process."""
    process, began = psutil.Process(), time.perf_counter()
    before = sum(process.cpu_times()[:2])
    act()
    spent = sum(process.cpu_times()[:2]) - before
    return {"wall_s": round(time.perf_counter() - began, 2), "process_s": round(spent, 2)}


def measure(folder: Path) -> dict[str, Any]:
    """Return what was waited for."""
    studio = Studio(folder)
    serving = Serving(studio)
    started: dict[str, str] = {}

    def start() -> None:
        started["address"] = serving.start()
        while not studio.following.begun:
            time.sleep(0.05)

    found: dict[str, Any] = {"networks_loaded": timed(start)}
    page = Page(studio, started["address"])
    clip = ""

    def first() -> None:
        nonlocal clip
        clip = page.ask("/open", {"example": True})["address"]
        assert page.ask(f"{clip}/look?time=0")["frames"]

    found["first_still"] = timed(first)
    project = studio.library.project(clip.split("/")[-1])
    assert project is not None
    known = studio.following.of(project)

    def followed() -> None:
        while known.stage:
            time.sleep(0.05)

    found["followed_and_ranked"] = timed(followed)
    page.ask(f"{clip}/look?time=0")  # the whole clip takes the place of a moment of it

    def change(light: float) -> None:
        page.ask(f"{clip}/change", {"values": {"guide.light": light}})
        assert page.ask(f"{clip}/look?time=0")["frames"]

    stills = [timed(lambda light=i / 10: change(light)) for i in range(CHANGES)]
    found["after_a_change"] = sorted(stills, key=lambda one: one["wall_s"])[CHANGES // 2]
    serving.close()
    return found


def main() -> None:
    """Measure, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    output = parser.parse_args().output
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    output.write_text(
        json.dumps({**about(WHAT, COMMAND), "load": os.getloadavg(), **found}, indent=1) + "\n",
        "utf-8",
    )
    print(output.read_text("utf-8"))


if __name__ == "__main__":
    main()
