"""The only home of defaults: one frozen model per stage, and the preset that holds them.

The field order is the order of the pipeline. A TOML preset states only what differs from here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from fapvideo.config.casting import PersonConfig, Sources
from fapvideo.config.guide import GuideExpression, GuideOffsets, GuideShape
from fapvideo.config.layers import LayersConfig
from fapvideo.config.section import Fraction01, Section
from fapvideo.config.trust import AnonymizeConfig, ConsentConfig, OnProtected, ProvenanceConfig, Use

Prompt = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^[^.?]*[^.?\s][^.?]*$")
]
"""One thing in plain words; . and ? separate prompts in a detector's caption."""


class VideoConfig(Section):
    """`[video]`: decoding, encoding, and how much is read ahead."""

    reader: Literal["pyav", "decord"] = "pyav"
    """What looks up the frames that `fapvideo preview` shows; decord is an extra, for short clips.
    Whatever is analysed or written is decoded by PyAV."""
    codec: Literal["auto", "h264", "hevc", "prores", "ffv1"] = "auto"
    """Of the output; `auto` follows the source's format and the output's suffix."""
    crf: int = Field(17, ge=0, le=51)
    """Constant rate factor for H.264 and HEVC; 0 is lossless for H.264."""
    speed: Literal["ultrafast", "veryfast", "fast", "medium", "slow"] = "fast"
    """Effort of H.264 and HEVC: a slower one makes smaller files."""
    compatible: bool = False
    """Write 8-bit 4:2:0 whatever the source is: every player shows it; colour detail, bits beyond
    8 and transparency are lost."""
    deinterlace: bool = False
    """Make whole pictures of interlaced ones, one of each frame; otherwise fields stay fields."""
    keep_start: bool = False
    """Keep the input's clock where it does not start at 0; otherwise the output starts at 0."""
    start_s: float = Field(0.0, ge=0.0)
    """Where the part of the video begins that is read and written, seconds."""
    end_s: float | None = Field(None, gt=0.0)
    """Where it ends, seconds; unset: at the end."""
    segment_s: float = Field(8.0, gt=0.0)
    """Shortest stretch that is finished on its own, seconds: a run that was stopped goes on behind
    the last one. Each begins with a key frame, where the input has one or a shot begins."""
    prefetch_batches: int = Field(2, ge=1, le=16)
    """Batches of frames that are decoded ahead of the networks; half as many, at least one, are
    painted ahead of the encoder. Fewer need less memory."""
    max_damaged: Fraction01 = 0.1
    """Largest share of damaged packets that is skipped before the run gives up."""

    @model_validator(mode="after")
    def _ordered(self) -> VideoConfig:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"end_s {self.end_s} is not after start_s {self.start_s}")
        return self


class TrackConfig(Section):
    """`[track]`: which faces, and how their geometry is steadied."""

    faces: str = Field("largest", pattern=r"^(largest|all|left:[1-9]\d*|id:\d+)$")
    """`largest`, `all`, `left:N` (N-th from the left where it first appears) or `id:N`."""
    max_faces: int = Field(8, ge=1, le=64)
    """Faces that are followed at the same time."""
    detect_every: int = Field(12, ge=1)
    """Frames between searches for faces that are not tracked yet."""
    detect_score: Fraction01 = 0.5
    """Score of the face detector from which on a find counts."""
    presence: Fraction01 = 0.5
    """Mesh presence below which a face counts as lost."""
    smooth_s: float = Field(0.1, ge=0.0, le=1.0)
    """Half width of the zero-phase smoothing window, seconds; 0 switches it off."""
    cut_threshold: Fraction01 = 0.35
    """Colour-histogram distance between neighbouring frames that counts as a cut."""
    min_face_px: int = Field(24, ge=8)
    """Shorter side of a face's box from which on it is followed, pixels."""


