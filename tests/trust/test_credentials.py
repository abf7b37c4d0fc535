"""Outputs are signed by the real c2pa library, and read by it."""

from __future__ import annotations

import datetime
import json
import resource
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec
from peaks import forget_peak, peak_bytes
from sealing import sealed

from fapvideo.cli.main import run_program
from fapvideo.config.trust import ProvenanceConfig
from fapvideo.errors import ProvenanceError, VideoReadError, VideoWriteError
from fapvideo.trust.credentials import read_credentials, sidecar_path, sign
from fapvideo.trust.keys import own_key_file, signing_key
from fapvideo.trust.metadata import SOURCE_TYPE, append_xmp, read_xmp
from fapvideo.trust.verify import verify_file

Clip = Callable[[str], Path]


@pytest.fixture
def signed(clip: Clip, tmp_path: Path) -> Path:
    """Return a signed MP4."""
    path = tmp_path / "signed.mp4"
    sealed(clip("plain"), path)
    return path


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(path) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def packets(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def flip(path: Path, at: int) -> None:
    """Change one bit."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_every_container_is_signed_tagged_and_shows_the_same(
    clip: Clip, tmp_path: Path, suffix: str
) -> None:
    plain, output = tmp_path / f"plain{suffix}", tmp_path / f"out{suffix}"
    sealed(clip("tracks_mp4"), plain, enabled=False)
    seal = sealed(clip("tracks_mp4"), output)
    found = verify_file(output)
    assert (found.state, found.problems, found.trusted) == ("whole", (), False)
    assert found.source_types == ("compositeWithTrainedAlgorithmicMedia",)
    assert found.run["parts"] == ["mouth"]
    assert "self-signed" in found.signer
    assert [(one["relationship"], one["signed"]) for one in found.ingredients] == [
        ("parentOf", False)
    ]
    assert found.stated["source_type"] == SOURCE_TYPE
    assert found.stated["system"] == "fapvideo"
    assert sidecar_path(output).exists() == (suffix == ".mkv")
    assert seal.describe()["trust"] == "own certificate, not from a trust list"
    assert packets(output) == packets(plain), "not one packet is another"
    assert all(map(np.array_equal, pictures(output), pictures(plain)))


def test_the_actions_say_opened_then_edited(signed: Path) -> None:
    found = read_credentials(signed)
    assert found is not None
    assert [one["action"] for one in found.actions] == ["c2pa.opened", "c2pa.edited"]
    assert found.actions[1]["digitalSourceType"] == SOURCE_TYPE
    assert "mouth" in found.actions[1]["description"]
    assert found.generator.startswith("fapvideo ")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_one_changed_bit_is_found(clip: Clip, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    sealed(clip("plain"), output)
    flip(output, output.stat().st_size // 2)
    found = verify_file(output)
    assert found.state == "broken"
    assert any("Hash.mismatch" in code for code in found.problems)
    with pytest.raises(ProvenanceError, match="changed after it was signed"):
        found.check()


def test_metadata_that_is_written_after_signing_breaks_it(signed: Path) -> None:
    append_xmp(signed, "9.9")
    assert verify_file(signed).state == "broken"


@pytest.mark.parametrize("encode", [True, False])
def test_what_is_encoded_or_copied_again_has_no_credentials(
    clip: Clip, tmp_path: Path, signed: Path, encode: bool
) -> None:
    output = tmp_path / "again.mp4"
    if encode:
        sealed(signed, output, enabled=False)
    else:  # stripped, by copying the packets alone
        with av.open(signed) as old, av.open(output, "w") as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    new.mux(packet)
    assert verify_file(output).state == "unsigned"


def test_the_inputs_credentials_are_kept(clip: Clip, tmp_path: Path, signed: Path) -> None:
    """From MP4 to MKV to MP4: each becomes the next one's ingredient."""
    second, third = tmp_path / "second.mkv", tmp_path / "third.mp4"
    seal = sealed(signed, second)
    assert seal.input["credentials"] == "whole"
    assert seal.input["source_types"] == ["compositeWithTrainedAlgorithmicMedia"]
    assert seal.input["stated"]["source_type"] == SOURCE_TYPE
    sealed(second, third)
    for path in (second, third):
        (ingredient,) = verify_file(path).ingredients
        assert (ingredient["signed"], ingredient["whole"]) == (True, True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_broken_credentials_of_the_input_are_told(clip: Clip, tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / f"in{suffix}", tmp_path / "out.mp4"
    sealed(clip("plain"), source)
    flip(source, source.stat().st_size // 2)
    seal = sealed(source, output)
    assert "broken" in seal.warnings[0]
    found = verify_file(output)
    assert found.state == "whole", "of this file"
    assert found.run == {**found.run, "parts": ["mouth"]}
    assert not found.ingredients[0]["whole"]


def test_files_of_others_without_credentials(clip: Clip, tmp_path: Path) -> None:
    for name in ("plain", "tracks_mkv"):
        assert verify_file(clip(name)).state == "unsigned"
    for name, data in (("junk.mp4", b"no video at all"), ("empty.mp4", b""), ("junk.mkv", b"x")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(VideoReadError, match="no video"):
            verify_file(tmp_path / name)


def test_a_file_is_what_its_bytes_say(signed: Path, clip: Clip, tmp_path: Path) -> None:
    """Without its suffix, by another one, through a link, cut off: never called unsigned."""
    for name in ("upload", "upload.bin", "upload.mkv"):
        shutil.copy(signed, tmp_path / name)
        assert verify_file(tmp_path / name).state == "whole"
    sealed(tmp_path / "upload.bin", tmp_path / "next.mp4")
    (ingredient,) = verify_file(tmp_path / "next.mp4").ingredients
    assert ingredient["whole"]
    sealed(clip("plain"), tmp_path / "out.mkv")
    (tmp_path / "link.mkv").symlink_to(tmp_path / "out.mkv")
    assert verify_file(tmp_path / "link.mkv").credentials == str(tmp_path / "out.c2pa")
    with pytest.raises(VideoReadError, match="no video"):
        verify_file(tmp_path / "out.c2pa")
    (tmp_path / "cut.mp4").write_bytes(signed.read_bytes()[:3000])
    assert verify_file(tmp_path / "cut.mp4").state == "broken"


def test_a_missing_key_stops_before_anything_is_written(clip: Clip, tmp_path: Path) -> None:
    wrong = {"certificate": tmp_path / "none.pem", "key": tmp_path / "none.key"}
    with pytest.raises(ProvenanceError, match=r"none\.pem cannot be read"):
        sealed(clip("plain"), tmp_path / "out.mp4", **wrong)
    assert list(tmp_path.iterdir()) == []
    seal = sealed(clip("plain"), tmp_path / "out.mp4", **wrong, on_failure="warn")
    assert "not signed" in seal.warnings[0]
    assert seal.describe()["why"].startswith("failed")
    assert verify_file(tmp_path / "out.mp4").state == "unsigned"


def test_a_signature_that_c2pa_refuses_leaves_nothing(clip: Clip, tmp_path: Path) -> None:
    """A certificate for web servers: nothing is wrong with it but its purpose."""
    folder = tmp_path / "keys"
    folder.mkdir()
    wrong = {"certificate": folder / "web.pem", "key": folder / "web.key"}
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "web")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    purposes = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=9))
        .add_extension(purposes, critical=False)
        .sign(key, hashes.SHA256())
    )
    wrong["certificate"].write_bytes(made.public_bytes(forms.Encoding.PEM))
    plain = forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()
    wrong["key"].write_bytes(key.private_bytes(*plain))
    with pytest.raises(ProvenanceError, match="cannot be signed"):
        sealed(clip("plain"), tmp_path / "out.mp4", **wrong)
    assert list(tmp_path.iterdir()) == [folder]
    sealed(clip("plain"), tmp_path / "out.mp4", **wrong, on_failure="warn")
    assert verify_file(tmp_path / "out.mp4").state == "unsigned"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_disk_that_is_full_when_it_is_signed(clip: Clip, tmp_path: Path, suffix: str) -> None:
    """The video fits, its signed copy with the credentials does not."""
    sealed(clip("plain"), tmp_path / f"fit{suffix}", enabled=False)
    largest = (tmp_path / f"fit{suffix}").stat().st_size + (1200 if suffix == ".mp4" else 0)
    before = sorted(path.name for path in tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))
    try:
        with pytest.raises(VideoWriteError, match="File too large") as caught:
            sealed(clip("plain"), tmp_path / f"out{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "disk" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is told by Linux")
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_signing_takes_no_memory_by_the_size_of_a_file(tmp_path: Path, suffix: str) -> None:
    large, target = tmp_path / f"large{suffix}", tmp_path / f"signed{suffix}"
    with av.open(str(large), "w") as container:
        stream = container.add_stream("rawvideo" if suffix == ".mov" else "mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        noise = np.random.default_rng(1).integers(0, 255, (540, 640), np.uint8)
        packet = stream.encode(av.VideoFrame.from_ndarray(noise, "yuv420p"))[0]
        data = bytes(packet) + bytes(max(0, 1 << 20) - len(bytes(packet)))
        for number in range(80):
            again = av.Packet(data)
            again.stream, again.pts, again.dts = stream, number, number
            again.time_base, again.is_keyframe = Fraction(1, 25), True
            container.mux(again)
    assert large.stat().st_size > 70 * 2**20
    key, account = signing_key(ProvenanceConfig()), {"version": "1", "parts": ["eyes"]}
    sign(large, target, key, account, name="a", parent=large)  # loads what every later one has
    before = forget_peak()
    sign(large, target, key, account, name="a", parent=large)
    found = read_credentials(target)
    assert found is not None
    assert found.whole
    assert peak_bytes() - before < 30 * 2**20


def test_switched_off_says_so(clip: Clip, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seal = sealed(clip("plain"), tmp_path / "out.mp4", enabled=False)
    assert "switched off" in caplog.text
    assert "switched off" in seal.warnings[0]
    assert seal.describe()["why"] == "switched off"
    assert read_xmp(tmp_path / "out.mp4") == ""
    assert not own_key_file().exists()


def test_a_site_may_demand_signatures(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.toml"
    site.write_text("require_provenance = true\n", "utf-8")
    monkeypatch.setenv("FAPVIDEO_SITE_CONFIG", str(site))
    for settings in ({"enabled": False}, {"on_failure": "warn"}):
        with pytest.raises(ProvenanceError, match="this site demands"):
            sealed(clip("plain"), tmp_path / "out.mp4", **settings)
    sealed(clip("plain"), tmp_path / "out.mp4")


def test_what_is_trusted_is_for_the_one_who_checks_to_say(signed: Path, tmp_path: Path) -> None:
    anchors = tmp_path / "anchors.pem"
    anchors.write_bytes(own_key_file().read_bytes())
    assert verify_file(signed, anchors).trusted
    assert not verify_file(signed).trusted
    anchors.write_text("no certificates", "utf-8")
    with pytest.raises(VideoReadError, match="holds no certificates"):
        verify_file(signed, anchors)


def test_an_old_comment_stays(clip: Clip, tmp_path: Path) -> None:
    sealed(clip("custom_tags"), tmp_path / "out.mov")
    with av.open(clip("custom_tags")) as old, av.open(tmp_path / "out.mov") as new:
        before = {key: value for key, value in old.metadata.items() if key == "comment"}
        assert before.items() <= new.metadata.items()
    sealed(clip("plain"), tmp_path / "new.mp4")
    with av.open(tmp_path / "new.mp4") as new:
        assert "with AI" in new.metadata["comment"]


def test_verify_finds_the_report_by_hash(signed: Path, tmp_path: Path) -> None:
    digest = verify_file(signed).sha256
    report = tmp_path / "job-7.report.json"
    report.write_text(json.dumps({"output": {"sha256": digest}}), "utf-8")
    (tmp_path / "signed.mp4.report.json").write_text('{"output": {"sha256": "0"}}', "utf-8")
    assert verify_file(signed).report == str(report)
    moved = shutil.copy(signed, tmp_path / "renamed.mp4")
    assert verify_file(Path(moved)).report == str(report), "the name does not matter"


def test_the_program_verify(
    signed: Path, clip: Clip, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit codes are a promise to scripts."""
    monkeypatch.setenv("COLUMNS", "200")
    broken = signed.with_name("broken.mp4")
    shutil.copy(signed, broken)
    flip(broken, broken.stat().st_size // 2)
    states = {signed: (0, "whole"), broken: (11, "broken"), clip("plain"): (12, "unsigned")}
    for path, (code, state) in states.items():
        assert run_program(["verify", str(path), "--json"], as_json=True) == code
        assert json.loads(capfd.readouterr().out)["state"] == state
    assert run_program(["verify", str(signed)]) == 0
    assert "nothing was changed since it was signed" in capfd.readouterr().out
    assert run_program(["verify", str(broken)]) == 11
    assert "BROKEN" in capfd.readouterr().out
    assert run_program(["verify", str(broken.with_name("none.mp4"))]) == 3
