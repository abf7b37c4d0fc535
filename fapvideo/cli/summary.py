"""What a run did, in words: a table, where it fell back, and whether that is an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fapvideo.cli.output import print_table, print_text, print_warning
from fapvideo.errors import QualityError
from fapvideo.progress import clock

if TYPE_CHECKING:
    from fapvideo.structs import RunReport

TOLD = 8
"""Stretches that are printed; the report has them all."""

Span = Mapping[str, Any]
"""A row of `RunReport.frame_log`."""


def print_summary(report: RunReport) -> None:
    """Write what a run did as a table and where it fell back, then its warnings."""
    from fapvideo.structs import STATES

    frames, timings = report.frames, report.timings
    states = ", ".join(f"{frames.get(state, 0)} {state}" for state in STATES)
    chosen = sum(bool(track.get("swapped")) for track in report.tracks)
    cached = sum(bool(reference.get("cached")) for reference in report.references)
    rows = [
        ("output", report.output.get("path", "")),
        ("frames", f"{_counted(report)}: {states}"),
        ("tracks", f"{len(report.tracks)} ({chosen} chosen)"),
        ("references", f"{len(report.references)} ({cached} from the cache)"),
        ("bundle", report.bundle.get("name", "")),
        ("speed", f"{timings.get('fps', 0.0):.2f} fps, {timings.get('wall_s', 0.0):.1f} s in all"),
        ("peak memory", f"{report.peak_rss_bytes / 2**20:.0f} MiB"),
        ("changed outside the parts", f"{report.outside_changed_samples} samples"),
        *_anonymity(report.anonymity),
        *_provenance(report.provenance),
    ]
    print_table("", ("", ""), rows)
    lines = [f"{frames.get('swapped', 0)} of {frames.get('total', 0)} frames swapped"]
    told = told_spans(report.frame_log)
    lines += [f"track {span['track']}: {in_words(span)}" for span in told[:TOLD]]
    if len(told) > TOLD:
        path = f"{report.output.get('path', '')}.report.json"
        lines.append(f"and {len(told) - TOLD} more stretches: see frame_log in {path}")
    print_text("\n".join(lines))
    for warning in report.warnings:
        print_warning(warning)


def _anonymity(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what `[anonymize]` found, if it was asked for."""
    if said:
        nearest = f"{said['nearest']:.2f} from the filmed one at the nearest"
        yield "recognition", f"{said['faces']} faces, {nearest}; {said['blurred']} blurred"


def _provenance(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield rows about signature, consent and licences; none where the report has nothing."""
    if not said:
        return
    signed = f"signed by {said.get('by')}: {said.get('trust')}"
    yield "provenance", signed if said.get("signed") else f"NOT SIGNED: {said.get('why')}"
    if said.get("sidecar"):
        yield "credentials", said["sidecar"]
    label = said.get("label") or {}
    if label:
        yield "visible label", f"{label['text']!r} in every frame"
    consent = said.get("consent") or {}
    if consent:
        who = ", ".join(consent.get("who", ()))
        yield "consent", f"{who}, until {consent.get('until')}"
    licences = said.get("licences", {})
    for what in ("bundle", "references"):
        named = "; ".join(licences.get(what, ()))
        if named:
            yield f"licence of the {what}", named


def _counted(report: RunReport) -> str:
    """Return `50`, or `23 of 50` where the input holds less than it promises."""
    total, given = report.frames.get("total", 0), report.input
    held, promised = given.get("held_frames", total), given.get("promised_frames", 0)
    if not given.get("short") or held >= promised:
        return str(total)
    return f"{held} of {promised}" if held == total else f"{total} ({held} of {promised} are there)"


def fell_back(log: Sequence[Span]) -> list[Span]:
    """Return the spans of faces that were to be swapped."""
    return [span for span in log if span["reason"] != "not_cast"]


def told_spans(log: Sequence[Span]) -> list[Span]:
    """Return what is worth a line, in time; a fade goes with the stretch that it leads to."""
    spans = fell_back(log)
    causes = [span for span in spans if span["reason"] != "beside"]
    edges = {(span["track"], at) for span in causes for at in (span["first"], span["last"] + 1)}
    fades = [
        span
        for span in spans
        if span["reason"] == "beside"
        and not edges & {(span["track"], span["first"]), (span["track"], span["last"] + 1)}
    ]
    return sorted([*causes, *fades], key=lambda span: (span["first"], span["track"]))


def in_words(span: Span) -> str:
    """Return `0:01.20-0:01.36 left, turned too far to the side`."""
    from fapvideo.structs import REASONS

    when = f"{clock(span['start_s'])}-{clock(span['end_s'])}"
    return f"{when} {span['state']}, {REASONS.get(span['reason'], span['reason'])}"


def strict_error(report: RunReport) -> QualityError | None:
    """Return what `--strict` makes of a run.

    None where the input was whole and no face that was asked for fell back.
    """
    if report.input.get("short"):
        return QualityError(
            f"{report.input.get('path', '')} is cut off: {_counted(report)} frames",
            hint=f"copy it again; {report.output.get('path', '')} and its report are written",
        )
    spans = fell_back(report.frame_log)
    frames = {frame for span in spans for frame in range(span["first"], span["last"] + 1)}
    if not frames:
        return None
    why: Counter[str] = Counter()
    for span in spans:
        why[span["reason"]] += span["last"] - span["first"] + 1
    reasons = ", ".join(f"{code} {count}" for code, count in why.most_common(3))
    where = "; ".join(f"track {s['track']} {in_words(s)}" for s in told_spans(spans)[:3])
    return QualityError(
        f"{len(frames)} of {report.frames['total']} frames fell back ({reasons}): {where}",
        hint=f"{report.output.get('path', '')} and its report are written; docs/report.md says what"
        " the reasons mean and which settings they depend on",
    )
