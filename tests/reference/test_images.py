import hashlib
import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile
from portrait import astronaut, astronaut_face, finder, headshot, posed, scene

from fapvideo.config.schema import ReferenceConfig
from fapvideo.errors import ReferenceImageError
from fapvideo.ops import mesh
from fapvideo.ops.pose import CROP_INTEROCULAR, head_pose
from fapvideo.reference import images
from fapvideo.reference.images import CROP_SIZE, align, part_warnings, read_image
from fapvideo.structs import Face


def save(path, rgb, **options):
    Image.fromarray(rgb).save(path, **options)
    return path


def aligned(path, **config):
    return align(path, finder(), ReferenceConfig(**config))


def test_a_good_portrait_is_aligned_without_a_word(tmp_path):
    path = save(tmp_path / "a.png", headshot(400))
    face = aligned(path)
    assert face.warnings == ()
    assert face.path == str(path)
    assert face.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert face.crop.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert face.crop.dtype == np.float32
    assert face.crop.min() >= 0
    assert face.crop.max() <= 1
    eyes = mesh.eye_centres(face.landmarks)[:, :2] / CROP_SIZE
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(CROP_INTEROCULAR, abs=0.02)
    np.testing.assert_allclose(eyes[:, 1], 0.34, atol=0.04)
    assert mesh.interocular(face.shape) == pytest.approx(1, abs=0.05)


