"""What each piece is worth, on held-out photos whose truth is known.

    python benchmarks/photo_truth.py [--of celeba] [--against DIR] [--swaps 348] [--work DIR]

Writes benchmarks/results/photo_truth.json, of CelebA's held-out photos, or with `--of portraits`
photo_truth_portraits.json, of the held-out portraits: guide and injection on and off, numbers of
steps, what one would do without us, another bundle, and how groups of people fare.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import heldout
import numpy as np
import torch
from heldout import Judge, Material, Pictures, blanks, guides, material, pasted, restored, row

from fapvideo.guide.colour import CHEEKS
from fapvideo.parts import TRAINED
from fapvideo.weights.bundle import load_bundle

Groups = Mapping[str, list[int]]

RECIPES = {"celeba": "celeba", "portraits": "embedded"}
"""Photos -> the training preset that says which of them are usable, and held out."""
SEXES = ("apparently female", "apparently male")
LABELS = {
    "celeba": {
        "apparently male": """021 051 081 091 171 181 221 311 321 331 401 461 481 501 511 521 561
        571 581 591 651 661 671 681 731 791 801 841 851 861 911 951 971""",
        "glasses": "451 511 581 911 951",
        "beard": "311 461 481 511 591 651 661 671 731 791 841 971",
    },
    "portraits": {
        "apparently female": """020313 020351 021198 021321 021743 029109 029328 029762 031101
        049308""",
        "glasses": """015618 020101 021119 022130 029328 029353 029366 029562 029721 029737 031101
        049308""",
        "beard": "014825 020510 020529 021370 029383",
    },
}
"""How the names of held-out photos end that look so to the eye: a full or half beard or a moustache
counts, stubble does not. Of the sexes one is listed. CelebA's own attribute file is not in the
sample's package."""
OURS = "guide and injection, 1 step"
ITA_GROUPS = {"light": (41.0, 90.0), "intermediate": (28.0, 41.0), "tan": (10.0, 28.0),
              "brown and dark": (-90.0, 10.0)}  # fmt: skip
"""Individual typology angle in degrees: Chardon et al. 1991, two groups each joined at the ends."""
RATIO = "lpips, times the mean"
LIMIT = 1.3
"""A group's perceptual distance may be so many times the mean."""


def main() -> None:
    """Measure, write, print."""
    parser = heldout.arguments(__doc__, "photo_truth")
    parser.add_argument("--bundle", default="embedded")
    parser.add_argument("--of", choices=RECIPES, default="celeba", help="which photos")
    parser.add_argument("--against", help="another bundle: its name or folder")
    parser.add_argument("--swaps", type=int, default=348, help="the held-out photos take turns")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    given = material(asked.work, asked.swaps, RECIPES[asked.of])
    judge = Judge(given)
    bundle = load_bundle(asked.bundle)
    makers: Mapping[str, Callable[[], Pictures]] = {
        "paste": lambda: pasted(given, poisson=False),
        "affine + Poisson": lambda: pasted(given, poisson=True),
        "guide alone (no network)": lambda: guides(given),
        OURS: lambda: restored(given, bundle),
        "guide, no injection": lambda: restored(given, bundle, injection=False),
        "injection, no guide": lambda: restored(given, bundle, guide=False),
        "neither": lambda: restored(given, bundle, guide=False, injection=False),
        "surroundings blurred into the hole": lambda: blanks(given),
        "2 steps": lambda: restored(given, bundle, 2),
        "4 steps": lambda: restored(given, bundle, 4),
        "8 steps": lambda: restored(given, bundle, 8),
    }
    if asked.against:
        other = load_bundle(asked.against)
        makers = {**makers, "the bundle before": lambda: restored(given, other)}
    found, shares = {}, {}
    for name, make in makers.items():
        pictures = make()
        found[name] = judge(pictures)
        print(name, row(found[name]), flush=True)
        if name == OURS:
            shares = corrections(given, pictures, bundle.manifest.sampler.correction)
    people = by_group(given, found[OURS], labelled(given, LABELS[asked.of]))
    record = {
        "what": f"Held-out photos ({asked.of}), {asked.swaps} swaps with a known truth: a part of "
        "A went into a stranger's face, and from there back into A; the photo of A is the answer. "
        "PSNR (dB) and LPIPS in the hole, sharpness (1: as the photo), seam (dE), likeness to the "
        "photo's part (cosine), Frechet distance (MobileNetV2) of whole face, hole and border.",
        "systems": {name: row(values) for name, values in found.items()},
        "injection": paired(found, OURS, "guide, no injection"),
        "corrections": shares,
        "people": people,
        "fairness": fairness(people),
        "labels": "glasses, beard and apparent sex of the held-out photos by eye; skin tone is the "
        "individual typology angle of the cheeks' median colour, which the photo's light moves",
    }
    name = "photo_truth" if asked.of == "celeba" else f"photo_truth_{asked.of}"
    heldout.write(name, record, shlex.join(["python", "benchmarks/photo_truth.py", *sys.argv[1:]]))