class MaskConfig(Section):
    """`[mask]`: the region of each part, and what happens to poor frames."""

    backend: Literal["landmarks", "grounding_dino", "grounding_dino_py"] = "landmarks"
    """Outlines on the face mesh, or boxes that `detector` finds (docs/grounding-dino.md)."""
    detector: Path | None = None
    """Folder of a Grounding DINO checkpoint, relative to the preset."""
    detector_score: Fraction01 = 0.35
    """A detection needs a score above this."""
    detector_every: int = Field(1, ge=1)
    """Frames from one detection to the next; boxes in between are interpolated."""
    keep_out: tuple[Prompt, ...] = ()
    """Things that are never painted over, in plain words (`["glasses", "beard"]`); any backend."""
    occluders: Literal["keep", "off"] = "keep"
    """What stands in front of a face (glasses, hands, hair, cups, masks) stays as it was filmed;
    `off` paints over it, but for `keep_out`."""
    leftovers: bool = True
    """Cover what of an old part reaches beyond its outline: brow tails, eyeliner, a moustache at
    the lip."""
    dilate: float = Field(0.07, ge=0.0, le=0.5)
    """Growth of every part beyond its outline, in inter-ocular distances."""
    feather: float = Field(0.10, ge=0.0, le=0.5)
    """Width of the soft edge, in inter-ocular distances."""
    eye_side: Literal["both", "left", "right"] = "both"
    """Which of the person's own eyes (and brows) are swapped."""
    keep_inner_mouth: bool = True
    """What is seen between the lips (teeth, tongue) stays the target's."""
    policy: Literal["fade", "hold", "keep"] = "fade"
    """Poor frames: fade the swap out, hold the last good geometry, or keep the source."""
    fade_s: float = Field(0.2, ge=0.0, le=5.0)
    """Length of a fade, seconds (`fade`, and `hold` around longer stretches)."""
    hold_s: float = Field(0.25, ge=0.0, le=5.0)
    """Longest stretch of poor frames that is held, seconds (`hold`)."""
    max_yaw_deg: float = Field(50.0, gt=0.0, le=90.0)
    """A face turned further to a side makes a frame poor, degrees as the mesh measures them: 50
    where a modelled head is turned by 58."""
    max_jump: float = Field(0.35, gt=0.0)
    """Mesh disagreement with its neighbours, in inter-ocular distances, that makes a frame poor."""

    @model_validator(mode="after")
    def _has_detector(self) -> MaskConfig:
        needed = "keep_out" if self.keep_out else None
        if self.backend != "landmarks":
            needed = f'backend "{self.backend}"'
        if needed and self.detector is None:
            raise ValueError(
                f"{needed} needs mask.detector, the folder of a Grounding DINO checkpoint"
                " (docs/grounding-dino.md lists its files)"
            )
        return self

    def as_reference(self) -> MaskConfig:
        """Return how parts are cut out of references: the whole part, whatever the target needs.

        Fixed, because features are cached by content.
        """
        return MaskConfig(keep_inner_mouth=False)


class ReferenceConfig(Section):
    """`[reference]`: demands on reference images, and the feature cache."""

    min_face_px: int = Field(64, ge=16)
    """Longer side of the face's box, pixels: a warning under it, an error under half of it."""
    max_yaw_deg: float = Field(35.0, gt=0.0, le=90.0)
    """Turn to a side, degrees: a warning over it, an error over one and a half times it."""
    min_sharpness: float = Field(12.0, ge=0.0)
    """Variance of the aligned face's Laplacian (0..255 scale) under which a warning is given."""
    unfit: Literal["leave_out", "use"] = "leave_out"
    """What becomes of photos that do not fit, where a part has others: covered, dark, over-exposed,
    blurred or turned ones (docs/casting.md). A warning names them."""
    cache: bool = True
    """Keep features on disk, by the image's content."""
    cache_dir: Path | None = None
    """Folder of the features, relative to the preset; unset: the user's cache folder."""


class GuideConfig(Section):
    """`[guide]`: the reference part warped onto the target's pose and expression."""

    shape: GuideShape = GuideShape()
    expression: GuideExpression = GuideExpression()
    offsets: GuideOffsets = GuideOffsets()
    colour: Fraction01 = 1.0
    """How far the reference's colour is drawn to the skin around the hole."""
    light: Fraction01 = 0.7
    """How far broad shading is drawn to the target's (where the light comes from)."""
    sharpness: Fraction01 = 0.8
    """How far the reference is blurred where the frame is softer than it."""
    contrast_min: float = Field(0.6, gt=0.0, le=1.0)
    """Lowest gain of contrast when the reference is fitted to the target's exposure."""
    contrast_max: float = Field(1.1, ge=1.0)
    """Highest such gain."""
    membrane: bool = True
    """Spread boundary differences smoothly into the hole (gradient-domain blending)."""
    gaze: Literal["target", "reference"] = "target"
    """Whose irises say where the eyes look."""
    hysteresis: Fraction01 = 0.15
    """How much better another reference's expression must fit before it is taken."""