def test_landmarks_fit_the_crop(tmp_path):
    """Measured anew in the crop they are where they were said to be."""
    face = aligned(save(tmp_path / "a.png", headshot(400)))
    (again,) = finder()((face.crop * 255).astype(np.uint8))
    error = np.linalg.norm((again.landmarks - face.landmarks)[:, :2], axis=1)
    assert np.median(error) < 0.02 * CROP_INTEROCULAR * CROP_SIZE


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.bmp", "a.wrong_suffix"])
def test_formats_go_by_content(tmp_path, name):
    kind = {"a.wrong_suffix": "png", "a.jpg": "jpeg"}.get(name, name[2:])
    path = save(tmp_path / name, headshot(300), format=kind)
    rgb, _ = read_image(path)
    assert np.abs(rgb.astype(int) - headshot(300)).mean() < 6


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "I;16"])
def test_any_colour_mode_is_read_as_rgb(tmp_path, mode):
    picture = Image.fromarray(headshot(64))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "I;16") else "a.png")
    picture.save(path)
    rgb, _ = read_image(path)
    assert rgb.shape == (64, 64, 3)
    assert rgb.dtype == np.uint8
    grey = headshot(64).mean(axis=-1)
    assert np.corrcoef(rgb.mean(axis=-1).ravel(), grey.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("orientation", [1, 3, 6, 8, 2, 5])
def test_photos_are_upright_as_their_exif_says(tmp_path, orientation):
    """A camera on its side: the file's pixels are turned, the tag tells how to undo it."""
    undo = {
        1: lambda a: a, 3: lambda a: np.rot90(a, 2), 6: lambda a: np.rot90(a, 1),
        8: lambda a: np.rot90(a, -1), 2: lambda a: a[:, ::-1], 5: lambda a: a.swapaxes(0, 1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(undo(headshot(300)))).save(path, exif=exif)
    rgb, _ = read_image(path)
    np.testing.assert_array_equal(rgb, headshot(300))
    assert aligned(path).warnings == ()


# ------------------------------------------------------------------------------- refused


def refused(path, **config):
    """Return the error's text; it always names the file."""
    with pytest.raises(ReferenceImageError) as caught:
        aligned(path, **config)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value), caught.value.hint


def test_what_is_not_there(tmp_path):
    assert "No such file" in refused(tmp_path / "missing.png")[0]
    assert "directory" in refused(tmp_path)[0]


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", "truncated"])
def test_what_is_no_image(tmp_path, content):
    path = tmp_path / "a.png"
    if content == "truncated":
        save(path, headshot(200))
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    text, hint = refused(path)
    assert "not a readable image" in text
    assert hint


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    """A few kB that would become 300 MB, and a strip that would be searched for minutes."""
    Image.new("L", (20000, 5000)).save(tmp_path / "bomb.png")
    Image.new("L", (9000, 30)).save(tmp_path / "strip.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    text, hint = refused(tmp_path / "bomb.png")
    assert "100 megapixels" in text
    assert "scale" in hint
    assert "strip" in refused(tmp_path / "strip.png")[0]


def test_a_large_photo_is_read_around_its_face(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", headshot(800))
    whole = aligned(path)
    monkeypatch.setattr(images, "LARGE", 1000)
    np.testing.assert_allclose(aligned(path).crop, whole.crop, atol=2 / 255)


def test_other_formats_are_named(tmp_path):
    """Phones write HEIC; what stands in a file decides, not its name."""
    for head, name in (
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"<svg xmlns='x'>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "video"),
    ):
        (tmp_path / "a.jpg").write_bytes(head + bytes(500))
        text, hint = refused(tmp_path / "a.jpg")
        assert name in text
        assert "PNG" in text
        assert hint
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe" in refused(tmp_path / "pipe.png")[0]


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    first, second = (Image.fromarray(headshot(64) // by) for by in (1, 2))
    for name in ("a.gif", "a.png", "a.webp", "a.tiff"):
        options = {"lossless": True} if name == "a.webp" else {}
        first.save(tmp_path / name, save_all=True, append_images=[second], **options)
        rgb, _ = read_image(tmp_path / name)
        assert np.abs(rgb.astype(int) - np.asarray(first)).mean() < 12, name


def test_colour_profiles_are_applied(tmp_path):
    """The same colours in another space look the same; a damaged profile counts as absent."""
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.createProfile("sRGB")
    picture = Image.fromarray(headshot(64))
    swapped = ImageCms.ImageCmsProfile(io.BytesIO(swapped_primaries()))
    there = ImageCms.profileToProfile(picture, srgb, swapped)
    there.save(tmp_path / "other.png", icc_profile=swapped.tobytes())
    rgb, _ = read_image(tmp_path / "other.png")
    assert np.abs(np.asarray(there).astype(int) - headshot(64)).mean() > 5, "nothing to undo"
    assert np.abs(rgb.astype(int) - headshot(64)).mean() < 2
    for profile in (b"nonsense", ImageCms.ImageCmsProfile(lab).tobytes(), swapped.tobytes()[:300]):
        picture.save(tmp_path / "odd.png", icc_profile=profile)
        np.testing.assert_array_equal(read_image(tmp_path / "odd.png")[0], headshot(64))


def swapped_primaries():
    """Return an sRGB profile whose red and green have changed places, under another name."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    rows = {bytes(data[i : i + 4]): i for i in range(132, 132 + 12 * count, 12)}
    red, green, title = rows[b"rXYZ"], rows[b"gXYZ"], rows[b"desc"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = (
        data[green + 4 : green + 12], data[red + 4 : red + 12])  # fmt: skip
    start, length = (int.from_bytes(data[title + i : title + i + 4], "big") for i in (4, 8))
    for word in (b"sRGB", "sRGB".encode("utf-16-be")):
        other = word.replace(b"s", b"X").replace(b"R", b"X")
        data[start : start + length] = data[start : start + length].replace(word, other)
    return bytes(data)


def test_no_face(tmp_path):
    text, hint = refused(save(tmp_path / "wall.png", scene((300, 300), [])))
    assert "no face found" in text
    assert "front" in hint


def test_two_faces_of_one_size(tmp_path):
    picture = scene((640, 400), [(160, 200, 110), (450, 200, -115)])
    text, hint = refused(save(tmp_path / "pair.png", picture))
    assert "2 faces of similar size" in text
    assert "crop" in hint


def test_one_face_far_larger_is_taken_with_a_warning(tmp_path):
    picture = scene((640, 400), [(160, 160, 50), (430, 200, 140)])
    face = aligned(save(tmp_path / "pair.png", picture))
    assert len(face.warnings) == 1
    assert "2 faces; the largest is used" in face.warnings[0]
    assert str(tmp_path / "pair.png") in face.warnings[0]


def test_a_small_face_is_warned_about_and_a_tiny_one_refused(tmp_path):
    warned = aligned(save(tmp_path / "s.png", scene((300, 300), [(150, 150, 45)])), min_sharpness=0)
    assert len(warned.warnings) == 1
    assert "small" in warned.warnings[0]
    assert str(tmp_path / "s.png") in warned.warnings[0]
    text, hint = refused(tmp_path / "s.png", min_face_px=200)
    assert "wanted are 200" in text
    assert "larger" in hint


def test_a_blurred_face_is_warned_about(tmp_path):
    blurred = cv2.GaussianBlur(headshot(400), (0, 0), 6)
    face = aligned(save(tmp_path / "b.png", blurred))
    assert len(face.warnings) == 1
    assert "blurred" in face.warnings[0]
    assert str(tmp_path / "b.png") in face.warnings[0]


def test_sharpness_does_not_depend_on_the_photos_size(tmp_path):
    """The same face in a larger file is not suddenly blurred."""
    for size in (300, 600, 1200):
        sharp = aligned(save(tmp_path / "s.png", headshot(size)))
        assert sharp.warnings == ()


def turned_finder(yaw):
    """Return a finder that sees the astronaut's face turned by `yaw`; no such photo is at hand."""
    face = astronaut_face()
    pose = head_pose(face.landmarks)
    at = tuple(pose.shift[:2])
    landmarks = posed(yaw, scale=pose.scale, at=at, head=pose.to_head(face.landmarks))
    return lambda rgb: [Face(face.box, landmarks, 1.0)]


def test_a_turned_face_is_warned_about_then_refused(tmp_path):
    path = save(tmp_path / "t.png", astronaut())
    config = ReferenceConfig(min_sharpness=0)
    assert align(path, turned_finder(20), config).warnings == ()
    (warning,) = align(path, turned_finder(-42), config).warnings
    assert "turned by 42 degrees" in warning
    assert str(path) in warning
    with pytest.raises(ReferenceImageError, match="turned away by 60 degrees"):
        align(path, turned_finder(60), config)


def test_an_open_mouth_and_closed_eyes_are_named_for_their_parts(tmp_path):
    """The astronaut laughs: fine for eyes, a remark for the mouth."""
    face = aligned(save(tmp_path / "a.png", headshot(400)))
    (warning,) = part_warnings(face, "mouth")
    assert "mouth is open" in warning
    assert face.path in warning
    assert part_warnings(face, "eyes") == part_warnings(face, "nose") == []
    face.expression["eye_open"] = 0.05
    assert "nearly closed" in part_warnings(face, "eyes")[0]


def test_damaged_files_that_were_found_by_chance(checkout):
    for name in ("badchunk.png", "fuzz_AVIF_RuntimeError.img", "fuzz_PNGP_SyntaxError.img",
                 "i_548_an.webp"):  # fmt: skip
        refused(checkout / "tests" / "data" / "hostile" / name)
