"""A swapper that is closed, or busy with another call, says so in every public method."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import face_clips
import numpy as np
import pytest
from portrait import astronaut
from runs import BRAND, swapper

from fapvideo.errors import FapVideoError, PresetError, ReferenceImageError, VideoReadError
from fapvideo.swapper import VideoSwapper
from fapvideo.video.stream import stream_info

CALLS: dict[str, Callable[[VideoSwapper, Path, Path], Any]] = {
    "run": lambda one, source, folder: one.run(source, folder / "o.mkv"),
    "stream": lambda one, source, folder: next(iter(one.stream(source))),
    "session": lambda one, source, folder: one.session(stream_info(64, 64, 25)),
    "swap_image": lambda one, source, folder: one.swap_image(astronaut()),
    "encode_reference": lambda one, source, folder: one.encode_reference({"eyes": BRAND}),
    "plan": lambda one, source, folder: one.plan(source, folder / "job"),
    "segment": lambda one, source, folder: one.segment(folder / "job", 0),
    "open": lambda one, source, folder: one.open(source),
    "inspect": lambda one, source, folder: one.inspect(source),
    "preview": lambda one, source, folder: one.preview(source, [0.0]),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clips.face_clip(tmp_path_factory.mktemp("clips"), "one_face", frames=20)


def test_every_public_method_is_here() -> None:
    public = {name for name in vars(VideoSwapper) if not name.startswith("_")}
    assert public - {"from_preset", "with_preset", "close"} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_after_closing(name: str, source: Path, tmp_path: Path) -> None:
    with swapper() as one:
        pass
    with pytest.raises(FapVideoError, match="closed") as caught:
        CALLS[name](one, source, tmp_path)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []
    one.close()


@pytest.mark.slow
def test_while_a_stream_is_open_every_other_call_is_refused(source: Path, tmp_path: Path) -> None:
    """From another thread, and from this one: the stream paints ahead in a thread of its own."""
    with swapper() as one:
        opened = one.open(source)
        stream = one.stream(source)
        first = next(stream).rgb
        for name, call in {**CALLS, "still": lambda *_: opened.still(0.0)}.items():
            with pytest.raises(FapVideoError, match="busy"):
                call(one, source, tmp_path)
            errors: list[Exception] = []

            def attempt(call: Callable[..., Any] = call, errors: list[Exception] = errors) -> None:
                try:
                    call(one, source, tmp_path)
                except FapVideoError as error:
                    errors.append(error)

            thread = threading.Thread(target=attempt)
            thread.start()
            thread.join()
            assert "busy" in str(errors[0]), name
        assert list(tmp_path.iterdir()) == []
        rest = [first, *(batch.rgb for batch in stream)]
        again = [batch.rgb for batch in one.stream(source)]  # free again
        np.testing.assert_array_equal(np.concatenate(rest), np.concatenate(again))
        opened.close()


@pytest.mark.slow
def test_closing_from_another_thread_is_refused_and_ends_ones_own_stream(source: Path) -> None:
    with swapper() as one:
        stream = one.stream(source)
        next(stream)
        errors: list[Exception] = []

        def close() -> None:
            try:
                one.close()
            except FapVideoError as error:
                errors.append(error)

        thread = threading.Thread(target=close)
        thread.start()
        thread.join()
        assert "busy" in str(errors[0])
    with pytest.raises(FapVideoError, match="closed"):
        next(stream)


@pytest.mark.slow
def test_an_iterator_that_is_dropped_frees_the_swapper(source: Path) -> None:
    with swapper() as one:
        for _ in one.stream(source):
            break
        assert one.swap_image(astronaut()).shape == astronaut().shape


# ------------------------------------------------------------------- references in every form


@pytest.mark.slow
def test_one_photo_in_every_form_gives_the_same_picture(tmp_path: Path) -> None:
    pixels = face_clips.read_rgb(face_clips.BRAND)
    with swapper() as one:
        (encoded,) = one.encode_reference({"mouth": BRAND})
        forms = [BRAND, Path(BRAND), [BRAND], (Path(BRAND),), "pkg:brand_face.png",
                 ["pkg:brand_face.png"], pixels, [pixels], encoded, [encoded]]  # fmt: skip
        pictures = [one.swap_image(astronaut(), {"mouth": form}) for form in forms]
    for picture in pictures:
        np.testing.assert_array_equal(picture, pictures[0])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((40, 40, 3), np.float32), r"'mouth': float32 \[40, 40, 3\]"),
        (np.zeros((40, 40), np.uint8), r"uint8 \[40, 40\]"),
        (np.zeros((3, 40, 40), np.uint8), r"uint8 \[3, 40, 40\]"),
        (np.zeros((0, 40, 3), np.uint8), r"uint8 \[0, 40, 3\]"),
        (b"bytes", "bytes is no picture"),
        (None, "NoneType is no picture"),
    ],
)
def test_a_wrong_array_gets_one_clear_error(array: Any, message: str) -> None:
    with swapper() as one:
        with pytest.raises(ReferenceImageError, match=message) as caught:
            one.encode_reference({"mouth": [array]})
        assert "uint8 [height, width, 3]" in caught.value.hint
        with pytest.raises(VideoReadError, match=message.removeprefix("'mouth': ")):
            one.swap_image(array)


def test_a_reference_of_another_bundle_or_part_is_refused() -> None:
    with swapper() as one:
        (mouth,) = one.encode_reference({"mouth": BRAND})
        with pytest.raises(PresetError, match="'mouth' was given for 'eyes'"):
            one.swap_image(astronaut(), {"eyes": mouth})
    with (
        swapper(bundle="tiny_sd15") as other,
        pytest.raises(PresetError, match="encoded for another bundle"),
    ):
        other.swap_image(astronaut(), {"mouth": mouth})
