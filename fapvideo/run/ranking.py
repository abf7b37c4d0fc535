"""Which of several photos serves best as the reference of a part, and why; also for one clip."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np

from fapvideo.config.presets import load_preset
from fapvideo.config.schema import RunPreset
from fapvideo.errors import NoFaceFound, PresetError, ReferenceImageError
from fapvideo.ops.display import square_pixels
from fapvideo.ops.geometry import transform, warp
from fapvideo.ops.pose import crop_matrix, expression, head_pose
from fapvideo.parts import PARTS, TRAINED
from fapvideo.plan.follow import follow
from fapvideo.plan.references import read_source
from fapvideo.plan.targets import Plan
from fapvideo.reference.fitness import Finding, Judge, Judgement, cheeks, judged, ramp, side_light
from fapvideo.reference.images import AlignedFace, align_picture
from fapvideo.run.sources import Source, open_source
from fapvideo.structs import Bytes, Floats, Track
from fapvideo.track.choose import select
from fapvideo.track.finder import FaceFinder
from fapvideo.track.identity import LIKE, Looks, apart

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""Endings of the files that are taken of a folder."""
LOOKED_AT = 9
"""Frames of the clip whose light is looked at."""
CHEEK_CROP = 128
AWAY_DEG = (40.0, 10.0)
"""Angle between the photo and the clip's usual poses: much is guessed, and nothing to speak of."""
SMALL = (0.25, 0.9)
"""Eye distance of the photo's face against the clip's: a blur, and all the detail there is."""
TONE = (45.0, 12.0)
"""Distance of the cheeks' colours in a and b of CIELAB."""
LIGHT = (1.3, 0.4)
"""Difference of the logarithms by which the left cheek is brighter."""
UNLIKE = (0.5, 0.1)
"""Distance of the expression to the clip's nearest frame, eye distances."""
TOLD = 0.7
"""Terms under it have a reason in words."""
STRANGER = 0.3
"""Factor for a photo that shows somebody else than the others."""


@dataclass(frozen=True, slots=True)
class RankedPhoto:
    """One photo's place among the references of a part."""

    path: str
    score: float
    """In [0, 1], the product of the terms."""
    fits: bool
    """Whether a run would take it where there are others."""
    terms: Mapping[str, float]
    """Name -> [0, 1]; 1: nothing speaks against it."""
    reasons: tuple[str, ...]
    """What speaks against it, in words; of what it is left out for first."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """What `rank_references` returns."""

    parts: Mapping[str, tuple[RankedPhoto, ...]]
    """Part -> the photos, those that fit first, the best first."""
    unusable: Mapping[str, str]
    """Path -> why there is no face in it that could be used."""
    notes: tuple[str, ...] = ()
    """What else should be known of them."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the face of a clip asks of a reference."""

    turns: Floats
    """[N, 2] yaw and pitch, degrees."""
    interocular_px: float
    expressions: Sequence[Mapping[str, float]]
    cheeks: Floats
    """[2, 3] median colours of the right and the left cheek, in [0, 1]."""
    looks: Floats | None
    """What the face looks like, for `track.identity`."""


