"""Fetching, against a local server that breaks off, lies and serves wrong bytes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest
from safetensors.torch import save_file
from toy_files import old_vae_state, shrink, write_published_files

from fapvideo.errors import WeightsError
from fapvideo.weights import fetch
from fapvideo.weights.importer import import_bundle, recorded_sources
from fapvideo.weights.known import known_bundle
from fapvideo.weights.store import downloads_folder, is_installed, remove_bundle, store_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """A hub of three files and its misbehaviour."""

    files: dict[str, bytes]
    url: str = ""
    break_after: int | None = None
    """Close the connection after so many bytes of a file, once per file."""
    broken: set[str] = field(default_factory=set)
    size_lie: int = 0
    """Added to the size the hub promises."""
    status: int = 200
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, path, Range header)."""


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        hub = self.hub
        hub.requests.append((self.command, self.path, self.headers.get("Range", "")))
        name = self.path.split("/resolve/main/")[-1]
        data = hub.files.get(name)
        if data is None or hub.status != 200:
            self.send_response(hub.status if hub.status != 200 else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        rest = data[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(data) + hub.size_lie))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if not body:
            return
        if hub.break_after is not None and name not in hub.broken and len(rest) > hub.break_after:
            hub.broken.add(name)
            self.wfile.write(rest[: hub.break_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(rest)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    shrink(monkeypatch, tmp_path / "store")
    paths = write_published_files(tmp_path / "hub")
    # sizes of the toy, not of the real files
    known = known_bundle("sd15")
    toy = tuple(f.model_copy(update={"size": paths[f.kind].stat().st_size}) for f in known.files)
    monkeypatch.setattr(
        fetch, "known_bundle", lambda _name: known.model_copy(update={"files": toy})
    )
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.delenv("FAPVIDEO_OFFLINE", raising=False)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    served = Hub({f.file: paths[f.kind].read_bytes() for f in known.files})
    handler = type("BoundHandler", (Handler,), {"hub": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


def run(hub: Hub, **options: object) -> object:
    return fetch.fetch_bundle("sd15", accept_licences=True, endpoint=hub.url, **options)  # type: ignore[arg-type]


def test_fetch_downloads_checks_converts_and_cleans_up(hub: Hub) -> None:
    told: list[tuple[str, int, int]] = []
    run(hub, progress=lambda now: told.append((now.stage, now.done, now.total)))
    assert is_installed("sd15")
    assert not downloads_folder("sd15").exists()
    fetched = [r for r in told if r[0] == "fetching fap.bin"]
    assert fetched[-1][1] == fetched[-1][2] == len(hub.files["fap.bin"])
    assert any(r[0].startswith("writing") for r in told)
    assert (store_folder() / "seen.toml").read_text().count("=") == 3


def test_a_broken_connection_is_resumed_not_restarted(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.break_after = 100_000
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    run(hub)
    assert is_installed("sd15")
    assert hub.broken == set(hub.files)
    resumed = [r for r in hub.requests if r[0] == "GET" and r[2].startswith("bytes=100000-")]
    assert len(resumed) == 3


def test_a_size_that_is_a_lie_is_an_error(hub: Hub) -> None:
    hub.size_lie = 17
    with pytest.raises(WeightsError, match=r"fap\.bin could not be fetched") as caught:
        run(hub)
    assert caught.value.hint
    assert not is_installed("sd15")


def test_another_size_than_known_is_an_error_and_the_file_goes(hub: Hub) -> None:
    hub.files["fap.bin"] += b"more"
    with pytest.raises(WeightsError, match=r"has \d+ bytes, not \d+"):
        run(hub)
    assert not is_installed("sd15")
    assert not (downloads_folder("sd15") / "fap.bin").exists()


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["html", "flipped", "other network"])
def test_wrong_bytes_are_refused(hub: Hub, wrong: str) -> None:
    name = "models/image_encoder/model.safetensors"
    right = hub.files[name]
    if wrong == "html":
        hub.files[name] = b"<html>sign in</html>".ljust(len(right))
    elif wrong == "flipped":
        hub.files[name] = b"\x00" + right[1:]
    else:
        hub.files[name] = hub.files["vae/diffusion_pytorch_model.safetensors"].ljust(len(right))[
            : len(right)
        ]
    with pytest.raises(WeightsError):
        run(hub)
    assert not is_installed("sd15")
    hub.files[name] = right
    run(hub)  # what was right before is not fetched again
    assert is_installed("sd15")
    gets = [path for method, path, _ in hub.requests if method == "GET"]
    assert sum(path.endswith("/fap.bin") for path in gets) == 1


@pytest.mark.slow
def test_a_file_replaced_by_its_publisher_is_noticed(hub: Hub) -> None:
    run(hub)
    remove_bundle("sd15")
    name = "vae/diffusion_pytorch_model.safetensors"
    data = bytearray(hub.files[name])
    data[-1] ^= 1
    hub.files[name] = bytes(data)
    with pytest.raises(WeightsError, match="not the file it was"):
        run(hub)
    assert not is_installed("sd15")


def test_what_the_user_has_imported_is_not_fetched(hub: Hub, tmp_path: Path) -> None:
    """Another VAE of the user's own: the fetch brings the rest and leaves it."""
    hub.break_after = 100_000  # of a fetch that broke off, the publisher's VAE is there already
    name = "vae/diffusion_pytorch_model.safetensors"
    theirs = downloads_folder("sd15") / name
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(hub.files[name])
    state = {key: value + 0.25 for key, value in old_vae_state().items()}
    own = tmp_path / "own.safetensors"
    save_file(state, own)
    import_bundle("sd15", own)
    run(hub)
    assert is_installed("sd15")
    assert not [path for _, path, _ in hub.requests if path.endswith(name)]
    assert recorded_sources("sd15")["vae"]["file"] == "own.safetensors"


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_refusals_of_the_hub_are_one_line(hub: Hub, status: int) -> None:
    hub.status = status
    with pytest.raises(WeightsError, match="could not be fetched") as caught:
        run(hub)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_no_server_is_an_error(hub: Hub) -> None:
    with pytest.raises(WeightsError, match="could not be fetched"):
        fetch.fetch_bundle("sd15", accept_licences=True, endpoint="http://127.0.0.1:9")


def test_offline_and_unaccepted_licences_touch_no_network(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match="openrail"):
        fetch.fetch_bundle("sd15", accept_licences=False, endpoint=hub.url)
    monkeypatch.setenv("FAPVIDEO_OFFLINE", "1")
    with pytest.raises(WeightsError, match="FAPVIDEO_OFFLINE") as caught:
        run(hub)
    assert "weights import" in caught.value.hint
    assert hub.requests == []