class FuseConfig(Section):
    """`[fuse]`: how reference tokens replace target tokens."""

    mode: Literal["fractional", "parity"] | None = None
    """Area-weighted under soft masks, or whole tokens as published. Unset: `parity` with
    `denoise.mode = "published"`, else `fractional`."""
    scale: float = Field(1.0, ge=0.0, le=4.0)
    """Weight of the injected map."""


class DenoiseConfig(Section):
    """`[denoise]`: the diffusion itself. `None` means: what the bundle recommends."""

    mode: Literal["guided", "published", "off"] = "guided"
    """`guided` starts from the guide; `published` from pure noise under boxes, as FuseAnyPart
    (docs/published-weights.md); `off` skips the network and shows the guide."""
    steps: int | None = Field(None, ge=1, le=1000)
    """Steps of the sampler."""
    strength: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Share of the way from noise to picture that is gone; less than 1 keeps more of the guide."""
    guidance: float | None = Field(None, ge=0.0, le=30.0)
    """Scale of classifier-free guidance; 1 does without."""
    guidance_start: Fraction01 = 0.0
    """Share of the steps after which guidance begins."""
    guidance_end: Fraction01 = 1.0
    """Guidance acts in this stretch of the steps only; outside it costs nothing."""
    sampler: Literal["flow", "ddim", "unipc", "dpm++", "lcm"] | None = None
    """Which solver makes the steps; it has to fit the bundle."""
    batch_size: int = Field(8, ge=1, le=256)
    """Frames in a batch, and faces that the networks treat at once: more need more memory. A CPU
    takes 4 frames at most, of 1280x720 two, of 1920x1080 one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the networks; `auto` is bf16 where the hardware multiplies it, else fp32."""
    runtime: Literal["auto", "torch", "onnxruntime"] = "auto"
    """What computes the networks; `auto` is ONNX Runtime (extra `fast`), where it is installed, for
    networks like the embedded bundle's on a CPU without bf16, else torch."""
    compile: bool = False
    """Compile the UNet: a minute or more at the start, faster on long clips."""
    resolution: int | None = Field(None, ge=64, le=1024, multiple_of=64)
    """Side of the model's crop, pixels; only for bundles with a VAE (512, 384 or 256)."""
    codec_file: Path | None = None
    """A TAESD (AutoencoderTiny) in place of the VAE: many times faster, a little softer."""
    lora_file: Path | None = None
    """A LoRA merged into the UNet, such as LCM-LoRA for `sampler = "lcm"` with 4 to 8 steps."""

    @model_validator(mode="after")
    def _compile_is_torch(self) -> DenoiseConfig:
        if self.compile and self.runtime == "onnxruntime":
            raise ValueError('denoise.compile is for denoise.runtime = "torch" or "auto" only')
        return self


class CompositeConfig(Section):
    """`[composite]`: pasting the part back into the frame's own samples."""

    detail: Fraction01 = 1.0
    """Share of the full-resolution guide's texture that is kept on faces larger than the crop."""
    max_size: int = Field(512, ge=64, le=2048)
    """Largest side of the full-resolution crop, pixels."""
    opacity: Fraction01 = 1.0
    """Opacity of the pasted parts: 1 replaces the target's."""
    check: bool = True
    """Look at what was painted, and leave the face as it was filmed where it looks wrong."""


class SpanConfig(Section):
    """`[[spans]]`: other settings for a stretch of time, in tables as the preset's own."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    from_s: float = Field(ge=0.0, alias="from")
    """Where it begins, seconds from the start of the input."""
    to_s: float = Field(gt=0.0, alias="to")
    """Where it ends; the frame at this time is the first one that is as before again."""
    mask: dict[str, Any] = Field(default_factory=dict)
    """Keys of `[mask]` that are others here, but for those of the detector."""
    guide: dict[str, Any] = Field(default_factory=dict)
    """Keys of `[guide]` that are others here."""
    fuse: dict[str, Any] = Field(default_factory=dict)
    """Keys of `[fuse]` that are others here."""
    denoise: dict[str, Any] = Field(default_factory=dict)
    """Keys of `[denoise]` that are others here: `mode` "guided" or "off", `steps`, `strength`, the
    guidance and the sampler."""
    composite: dict[str, Any] = Field(default_factory=dict)
    """Keys of `[composite]` that are others here, but for `max_size`."""

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return what is other here, by table.

        Raises:
            ValueError: something that cannot change within a clip.
        """
        found = {name: getattr(self, name) for name in SPANNED}
        for name, fixed in FIXED.items():
            for key in sorted(found[name].keys() & fixed):
                raise ValueError(f"{name}.{key} cannot change within a clip")
        if found["denoise"].get("mode") == "published":
            raise ValueError('denoise.mode "published" cannot be had for a stretch only')
        return found


