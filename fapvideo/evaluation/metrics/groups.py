"""All metrics: the one list of their groups, and the networks they share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from fapvideo.evaluation.definitions import SHOWN, SHOWN_UNDER, Definition
from fapvideo.evaluation.measure import Measurement, Metric, measure
from fapvideo.evaluation.metrics.bins import Conditions
from fapvideo.evaluation.metrics.distribution import Distribution
from fapvideo.evaluation.metrics.expression import Expression
from fapvideo.evaluation.metrics.features import PartFeatures
from fapvideo.evaluation.metrics.following import Following
from fapvideo.evaluation.metrics.identity import Identity
from fapvideo.evaluation.metrics.outside import Outside
from fapvideo.evaluation.metrics.seam import Seam
from fapvideo.evaluation.metrics.similarity import PartSimilarity
from fapvideo.evaluation.metrics.suspects import find_suspects
from fapvideo.evaluation.metrics.temporal import Temporal, load_perceptual
from fapvideo.evaluation.metrics.truth import TruthMetric
from fapvideo.evaluation.views import Clip, Material
from fapvideo.nets.perceptual import PerceptualDistance
from fapvideo.progress import OnProgress, ShouldStop
from fapvideo.structs import Floats
from fapvideo.trust.recognition import IdentityEmbedding, available

GROUPS: tuple[type[Metric], ...] = (
    PartSimilarity,
    Identity,
    Temporal,
    Seam,
    Outside,
    Expression,
    Following,
    Distribution,
    TruthMetric,
    Conditions,
)
"""In the order of tables."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a clip beyond its pictures."""

    landmarks: Floats | None = None
    """[T, 478, 3] true landmarks."""
    itself: bool = False
    """Whether the references are the speaker's own photo."""


@dataclass(frozen=True, slots=True)
class Networks:
    """What metrics look through; loaded once for any number of measurements."""

    features: PartFeatures
    perceptual: PerceptualDistance | None
    """None where its weights are not on this machine: that metric is left out."""
    identity: IdentityEmbedding | None = None
    """None without the extra `identity`."""
    inception: Path | None = None
    """Weights for FID, where the user has them."""

    @classmethod
    def load(cls, inception: str = "") -> Self:
        """Load what is on this machine; nothing is downloaded.

        Raises:
            WeightsError: a file is missing or damaged.
        """
        identity = IdentityEmbedding() if available() else None
        file = Path(inception) if inception else None
        return cls(PartFeatures.packaged(), load_perceptual(), identity, file)

    @property
    def names(self) -> tuple[str, ...]:
        """Which optional ones are there."""
        optional = ("perceptual", "identity", "inception")
        return tuple(name for name in optional if getattr(self, name) is not None)


def fresh_metrics(
    networks: Networks, material: Material, known: Known | None = None
) -> tuple[Metric, ...]:
    """Return one new metric of every group that applies, for one measurement."""
    metrics: list[Metric] = [
        PartSimilarity(networks.features),
        Identity(networks.identity),
        Temporal(networks.perceptual, networks.features.embed),
        Seam(),
        Outside(material.info if isinstance(material, Clip) else None),
        Expression(),
        *((Following(),) if isinstance(material, Clip) else ()),  # photos do not move
        Distribution(networks.features.tower, inception=networks.inception),
        Conditions(),
    ]
    if known is not None and (known.landmarks is not None or known.itself):
        metrics.append(TruthMetric(known.landmarks, itself=known.itself))
    return tuple(metrics)


def measure_all(
    material: Material,
    result: Path,
    networks: Networks,
    known: Known | None = None,
    *,
    system: str = "result",
    name: str = "",
    progress: OnProgress = lambda now: None,
    cancel: ShouldStop = lambda: False,
) -> Measurement:
    """Compare `result` with its source by every metric; see `measure`."""
    metrics = fresh_metrics(networks, material, known)
    found = measure(
        material, result, metrics, system=system, name=name, progress=progress, cancel=cancel
    )
    hard = {definition.key for definition in Conditions.definitions}  # no fault of the result
    curves = {
        key: curve
        for key, curve in found.curves.items()
        if key not in hard and not key.startswith((SHOWN, SHOWN_UNDER))
    }
    suspects = find_suspects(found.times_s, curves, all_definitions())
    return replace(found, suspects=tuple(suspects))


def all_definitions() -> tuple[Definition, ...]:
    """Return the definition of every metric, group by group."""
    return tuple(definition for group in GROUPS for definition in group.definitions)