def paired(found: Mapping[str, Any], a: str, b: str) -> dict[str, Any]:
    """Return how much `a` is better than `b` sample by sample: mean, and its 95 % interval."""
    out: dict[str, Any] = {"compared": f"{a} minus {b}"}
    for name in ("psnr", "lpips", "likeness"):
        gain = found[a][name] - found[b][name]
        half = 1.96 * gain.std(ddof=1) / np.sqrt(len(gain))
        out[name] = [
            round(float(v), 4) for v in (gain.mean(), gain.mean() - half, gain.mean() + half)
        ]
    return out


def corrections(given: Material, results: Pictures, used: float) -> dict[str, Any]:
    """Return for each part which share of the network's correction of the guide is the best.

    The share with the smallest squared error, in closed form, and what PSNR it has against that of
    the share `used`, the same for all parts.
    """
    starts, truth = guides(given), np.stack([sample.target for sample in given.samples])
    change, missing = (results - starts) / used, truth - starts
    out = {}
    for index, part in enumerate(TRAINED):
        masks = np.stack([sample.parts[index] for sample in given.samples])[..., None]
        best = float((masks * change * missing).sum() / (masks * change**2).sum())
        rows = {"best": best, "used": used, "none": 0.0}
        error = {name: masks * (missing - share * change) ** 2 for name, share in rows.items()}
        out[part] = {
            "best share": round(best, 2),
            **{
                f"PSNR, {name}": round(float(-10 * np.log10(each.sum() / (3 * masks.sum()))), 2)
                for name, each in error.items()
            },
        }
    return out


# ------------------------------------------------------------------------------------ fairness


def by_group(
    given: Material, values: Mapping[str, Any], groups: Groups
) -> dict[str, dict[str, Any]]:
    """Return the metrics of groups of people."""
    mean = float(values["lpips"].mean())
    rows = {}
    for name, members in groups.items():
        rows[name] = {
            "photos": len({given.photo(i) for i in members}),
            "psnr": round(float(values["psnr"][members].mean()), 2),
            "lpips": round(float(values["lpips"][members].mean()), 4),
            RATIO: round(float(values["lpips"][members].mean()) / mean, 2),
            "likeness": round(float(values["likeness"][members].mean()), 3),
        }
    return rows


def fairness(people: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return which group is served worst, and whether that is within the limit."""
    worst = max(people, key=lambda name: people[name][RATIO])
    ratio = people[worst][RATIO]
    return {"limit": LIMIT, "worst": worst, RATIO: ratio, "kept": bool(ratio <= LIMIT)}


def labelled(given: Material, endings: Mapping[str, str]) -> Groups:
    """Return group -> samples; `endings` is one of `LABELS`."""
    everyone = range(len(given.samples))
    angles = {i: typology_angle(given, i) for i in everyone}
    out: dict[str, list[int]] = {}
    for name, (low, high) in ITA_GROUPS.items():
        out[f"skin {name} (ITA {low:.0f} to {high:.0f})"] = [
            i for i in everyone if low <= angles[i] < high
        ]
    for name, names in endings.items():
        out[name] = [i for i in everyone if given.photo(i).endswith(tuple(names.split()))]
    for one, other in (SEXES, SEXES[::-1]):
        if other not in endings:
            out[other] = [i for i in everyone if i not in out[one]]
    out["no glasses"] = [i for i in everyone if i not in out["glasses"]]
    return {name: members for name, members in out.items() if members}


def typology_angle(given: Material, index: int) -> float:
    """Return the ITA of a photo's cheeks in degrees: atan((L* - 50) / b*)."""
    sample = given.samples[index]
    lab = cv2.cvtColor(cv2.GaussianBlur(sample.target, (0, 0), 2.0), cv2.COLOR_RGB2Lab)
    at = np.clip(sample.landmarks[list(CHEEKS), :2].astype(int), 0, len(lab) - 1)
    light, _, yellow = np.median(lab[at[:, 1], at[:, 0]], axis=0)
    return float(np.degrees(np.arctan2(light - 50.0, max(yellow, 1e-3))))


if __name__ == "__main__":
    main()