SPANNED = ("mask", "guide", "fuse", "denoise", "composite")
FIXED: dict[str, set[str]] = {
    "mask": {"backend", "detector", "detector_score", "detector_every", "keep_out"},
    "denoise": {"batch_size", "precision", "runtime", "compile", "resolution", "codec_file",
                "lora_file"},
    "composite": {"max_size"},
}  # fmt: skip
"""What the networks, the size of crops and the search for boxes depend on, by table."""


class RunPreset(Section):
    """Everything one run needs; see `presets/run/*.toml`."""

    schema_version: Literal[1] = 1
    """Of the preset's format."""
    name: str = "unnamed"
    """For reports; by default the file's name."""
    description: str = ""
    """One line about it."""
    bundle: str = "embedded"
    """Name of a bundle, or a folder that holds `bundle.toml`."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Of all noise: same seed and input, same frames."""
    require_licence: Use = "any"
    """`commercial` refuses (exit code 7) a bundle or a reference whose licence does not say that it
    may be used so."""
    protected: OnProtected = "leave"
    """Faces of `fapvideo protect`: leave them as filmed, or refuse the run. One among the
    references is always refused."""
    references: Sources = Field(default_factory=dict)
    """Part -> its image, or several: paths, or tables of `path` and `weight`."""
    people: tuple[PersonConfig, ...] = ()
    """Who gets what, where not all of `track.faces` get `[references]`."""
    video: VideoConfig = VideoConfig()
    track: TrackConfig = TrackConfig()
    mask: MaskConfig = MaskConfig()
    reference: ReferenceConfig = ReferenceConfig()
    guide: GuideConfig = GuideConfig()
    fuse: FuseConfig = FuseConfig()
    denoise: DenoiseConfig = DenoiseConfig()
    composite: CompositeConfig = CompositeConfig()
    layers: LayersConfig = LayersConfig()
    anonymize: AnonymizeConfig = AnonymizeConfig()
    provenance: ProvenanceConfig = ProvenanceConfig()
    consent: ConsentConfig = ConsentConfig()
    spans: tuple[SpanConfig, ...] = ()
    """Stretches of time with other settings; they must not overlap."""

    def within(self, span: SpanConfig) -> RunPreset:
        """Return the preset that holds in one of its spans.

        Raises:
            ValueError: the span has unknown keys or values.
        """
        tables = self.model_dump(exclude={"spans"})
        for name, changed in span.tables().items():
            for key, value in changed.items():
                old = tables[name].get(key)
                nested = isinstance(old, dict) and isinstance(value, dict)
                tables[name][key] = {**old, **value} if nested else value
        return RunPreset.model_validate(tables)

    @model_validator(mode="after")
    def _spans_fit(self) -> RunPreset:
        ends = 0.0
        for number, span in sorted(enumerate(self.spans), key=lambda item: item[1].from_s):
            if span.to_s <= span.from_s:
                raise ValueError(f"spans.{number}: to {span.to_s:g} is not after {span.from_s:g}")
            if span.from_s < ends:
                raise ValueError(f"spans.{number} begins at {span.from_s:g}, before another ends")
            ends = span.to_s
            try:
                self.within(span)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise ValueError(f"spans.{number}: {where}: {first['msg']}") from None
            except ValueError as error:
                raise ValueError(f"spans.{number}: {error}") from None
        return self

    @model_validator(mode="after")
    def _published_is_consistent(self) -> RunPreset:
        if self.denoise.mode == "published" and self.fuse.mode == "fractional":
            raise ValueError('denoise.mode "published" fuses whole tokens: leave out fuse.mode')
        return self

    @model_validator(mode="after")
    def _people_have_references(self) -> RunPreset:
        others = [number for number, one in enumerate(self.people) if one.who.everyone_else]
        if len(others) > 1:
            raise ValueError(f"people.{others[1]}: there can be one everyone_else only")
        for number, one in enumerate(self.people):
            if not (one.keep or one.references or self.references):
                raise ValueError(
                    f"people.{number} ({one.who}) has no references: give it some, keep = true,"
                    " or a table [references] for all who have none"
                )
            wrong = one.unswapped(one.references or self.references)
            if wrong:
                raise ValueError(f"people.{number}.{wrong}")
        return self
