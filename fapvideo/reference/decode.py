"""From the bytes of a picture, which may be anything, to RGB pixels; bounded, listed formats."""

from __future__ import annotations

import io
import logging
import re
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from fapvideo.structs import Bytes

log = logging.getLogger(__name__)

MEGAPIXELS = {"PNG": 64, "JPEG": 64, "MPO": 64, "BMP": 64, "TIFF": 64, "WEBP": 32, "GIF": 32}
"""Formats that are read, and the largest picture of each: decoding it takes less than 1 GB.
WebP's and GIF's decoders hold several canvases. MPO is a JPEG with further pictures."""
LISTED = "PNG, JPEG, WebP, BMP, TIFF or GIF"
MAX_BYTES = 256 * 2**20
STRIP = 16
"""Longest side against the shortest from which on a picture is a strip, not a photo."""
MAX_SCANS = 100
"""Of a progressive JPEG: every scan goes over the whole picture, cameras write about ten."""
MAX_PROFILE = 8 * 2**20

_SCAN = b"\xff\xda"
_OTHERS = (
    (r"....ftyp(hei[cmsx]|hev[cmsx])", "HEIC", "export it as JPEG"),
    (r"....ftypm(if1|sf1).{0,256}?(hei[cmsx]|hev[cmsx])", "HEIC", "export it as JPEG"),
    (r"....ftyp(avi[fs]|mif1|msf1|miaf)", "AVIF", "convert it to PNG or JPEG"),
    (r"....JXL |\xff\x0a", "JPEG XL", "convert it to PNG or JPEG"),
    (r"....jP  |\xff\x4f\xff\x51", "JPEG 2000", "convert it to PNG or JPEG"),
    (r"8BPS", "Photoshop", "export it as PNG"),
    (r"%PDF|%!PS|\xc5\xd0\xd3\xc6", "PDF or PostScript", "export the picture as PNG"),
    (r"\s*(<\?xml|<svg|<!DOCTYPE|<html)", "text (SVG, XML or a web page)", "give the photo itself"),
    (r"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", "a video", "save one of its frames as PNG"),
)
"""How other files begin -> what they are, what to do."""


class Unusable(ValueError):
    """Why bytes are no usable picture, and what to do about it."""

    def __init__(self, why: str, hint: str = f"give a {LISTED} photo") -> None:
        """Take both."""
        super().__init__(why)
        self.hint = hint


def decode_picture(data: bytes) -> Bytes:
    """Return RGB uint8 [H, W, 3] in sRGB, upright as its EXIF says; the first frame of several.

    The size is judged before anything is decoded.

    Raises:
        Unusable: of another format, too large, a strip, or damaged.
    """
    other = _other_format(data)
    if other is not None:
        raise Unusable(*other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata and about sizes: judged here
        try:
            image = Image.open(io.BytesIO(data), formats=_plugins())
            _check_size(image, data)
            return _pixels(image)
        except Unusable:
            raise
        except UnidentifiedImageError:
            raise Unusable("not a readable image (of no format that is known here)") from None
        except Image.DecompressionBombError:
            raise Unusable("more than 170 megapixels", "scale it down") from None
        except Exception as error:  # of damaged files Pillow raises a dozen kinds
            why = str(error) or type(error).__name__
            raise Unusable(f"not a readable image ({why.splitlines()[0][:200]})") from None


def _plugins() -> tuple[str, ...]:
    """Return what Pillow is allowed to try; MPO comes with JPEG."""
    return tuple(name for name in MEGAPIXELS if name != "MPO")


def _other_format(data: bytes) -> tuple[str, str] | None:
    """Name a format that is known but not read."""
    for pattern, name, hint in _OTHERS:
        if re.match(pattern.encode("latin-1"), data[:512], re.DOTALL):
            return f"{name} is not read: {LISTED} is", hint
    return None


def _check_size(image: Any, data: bytes) -> None:
    """See that decoding is worth it and bounded; nothing is decoded yet."""
    width, height = image.size
    most = MEGAPIXELS[image.format]
    if width * height > most * 1_000_000:
        raise Unusable(
            f"{width}x{height} pixels are {width * height / 1e6:.0f} megapixels, more than the"
            f" {most} of a {image.format} that are read",
            "scale it down: a face needs no more than 1000 pixels",
        )
    if max(width, height) > STRIP * min(width, height):
        raise Unusable(f"{width}x{height} pixels are a strip, not a photo")
    if image.format in ("JPEG", "MPO") and data.count(_SCAN) > MAX_SCANS:
        raise Unusable(f"a JPEG of more than {MAX_SCANS} scans", "save it anew")


def _pixels(image: Any) -> Bytes:
    """Decode, turn, bring to sRGB."""
    profile = image.info.get("icc_profile")
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):  # Pillow clips 16-bit grey instead of scaling it
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if profile:
        image = _to_srgb(image, profile)
    return _array(image if image.mode == "RGB" else image.convert("RGB"))


def _array(image: Any) -> Bytes:
    """Return the pixels of an RGB image, strip by strip: Pillow copies twice what it gives."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, 256):
        below = min(height, top + 256)
        pixels[top:below] = np.asarray(image.crop((0, top, width, below)))
    return pixels


def _to_srgb(image: Any, data: bytes) -> Any:
    """Apply a colour profile; one that is damaged or of other channels counts as absent."""
    if len(data) > MAX_PROFILE:
        log.warning("a colour profile of %d bytes is left out", len(data))
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if "srgb" in (profile.profile.profile_description or "").lower():
            return image
        space = profile.profile.xcolor_space.strip()
        modes = {"RGB": "RGB", "CMYK": "CMYK", "GRAY": "L"}
        if space not in modes:
            return image
        if image.mode != modes[space]:
            if space == "CMYK" or image.mode == "CMYK":
                return image
            image = image.convert(modes[space])
        srgb = ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        return ImageCms.profileToProfile(image, profile, srgb, intent, "RGB") or image
    except Exception as error:  # as above; ImageCms has one more kind
        log.warning("a damaged colour profile is left out: %s", error)
        return image
