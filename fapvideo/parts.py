"""What a facial part is: one table, from which everything else that has to do with parts is made.

A part that is added here can be named by presets, `--set` and `--reference`; it gets masks, boxes,
a guide, tokens and a colour in previews. Two things stay with the parts they were fitted to:
training samples (`TRAINED`) and measures of likeness (`windows`).

Points are indices of MediaPipe's face mesh (`fapvideo/ops/mesh.py`). The outlines were checked by
eye on some forty faces.
"""

from __future__ import annotations

from dataclasses import dataclass

Ring = tuple[int, ...]
"""A line on the face: indices of mesh points, in order."""

_RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
_NOSE = (
    168, 193, 122, 196, 174, 198, 49, 48, 64, 98, 97, 2, 326, 327, 294, 278, 279, 420, 399, 419,
    351, 417,
)  # fmt: skip
_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """A square of the canonical face (inter-ocular distance 1, origin between the eyes)."""

    centre: tuple[float, float]
    side: float
    mirrored: bool = False
    """Right eyes and brows are shown as left ones."""


@dataclass(frozen=True, slots=True)
class FacePart:
    """One row of the table. Lengths are inter-ocular distances unless said otherwise."""

    outline: tuple[Ring, ...]
    """Closed rings around it; of a pair the person's right one comes first."""
    prompt: str
    """What an open-set detector is asked for to find it."""
    colour: tuple[int, int, int]
    """RGB of its mask in previews."""
    shape: float = 0.0
    """Default of `guide.shape`: 1 takes the reference's own shape, 0 the target's."""
    expression: tuple[str, ...] = ()
    """Measures of `ops.pose.expression` by which one of several references is chosen."""
    inner: tuple[Ring, ...] = ()
    """Lines inside the outline that are part of its shape, too."""
    inside: tuple[float, float, float, float] | None = None
    """x0, y0, x1, y1 on the canonical face: points that count as lying on the outline."""
    grow: float | None = None
    """Growth of its mask beyond the outline, in place of `mask.dilate`."""
    windows: tuple[Window, ...] = ()
    """What evaluation compares; empty where likeness has not been validated."""
    occluders: frozenset[str] = frozenset()
    """What may lie over it in training samples, beside hands: glasses, hair, microphone."""
    trained: bool = False
    """Whether training samples have it. It keeps its place on the face when it is not swapped."""
    chained: bool = False
    """Whether its box touches the next one's, as in the published examples."""
    whole: bool = False
    """Whether it takes in all other parts. It has no box: that would hold hair and background."""

    @property
    def paired(self) -> bool:
        """Whether there is one on each side: `mask.eye_side` chooses."""
        return len(self.outline) == 2


PARTS: dict[str, FacePart] = {
    "eyes": FacePart(
        outline=(
            (226, 247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25),
            (446, 467, 260, 259, 257, 258, 286, 414, 463, 341, 256, 252, 253, 254, 339, 255),
        ),
        prompt="eyes",
        colour=(64, 160, 255),
        shape=0.2,
        expression=("eye_open", "gaze_x", "gaze_y"),
        inner=(
            (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
            (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
        ),
        windows=(Window((-0.5, 0.0), 1.0, mirrored=True), Window((0.5, 0.0), 1.0)),
        occluders=frozenset({"glasses", "hair"}),
        trained=True,
        chained=True,
    ),
    "brows": FacePart(
        outline=(_RIGHT_BROW, _LEFT_BROW),
        prompt="eyebrows",
        colour=(255, 200, 64),
        shape=0.7,
        expression=("brow_height",),
        windows=(Window((-0.5, -0.33), 1.0, mirrored=True), Window((0.5, -0.33), 1.0)),
        occluders=frozenset({"glasses", "hair"}),
        trained=True,
    ),
    "nose": FacePart(
        outline=(_NOSE,),
        prompt="nose",
        colour=(96, 220, 128),
        shape=0.7,
        expression=("smile",),
        inner=((1, 4, 5, 6, 19, 94, 195, 197),),  # the middle line, tip and all
        inside=(-0.3, 0.0, 0.3, 0.62),
        windows=(Window((0.0, 0.42), 1.15),),
        occluders=frozenset({"glasses", "hair", "microphone"}),
        trained=True,
        chained=True,
    ),
    "mouth": FacePart(
        outline=(_LIPS,),
        prompt="mouth",
        colour=(255, 96, 128),
        shape=0.0,
        expression=("mouth_open", "smile"),
        inner=(
            (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80,
             191),
        ),
        windows=(Window((0.0, 0.98), 1.2),),
        occluders=frozenset({"microphone"}),
        trained=True,
        chained=True,
    ),
    "face": FacePart(
        outline=(
            (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400,
             377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67,
             109),
        ),
        prompt="face",
        colour=(200, 160, 255),
        shape=0.0,
        expression=("mouth_open", "smile", "eye_open"),
        inner=(_NOSE, _LIPS, _RIGHT_BROW, _LEFT_BROW),
        grow=-0.16,  # no hair, no jaw line
        windows=(Window((0.0, 0.55), 2.2),),
        whole=True,
    ),
}  # fmt: skip
"""In the order in which parts are listed, loaded, fused and painted."""

TRAINED = tuple(name for name, part in PARTS.items() if part.trained)
"""Parts of a training sample, in its order: eyes, brows, nose, mouth."""