def rank_references(
    photos: Sequence[str | Path] | str | Path,
    clip: str | Path | Source | Wanted | None = None,
    *,
    parts: Sequence[str] = TRAINED,
    preset: str | Path | RunPreset = "brand_avatar",
    one_person: bool = True,
) -> Ranking:
    """Judge photos as references of parts: on their own, against each other, for a clip.

    Args:
        photos: files, and folders of them.
        clip: whose face they are for: the one that `track.faces` of the preset means; or what
            `wanted_of` a clip that was followed returned.
        parts: which ones.
        preset: its `[reference]` and `[track]` are used; no bundle is loaded.
        one_person: whether all are meant to show one person, and a stranger does not fit.

    Raises:
        PresetError: an unknown part.
        ReferenceImageError: a file is missing or no picture, or there is none.
        VideoReadError: the clip cannot be read.
        NoFaceFound: the clip shows no face that is meant.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise PresetError(f"unknown part {unknown[0]!r}", hint=f"the parts are {', '.join(PARTS)}")
    settings = preset if isinstance(preset, RunPreset) else load_preset(preset)
    faces, unusable = _aligned(_files(photos), settings)
    wanted = clip if isinstance(clip, Wanted | None) else wanted_by(clip, settings)
    judge = Judge(settings.reference)
    strangers, notes = _people(faces, wanted)
    own = {path: judge(face, parts) for path, face in faces.items()}
    ranked: dict[str, tuple[RankedPhoto, ...]] = {}
    for part in (part for part in PARTS if part in parts):
        rows = []
        for path, face in faces.items():
            beside = [] if wanted is None else _against(face, part, wanted)
            beside += [_stranger(path in strangers)] if one_person and len(faces) > 1 else []
            rows.append(_row(path, own[path][part], judged(part, beside)))
        ranked[part] = tuple(sorted(rows, key=lambda row: (not row.fits, -row.score, row.path)))
    return Ranking(ranked, unusable, notes)


def _row(path: str, own: Judgement, more: Judgement) -> RankedPhoto:
    """Put together what a photo is on its own and beside the others and the clip."""
    terms = dict(own.terms)
    for term, score in more.terms.items():
        terms[term] = round(terms.get(term, 1.0) * score, 3)
    unfit = (*own.unfit.values(), *more.unfit.values())
    reasons = tuple(dict.fromkeys((*unfit, *own.reasons, *more.reasons)))
    return RankedPhoto(path, round(own.score * more.score, 3), not unfit, terms, reasons)


# ------------------------------------------------------------------------------ the photos


def _files(photos: Sequence[str | Path] | str | Path) -> list[str]:
    """Return the files that are given, and those of the folders that are.

    Raises:
        ReferenceImageError: there is none.
    """
    given = [photos] if isinstance(photos, str | Path) else photos
    found: list[str] = []
    for item in map(Path, given):
        inside = sorted(item.iterdir()) if item.is_dir() else [item]
        found += [str(p) for p in inside if p == item or p.suffix.lower() in PICTURES]
    if not found:
        names = ", ".join(map(str, given)) or "nothing given"
        raise ReferenceImageError(f"no photos: {names}", hint="give files, or a folder of them")
    return list(dict.fromkeys(found))


def _aligned(
    paths: Sequence[str], preset: RunPreset
) -> tuple[dict[str, AlignedFace], dict[str, str]]:
    """Return path -> its face, and path -> why there is no usable one."""
    finder, faces, unusable = FaceFinder(), dict[str, AlignedFace](), dict[str, str]()
    for path in paths:
        rgb, digest = read_source(path, {})
        try:
            faces[path] = align_picture(rgb, digest, path, finder, preset.reference)
        except ReferenceImageError as error:
            unusable[path] = str(error).removeprefix(f"{path}: ")
    return faces, unusable


def _people(
    faces: Mapping[str, AlignedFace], wanted: Wanted | None
) -> tuple[set[str], tuple[str, ...]]:
    """Return the photos of somebody else than most of them show, and who is in the clip."""
    seen = Looks() if faces else None
    looks = {
        path: seen.of_faces([(np.rint(face.crop * 255).astype(np.uint8), face.landmarks)])
        for path, face in faces.items()
        if seen is not None
    }
    likes = {path: {path} for path in faces}
    for one, other in combinations(faces, 2):
        if apart(looks[one], looks[other]) < LIKE:
            likes[one].add(other)
            likes[other].add(one)
    most = max(likes.values(), key=len, default=set())
    sure = len(most) > len(faces) / 2
    strangers = {path for path in faces if sure and path not in most}
    notes = []
    if len(faces) > 1 and not sure:
        notes.append("the photos seem to show several people, none of them in most photos")
    if wanted is not None and wanted.looks is not None:
        own = [path for path in faces if apart(looks[path], wanted.looks) < LIKE]
        notes += [f"{path}: may show the same person as the clip" for path in own]
    return strangers, tuple(notes)


def _stranger(is_one: bool) -> Finding:
    words = "may show somebody else than most of the photos" if is_one else ""
    return Finding("person", STRANGER if is_one else 1.0, words, is_one)


# -------------------------------------------------------------------------------- the clip


def wanted_by(clip: str | Path | Source, preset: RunPreset) -> Wanted:
    """Follow the clip; return what the face that `track.faces` means asks of a reference.

    Raises:
        NoFaceFound: there is none.
    """
    source, size = open_source(clip, preset.video), preset.denoise.batch_size
    with tempfile.TemporaryDirectory(prefix="fapvideo-") as scratch:
        plan = follow(source.batches(size), source.info, preset.track, Path(scratch))
        tracks = select(plan.tracks, preset.track.faces)
        if not tracks:
            raise NoFaceFound(
                f"{source.info.path}: no face in {plan.frames} frames that track.faces ="
                f" {preset.track.faces!r} means",
                hint="lower track.detect_score, or rank the photos without a clip",
            )
        return wanted_of(source, plan, tracks, size)


def wanted_of(source: Source, plan: Plan, tracks: Sequence[Track], batch: int) -> Wanted:
    """Return what the face of some tracks of a followed clip asks of a reference.

    Args:
        source: the clip.
        plan: of the clip.
        tracks: of one person; at least one.
        batch: frames that are decoded at once.
    """
    shapes = {
        track.first_frame + i: np.array(track.landmarks[i], np.float32)
        for track in tracks
        for i in range(len(track))
        if np.isfinite(track.landmarks[i]).all()
    }
    longest = max(tracks, key=len)
    poses = [head_pose(shape) for shape in shapes.values()]
    return Wanted(
        np.array([(pose.yaw_deg, pose.pitch_deg) for pose in poses]),
        float(np.median([pose.scale for pose in poses])),
        [expression(shape) for shape in shapes.values()],
        _cheeks_of(source, batch, shapes),
        plan.looks.get(longest.id),
    )


def _cheeks_of(source: Source, batch: int, shapes: Mapping[int, Floats]) -> Floats:
    """Return [2, 3] the median colours of the cheeks over a few frames; decodes the clip again."""
    frames = sorted(shapes)
    picked = {frames[i] for i in np.linspace(0, len(frames) - 1, LOOKED_AT).astype(int)}
    seen = []
    for number, frame in enumerate(source.batches(batch)):
        for index in picked & set(range(number * batch, number * batch + len(frame))):
            rgb = square_pixels(frame.views[index - number * batch](), source.info)
            seen.append(cheeks(*_crop(rgb, shapes[index])))
    return np.median(seen, axis=0)


def _crop(rgb: Bytes, landmarks: Floats) -> tuple[Floats, Floats]:
    """Return a small aligned crop [S, S, 3] in [0, 1] and the landmarks in it."""
    matrix = crop_matrix(head_pose(landmarks), CHEEK_CROP)
    crop = warp(rgb.astype(np.float32) / 255.0, matrix, (CHEEK_CROP, CHEEK_CROP))
    return crop, transform(matrix, landmarks)


def _against(face: AlignedFace, part: str, wanted: Wanted) -> list[Finding]:
    """Judge a photo for the clip: angle, size, tone, light, expression."""
    pose = head_pose(face.landmarks)
    away = float(np.median(np.hypot(*(wanted.turns - (pose.yaw_deg, pose.pitch_deg)).T)))
    found = [
        _told(
            "angle", ramp(away, *AWAY_DEG), f"{away:.0f} degrees from how the clip's face is turned"
        )
    ]
    share = face.interocular_px / wanted.interocular_px
    words = (
        f"small for the clip ({face.interocular_px:.0f} px between the eyes,"
        f" there {wanted.interocular_px:.0f})"
    )
    found.append(_told("size", ramp(share, *SMALL, least=0.2), words))
    sides = cheeks(face.crop, face.landmarks)
    tint = float(np.linalg.norm(_tint(sides) - _tint(wanted.cheeks)))
    found.append(
        _told("tone", ramp(tint, *TONE, least=0.4), "another skin tone or colour of light")
    )
    light = abs(side_light(sides) - side_light(wanted.cheeks))
    found.append(_told("light", ramp(light, *LIGHT, least=0.4), "lit from another side"))
    keys = PARTS[part].expression
    theirs = np.array([[frame[key] for key in keys] for frame in wanted.expressions])
    gaps = np.linalg.norm(theirs - [face.expression[key] for key in keys], axis=1)
    score = ramp(float(np.median(gaps)), *UNLIKE, least=0.4)
    found.append(_told("expression", score, "an expression far from the clip's"))
    return found


def _told(term: str, score: float, words: str) -> Finding:
    return Finding(term, score, words if score < TOLD else "")


def _tint(sides: Floats) -> Floats:
    """Return [2] a and b of CIELAB of the cheeks together."""
    pixel = sides.mean(axis=0).astype(np.float32).reshape(1, 1, 3)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_RGB2LAB)[0, 0, 1:])
